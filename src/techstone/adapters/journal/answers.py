"""Whole answers, kept on disk under their clients' Idempotency-Key: a retry gets the same one and is not billed.

An answer is durable before its settlement is: a crash between the two leaves an answer whose record is missing from the
journal, and recovery puts that record there. So a stored answer is always billed, and once. Kept for 24 h at most, less
where there are too many: the oldest file goes first. A file is named by the place of its first byte in all that was
ever stored, so the next one's name says where it ends.
"""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from techstone.core import frames
from techstone.core.usage import DECODER as RECORD
from techstone.gateway.ports import Remembered, StoredAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techstone.adapters.journal.disk import Disk
    from techstone.core.usage import UsageRecord

KEPT_MILLISECONDS = 86_400_000
TOTAL_BYTES = 1024 * 1024 * 1024
_FILE_BYTES = 16 * 1024 * 1024
# A file is full after so long, too: else a few answers a day would stay on the disk for as long as it takes to fill it.
_FILE_MILLISECONDS = 3_600_000
# What is known of each takes 0.4 KB of memory.
_MOST = 200_000
_NAME = re.compile(r"answers-([0-9]{16})\.log")


class Kept(msgspec.Struct, array_like=True, gc=False):
    """An answer as it lies on disk, with its settlement and the number that this was to have in the journal."""

    number: int
    record: bytes
    answer: StoredAnswer


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Kept)


class File(msgspec.Struct):
    """One file; `base` is the place of its first byte in all that was ever stored."""

    path: Path
    base: int
    size: int = 0
    oldest: int = 0
    newest: int = 0


class Place(msgspec.Struct):
    """Where an answer was written."""

    answer: StoredAnswer
    file: File
    start: int
    end: int


class _Entry(Remembered, gc=False):
    """What is known of an answer, and where it lies."""

    file: File
    start: int
    end: int


class Answers:
    """Implements the port `Answers`; `write`, `undo` and `mend` are the journal thread's, all else the event loop's."""

    def __init__(self, folder: Path, disk: Disk, total: int = TOTAL_BYTES, file_bytes: int = _FILE_BYTES) -> None:
        self._folder = folder
        self._disk = disk
        self._total = total
        self._file_bytes = file_bytes
        self._files: list[File] = []
        # A plain dict walks over all that it forgot before, to find its first: a second for 500,000 answers at a start.
        self._index: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._coming: dict[tuple[str, str], bytes] = {}
        self._number = -1
        self._unsynced = False
        self._suspect = False

    def recover(self, expected: int) -> list[UsageRecord]:
        """Read the folder back; return the settlements that the journal, whose next number is given, may lack."""
        found = [match for name in self._disk.names(self._folder) if (match := _NAME.fullmatch(name))]
        lost: list[tuple[int, UsageRecord]] = []
        entries: list[list[tuple[tuple[str, str], _Entry]]] = []
        following: int | None = None
        known = 0
        for match in reversed(found):  # the newest first: what is beyond the most that are known is not read at all
            file = File(self._folder / match[0], int(match[1]))
            self._files.append(file)
            ends = None if following is None else following - file.base
            following = file.base
            if known >= _MOST:
                file.size = ends or 0
                continue
            entries.append([])
            for kept, start, end in self._read(file, ends):
                entries[-1].append(_index(Place(kept.answer, file, start, end)))
                if kept.number >= expected:
                    lost.append((kept.number, RECORD.decode(kept.record)))
            known += len(entries[-1])
        self._files.reverse()
        for name, entry in (pair for of_file in reversed(entries) for pair in of_file):
            self._remember(name, entry)
        return [record for _, record in sorted(lost, key=lambda entry: entry[0])]

    def _read(self, file: File, ends: int | None) -> Iterator[tuple[Kept, int, int]]:
        """Yield what a file holds and where; its torn tail is cut off if it is the last."""
        data = self._disk.read(file.path)
        for payload, end in frames.read(data):
            if ends is not None and end > ends:
                break
            try:
                kept = _DECODER.decode(payload)
            except msgspec.MsgspecError:
                break  # of another version: to answer anew is all that a client would notice
            yield kept, file.size, end
            file.oldest = file.oldest or kept.answer.at
            file.size, file.newest = end, kept.answer.at
        if ends is None:
            number = self._disk.open(file.path)
            try:
                self._disk.truncate(number, file.size)
                self._disk.sync(number)
            finally:
                self._disk.close(number)

    def _remember(self, name: tuple[str, str], entry: _Entry) -> None:
        self._index.pop(name, None)  # the youngest is last
        self._index[name] = entry
        if len(self._index) > _MOST:
            self._index.popitem(last=False)

    def find(self, account: str, key: str, now: int) -> Remembered | None:
        """Return what is known of the answer under a key; `now` is in unix milliseconds."""
        entry = self._index.get((account, key))
        if entry is None or entry.at < now - KEPT_MILLISECONDS:
            return None
        return entry

    def coming(self, account: str, key: str) -> bytes | None:
        """Return the digest of the answer that is being written under a key, whoever still waits for it."""
        return self._coming.get((account, key))

    def expect(self, answer: StoredAnswer) -> None:
        """Hear that an answer is about to be written."""
        self._coming[answer.account, answer.key] = answer.digest

    def dismiss(self, answer: StoredAnswer) -> None:
        """Hear that it was written, or will not be."""
        self._coming.pop((answer.account, answer.key), None)

    def newest(self, most: int) -> list[tuple[str, str]]:
        """Return account and key of the newest answers, the newest first."""
        return list(islice(reversed(self._index), most))

    def load(self, found: Remembered) -> StoredAnswer | None:
        """Return the answer; None if its file is gone."""
        if not isinstance(found, _Entry):
            return None
        try:
            data = self._disk.read_part(found.file.path, found.start, found.end)
        except OSError:
            return None
        return next((_DECODER.decode(payload).answer for payload, _ in frames.read(data)), None)

    # On the journal's thread

    def write(self, answers: list[tuple[int, bytes, StoredAnswer]]) -> list[Place]:
        """Write and sync answers with their settlements; return where each lies. Raise OSError."""
        if self._number < 0 or self._is_full(self._files[-1], answers[0][2].at):
            self._open_next()
        file = self._files[-1]
        places: list[Place] = []
        data: list[bytes] = []
        end = file.size
        for number, record, answer in answers:
            data.append(frames.frame(_ENCODER.encode(Kept(number, record, answer))))
            places.append(Place(answer, file, end, end + len(data[-1])))
            end += len(data[-1])
        self._unsynced = True
        self._disk.write(self._number, b"".join(data), file.size)
        self._suspect = True
        self._disk.sync(self._number)
        self._suspect = False
        return places

    def _is_full(self, file: File, at: int) -> bool:
        return file.size >= self._file_bytes or bool(file.oldest and at - file.oldest > _FILE_MILLISECONDS)

    def settle(self, places: list[Place]) -> None:
        """Hear that what was written has its settlement in the journal."""
        file = places[-1].file
        file.oldest = file.oldest or places[0].answer.at
        file.size, file.newest = places[-1].end, places[-1].answer.at
        self._unsynced = False

    def undo(self) -> None:
        """Take back at once, as far as that is possible, what was written and not settled."""
        if self._unsynced:
            with contextlib.suppress(OSError):  # `mend` does it durably
                self._disk.truncate(self._number, self._files[-1].size)

    def mend(self) -> None:
        """Make durable that what was not settled is not there: it must not be replayed unbilled. Raise OSError."""
        if self._suspect:
            # The new file's name ends the old one where its last settled answer ends.
            self._open_next()
        elif self._unsynced and self._number >= 0:
            self._disk.truncate(self._number, self._files[-1].size)
            self._suspect = True
            self._disk.sync(self._number)
        self._suspect = self._unsynced = False

    def _open_next(self) -> None:
        last = self._files[-1] if self._files else None
        base = 0 if last is None else last.base + last.size
        path = self._folder / f"answers-{base:016d}.log"
        if last is not None and not last.size:
            self._disk.remove(path)  # the same name, and not the same file
        number = self._disk.create(path)
        try:
            self._disk.sync_folder(self._folder)
        except OSError:
            self._disk.close(number)
            raise
        if self._number >= 0:
            self._disk.close(self._number)
        self._number = number
        if last is None or last.size:
            self._files.append(File(path, base))

    # On the event loop again

    def add(self, places: list[Place]) -> None:
        """Know what was written; its settlement is durable."""
        for place in places:
            self._remember(*_index(place))

    def retire(self, now: int) -> None:
        """Delete files whose answers are all too old, and the oldest while all take too much."""
        index = self._index
        files = self._files
        while len(files) > 1 and (
            files[0].newest < now - KEPT_MILLISECONDS or sum(file.size for file in files) > self._total
        ):
            file = files.pop(0)
            while index and next(iter(index.values())).file is file:  # the oldest are first
                index.popitem(last=False)
            with contextlib.suppress(OSError):  # it is tried again at the next start
                self._disk.remove(file.path)

    def close(self) -> None:
        """Let go of the file."""
        if self._number >= 0:
            self._disk.close(self._number)
            self._number = -1


def _index(place: Place) -> tuple[tuple[str, str], _Entry]:
    """Return what is known of an answer, by its account and key; never its bytes, which are on the disk."""
    answer = place.answer
    size = place.end - place.start
    entry = _Entry(
        answer.digest, answer.request_id, answer.at, not answer.payload, size, place.file, place.start, place.end
    )
    return (answer.account, answer.key), entry
