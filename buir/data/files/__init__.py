"""Files of every common format, read into interactions."""
