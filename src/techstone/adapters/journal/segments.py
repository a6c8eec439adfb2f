"""The journal's files: segments of frames, named by the journal's id and the number of their first record.

Records are numbered 1, 2, 3 … over the journal's life, and a segment ends where the next one's name says. Reading a
folder back truncates the torn tail that a crash can leave in the last segment; damage anywhere else is told, and
nothing is changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from techstone.adapters.journal.disk import Disk
from techstone.core import frames, recovery
from techstone.core.usage import DECODER, UsageRecord

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = re.compile(r"([0-9a-f]{16})-([0-9]{16})\.log")
# What is read back is shipped again in pieces of this size: a request body of a whole segment would be 16 MB.
_BATCH_BYTES = 256 * 1024
_DISK = Disk()


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


class Batch(msgspec.Struct):
    """Records that lie one after another in a segment, durable and not known to be applied. `at` is in unix seconds."""

    segment: Segment
    start: int
    end: int
    first: int
    last: int
    at: float
    sealed: bool = False  # it was sent: nothing is added to it any more


class Recovered(msgspec.Struct):
    """What a folder held. The last segment is the one to write on; `torn` bytes of it were no whole records."""

    journal: str
    disk: Disk
    segments: list[Segment]
    records: list[tuple[int, UsageRecord]]
    batches: list[Batch]
    torn: int = 0

    @property
    def last(self) -> int:
        """The number of the last record that there ever was."""
        return self.segments[-1].last if self.segments else 0

    def close_open(self, lost: list[UsageRecord]) -> list[UsageRecord]:
        """Return the records that end what a crash left open and what was lost does not end."""
        return recovery.close_open([*(record for _, record in self.records), *lost])


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


def recover(folder: Path, new_id: Callable[[], str], disk: Disk = _DISK) -> Recovered:
    """Read a folder back; raise JournalDamaged."""
    found = [match for name in disk.names(folder) if (match := _NAME.fullmatch(name))]
    journals = sorted({match[1] for match in found})
    if len(journals) > 1:
        raise JournalDamaged(f"journal {folder}: files of {len(journals)} journals: {', '.join(journals)}")
    recovered = Recovered(journals[0] if journals else new_id(), disk, [], [], [])
    for place, match in enumerate(found):
        following = int(found[place + 1][2]) if place + 1 < len(found) else None
        _read(recovered, folder / match[0], int(match[2]), following)
    disk.sync_folder(folder)
    return recovered


def _read(recovered: Recovered, path: Path, first: int, following: int | None) -> None:
    """Read one segment, up to the first record of the following one."""
    data = recovered.disk.read(path)
    segment = Segment(path, first, first - 1, 0)
    if recovered.segments and recovered.last + 1 != first:
        raise JournalDamaged(f"journal {path}: record {recovered.last + 1} is missing before its first, {first}")
    batch: Batch | None = None
    for payload, end in frames.read(data):
        if segment.last + 1 == following:
            break  # what lies behind is of a group that could not be synced; its numbers were given anew
        try:
            record = DECODER.decode(payload)
        except msgspec.MsgspecError as error:
            raise JournalDamaged(f"journal {path}: unknown record at byte {segment.size}: {error}") from error
        segment.last += 1
        if batch is None or end - batch.start > _BATCH_BYTES:
            batch = Batch(segment, segment.size, end, segment.last, segment.last, record.at / 1000, sealed=True)
            recovered.batches.append(batch)
        batch.end, batch.last = end, segment.last
        segment.size = end
        segment.newest = max(segment.newest, record.at + record.duration // 1000)
        recovered.records.append((segment.last, record))
    if following is None:
        _make_last(recovered, segment, len(data))
    elif segment.last + 1 < following:
        raise JournalDamaged(f"journal {path}: damaged at byte {segment.size}, record {segment.last + 1}")
    recovered.segments.append(segment)


def read_batches(disk: Disk, segment: Segment, after: int, until: int) -> list[Batch]:
    """Return the records of a segment after a number, up to one, as they can be sent again; raise OSError."""
    found: list[Batch] = []
    number, start = segment.first, 0
    for payload, end in frames.read(disk.read(segment.path)):
        if number > until:
            break
        if number > after:
            if not found or end - found[-1].start > _BATCH_BYTES:
                at = DECODER.decode(payload).at / 1000
                found.append(Batch(segment, start, end, number, number, at, sealed=True))
            found[-1].end, found[-1].last = end, number
        number, start = number + 1, end
    return found


def _keep_torn(recovered: Recovered, segment: Segment, length: int) -> None:
    """Keep what is cut off beside it, for a person to look at: most likely an unfinished group, at worst a bad disk."""
    kept = recovered.disk.create(segment.path.with_suffix(".torn"))
    try:
        recovered.disk.write(kept, recovered.disk.read_part(segment.path, segment.size, length), 0)
    finally:
        recovered.disk.close(kept)


def _make_last(recovered: Recovered, segment: Segment, length: int) -> None:
    """Cut the torn tail off, and sync.

    A process that was killed may not have synced what is read here. It is shipped now, so it must last: else a power
    cut would give its numbers to other records, which the ledger would take for known.
    """
    number = recovered.disk.open(segment.path)
    try:
        if segment.size < length:
            recovered.torn = length - segment.size
            with contextlib.suppress(OSError):  # a full disk must not stop the start
                _keep_torn(recovered, segment, length)
            recovered.disk.truncate(number, segment.size)
        recovered.disk.sync(number)
    finally:
        recovered.disk.close(number)
