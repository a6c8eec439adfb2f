"""The few things that the journal asks of the operating system, so that a test can cut the power between any two.

Its rule: what was written lasts only once it was synced, a new name only once its folder was.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# fdatasync(2) leaves out what reading the data back does not need, such as the time of change; macOS has none.
_sync = getattr(os, "fdatasync", os.fsync)


class Disk:
    """Files by descriptor and path. Every method raises OSError."""

    def create(self, path: Path) -> int:
        """Open a new, empty file, readable for its owner alone."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        """Open a file that exists, to write on it."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def write(self, number: int, data: bytes, offset: int) -> None:
        """Write all of it; where this fails, a part may be there."""
        while data:
            written = os.pwrite(number, data, offset)
            offset += written
            data = data[written:]

    def sync(self, number: int) -> None:
        """Make the file's content last. After an error nothing is known of what was not synced before (fsyncgate)."""
        _sync(number)

    def truncate(self, number: int, size: int) -> None:
        """Cut the file."""
        os.ftruncate(number, size)

    def close(self, number: int) -> None:
        """Let go of a descriptor."""
        os.close(number)

    def read(self, path: Path) -> bytes:
        """Return a whole file."""
        return path.read_bytes()

    def read_part(self, path: Path, start: int, end: int) -> bytes:
        """Return the bytes between two places of a file."""
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(number, end - start, start)
        finally:
            os.close(number)

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are wanted, not paths

    def remove(self, path: Path) -> None:
        """Delete a file, if it is there."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Make the folder's names last (fsync(2): that of a file alone does not)."""
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(number)
        finally:
            os.close(number)
