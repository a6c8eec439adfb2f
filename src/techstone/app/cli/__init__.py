"""The command `techstone`. Light on import: a command loads what it needs when it runs."""

from techstone.app.cli.root import main

__all__ = ["main"]
