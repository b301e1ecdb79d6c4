"""What a comparison needs on top of the library."""
