"""The command line: what users type, read and are told. Nothing else of the package knows of it."""

from .commands import main

__all__ = ["main"]
