"""The journal's files: segments of frames, named by the journal's id and the number of their first record.

Records are numbered 1, 2, 3 … over the journal's life. Reading a folder back truncates the torn tail that a crash can
leave in the last segment; damage anywhere else is told and nothing is changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from techstone.core import frames, recovery
from techstone.core.usage import DECODER, UsageRecord

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = re.compile(r"([0-9a-f]{16})-([0-9]{16})\.log")


class JournalDamaged(Exception):
    """A segment that was complete once cannot be read: one line for the operator, with file and offset."""


class JournalInUse(Exception):
    """Another process writes this journal."""


class Segment(msgspec.Struct):
    """One file: records `first` to `last` (first - 1: none yet) in its first `size` bytes; `newest` in unix ms."""

    path: Path
    first: int
    last: int
    size: int
    newest: int = 0


class Recovered(msgspec.Struct):
    """What a folder held. The last segment is the one to write on."""

    journal: str
    segments: list[Segment]
    records: list[tuple[int, UsageRecord]]

    @property
    def unfinished(self) -> list[UsageRecord]:
        """The records that end what a crash left open."""
        return recovery.close_open(record for _, record in self.records)


class Lock:
    """Holds a folder for as long as this process lives."""

    def __init__(self, folder: Path) -> None:
        self._number = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._number)
            raise JournalInUse(f"journal {folder}: another gateway process writes it") from error

    def release(self) -> None:
        """Let go of it."""
        os.close(self._number)


def recover(folder: Path, new_id: Callable[[], str]) -> Recovered:
    """Read a folder back; raise JournalDamaged."""
    found = [(match, path) for path in sorted(folder.iterdir()) if (match := _NAME.fullmatch(path.name))]
    segments: list[Segment] = []
    records: list[tuple[int, UsageRecord]] = []
    journal = ""
    for place, (match, path) in enumerate(found):
        journal = match[1]
        segment = _read(path, int(match[2]), records, is_last=place == len(found) - 1)
        if segments and segments[-1].last + 1 != segment.first:
            raise JournalDamaged(f"journal {path}: records {segments[-1].last + 1} to {segment.first - 1} are missing")
        segments.append(segment)
    return Recovered(journal or new_id(), segments, records)


def _read(path: Path, first: int, records: list[tuple[int, UsageRecord]], *, is_last: bool) -> Segment:
    data = path.read_bytes()
    segment = Segment(path, first, first - 1, 0)
    for payload, end in frames.read(data):
        try:
            record = DECODER.decode(payload)
        except msgspec.MsgspecError as error:
            raise JournalDamaged(f"journal {path}: unknown record at byte {segment.size}: {error}") from error
        segment.last += 1
        segment.size = end
        segment.newest = max(segment.newest, record.at + record.duration // 1000)
        records.append((segment.last, record))
    if segment.size < len(data):
        if not is_last:
            raise JournalDamaged(f"journal {path}: damaged at byte {segment.size}")
        with path.open("r+b") as file:
            file.truncate(segment.size)
            os.fsync(file.fileno())
    return segment


def create(folder: Path, journal: str, first: int) -> tuple[Segment, int]:
    """Return a new segment and its file descriptor; it is in its folder for good."""
    path = folder / f"{journal}-{first:016d}.log"
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    sync_folder(folder)
    return Segment(path, first, first - 1, 0), number


def remove(segment: Segment) -> None:
    """Delete a segment whose records are applied."""
    with contextlib.suppress(FileNotFoundError):
        segment.path.unlink()


def sync_folder(folder: Path) -> None:
    """Make a new name durable (fsync(2): that of the file alone does not)."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
