"""The command line: what users type, read and are told. Nothing else of the package knows of it."""

import sys


def main() -> None:
    """Run the command line and exit. What it needs is imported here, so that Ctrl-C meanwhile is no traceback."""
    try:
        from .commands import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


__all__ = ["main"]
