"""Which gateways shared the limits when Redis was last heard: a file, so that a start while it is away knows.

What each gateway gives by itself is the plan divided by how many they are. One that does not know gives nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Roster:
    """The file, a name in a line; None: nothing is kept. `report` takes a line for people.

    There are `least` gateways at any time, whoever was heard.
    """

    def __init__(self, path: Path | None, report: Callable[[str], None], least: int = 1) -> None:
        self._path = path
        self._least = least
        self._report = report
        self._written = self.read()

    def read(self) -> frozenset[str]:
        """Return their names; none where nothing is known."""
        try:
            text = self._path.read_text("ascii") if self._path is not None else ""
        except (OSError, UnicodeDecodeError):
            return frozenset()
        # The last line says that it is whole.
        lines = text.split("\n")
        return frozenset(lines[:-2]) if lines[-2:] == [_END, ""] else frozenset()

    def count(self, names: frozenset[str]) -> int:
        """Return how many gateways there are, of whom these were heard."""
        return max(self._least, len(names))

    def write(self, names: frozenset[str]) -> None:
        """Keep them, where they are others than before.

        Whole or not at all, and without waiting for the disk: after a loss of power the file of before is as good.
        """
        if self._path is None or names == self._written:
            return
        self._written = names
        new = self._path.with_suffix(".new")
        try:
            new.write_text("\n".join((*sorted(names), _END, "")), "ascii")
            new.replace(self._path)
        except OSError as error:
            self._report(f"limits: {self._path} cannot be written: {error.strerror or error}")


_END = "."
