"""Whole answers, kept on disk under their clients' Idempotency-Key: a retry gets the same one and is not billed.

An answer is durable before its settlement is: a crash between the two leaves an answer whose record is missing from the
journal, and recovery puts that record there. So a stored answer is always billed, and once. Kept for 24 h at most, less
where there are too many: the oldest file goes first.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from techstone.adapters.journal.segments import sync_folder
from techstone.core import frames
from techstone.core.usage import DECODER as RECORD
from techstone.gateway.ports import Remembered, StoredAnswer

if TYPE_CHECKING:
    from techstone.core.usage import UsageRecord

KEPT_MILLISECONDS = 86_400_000
TOTAL_BYTES = 1024 * 1024 * 1024
_FILE_BYTES = 16 * 1024 * 1024
# What is known of each takes 0.4 KB of memory.
_MOST = 200_000
_NAME = re.compile(r"answers-([0-9]{16})\.log")


class Kept(msgspec.Struct, array_like=True, gc=False):
    """An answer as it lies on disk, with its settlement and the number that this has in the journal."""

    number: int
    record: bytes
    answer: StoredAnswer


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Kept)


class _File(msgspec.Struct):
    path: Path
    size: int = 0
    newest: int = 0


class _Entry(Remembered, gc=False):
    """What is known of an answer, and where it lies."""

    file: _File
    start: int
    end: int


class Answers:
    """Implements the port `Answers`; `write` and `undo` are the journal thread's, all else the event loop's."""

    def __init__(self, folder: Path, total: int = TOTAL_BYTES) -> None:
        self._folder = folder
        self._total = total
        self._files: list[_File] = []
        self._index: dict[tuple[str, str], _Entry] = {}
        self._number = -1
        self._undone: tuple[_File, int] | None = None

    def recover(self, expected: int) -> list[UsageRecord]:
        """Read the folder back; return the settlements that the journal, whose next number is given, lacks."""
        lost: list[tuple[int, UsageRecord]] = []
        for path in sorted(self._folder.iterdir()):
            if not _NAME.fullmatch(path.name):
                continue
            data = path.read_bytes()
            file = _File(path)
            for payload, end in frames.read(data):
                kept = _DECODER.decode(payload)
                self._remember(kept.answer, file, file.size, end)
                file.size, file.newest = end, kept.answer.at
                if kept.number >= expected:
                    lost.append((kept.number, RECORD.decode(kept.record)))
            if file.size < len(data):
                with path.open("r+b") as opened:
                    opened.truncate(file.size)
                    os.fsync(opened.fileno())
            self._files.append(file)
        return [record for _, record in sorted(lost, key=lambda entry: entry[0])]

    def _remember(self, answer: StoredAnswer, file: _File, start: int, end: int) -> None:
        name = (answer.account, answer.key)
        self._index.pop(name, None)  # the youngest is last
        self._index[name] = _Entry(answer.digest, answer.request_id, answer.at, not answer.payload, file, start, end)
        if len(self._index) > _MOST:
            del self._index[next(iter(self._index))]

    def find(self, account: str, key: str, now: int) -> Remembered | None:
        """Return what is known of the answer under a key; `now` is in unix milliseconds."""
        entry = self._index.get((account, key))
        if entry is None or entry.at < now - KEPT_MILLISECONDS:
            return None
        return entry

    def load(self, found: Remembered) -> StoredAnswer | None:
        """Return the answer; None if its file is gone."""
        if not isinstance(found, _Entry):
            return None
        try:
            with found.file.path.open("rb") as file:
                data = os.pread(file.fileno(), found.end - found.start, found.start)
        except OSError:
            return None
        return next((_DECODER.decode(payload).answer for payload, _ in frames.read(data)), None)

    # On the journal's thread

    def write(self, answers: list[tuple[int, bytes, StoredAnswer]]) -> list[tuple[StoredAnswer, _File, int, int]]:
        """Write and sync answers with their settlements; return where each lies. Raise OSError."""
        if self._number < 0 or self._files[-1].size >= _FILE_BYTES:
            self._open_next()
        file = self._files[-1]
        self._undone = (file, file.size)
        found: list[tuple[StoredAnswer, _File, int, int]] = []
        data = []
        end = file.size
        for number, record, answer in answers:
            data.append(frames.frame(_ENCODER.encode(Kept(number, record, answer))))
            found.append((answer, file, end, end + len(data[-1])))
            end += len(data[-1])
        os.pwrite(self._number, b"".join(data), file.size)
        os.fdatasync(self._number)
        file.size, file.newest = end, answers[-1][2].at
        return found

    def undo(self) -> None:
        """Take the last write back: its settlement failed."""
        if self._undone is not None:
            file, size = self._undone
            self._undone = None
            os.ftruncate(self._number, size)
            os.fdatasync(self._number)
            file.size = size

    def _open_next(self) -> None:
        number = int(_NAME.fullmatch(self._files[-1].path.name)[1]) + 1 if self._files else 1  # type: ignore[index]  # ours
        path = self._folder / f"answers-{number:016d}.log"
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        sync_folder(self._folder)
        if self._number >= 0:
            os.close(self._number)
        self._number = opened
        self._files.append(_File(path))

    # On the event loop again

    def add(self, written: list[tuple[StoredAnswer, _File, int, int]]) -> None:
        """Know what was written; its settlement is durable."""
        for answer, file, start, end in written:
            self._remember(answer, file, start, end)

    def retire(self, now: int) -> None:
        """Delete files whose answers are all too old, and the oldest while all take too much."""
        files = self._files
        while len(files) > 1 and (
            files[0].newest < now - KEPT_MILLISECONDS or sum(file.size for file in files) > self._total
        ):
            file = files.pop(0)
            self._index = {name: entry for name, entry in self._index.items() if entry.file is not file}
            file.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._number >= 0:
            os.close(self._number)
