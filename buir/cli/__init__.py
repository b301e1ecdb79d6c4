"""The command line."""

from buir.cli.app import app, main

__all__ = ["app", "main"]
