"""A backup on disk: readable for its owner alone, and there once it is whole and synced, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from techstone.core.backup import BackupError, Unpacker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from techstone.core.backup import Event

_PIECE = 256 * 1024


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Give a file that becomes `path` where nothing fails; raise BackupError for what does."""
    if path.exists() and not path.is_file():
        raise BackupError("there is something else of that name, which is no file")
    part = path.with_name(f".{path.name}.part")
    with _telling(path), open(part, "wb", opener=_open_part) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.rename(path)
        except BaseException:  # whatever it was, and Ctrl-C: no part of a backup is left behind
            part.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _open_part(path: str, _: int) -> int:
    """Open the file that is written; one that a killed process left is written over."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(number, 0o600)
        os.truncate(number, 0)
    except BlockingIOError as error:
        os.close(number)
        raise BackupError("another backup is being written to it") from error
    return number


def read(path: Path, unpacker: Unpacker) -> Iterator[Event]:
    """Yield what a file says, to its end; raise BackupError."""
    with _telling(path), path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield from unpacker.feed(piece)


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror or error}") from error
