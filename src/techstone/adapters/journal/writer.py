"""Writes the journal: one thread, one write and one fdatasync for all that gathered meanwhile (group commit).

What is recorded while the disk syncs waits for the next group, so that a busy gateway syncs once for many requests. The
event loop never waits: a commit is a `Signal` that its group gives. A full or broken disk fails the group, whose
answers are then not completed, and nothing new is admitted until a probe has been written and synced.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from techstone.adapters.journal import segments
from techstone.adapters.journal.answers import Answers
from techstone.adapters.journal.segments import Segment
from techstone.core import frames
from techstone.core.usage import encode
from techstone.gateway.ports import SettlementFailed
from techstone.gateway.trampoline import Signal

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from techstone.adapters.journal.segments import Recovered
    from techstone.core.usage import UsageRecord
    from techstone.gateway.ports import StoredAnswer

SEGMENT_BYTES = 16 * 1024 * 1024
# So much may wait for the control plane (some minutes of a busy day); then nothing new is admitted.
SPOOL_BYTES = 64 * 1024 * 1024
_RESUMED = 0.9
_PROBE_SECONDS = 0.5
_PROBE = bytes(4096)


class Commit(Signal):
    """Somebody waits for his record to be durable."""

    __slots__ = ("failed",)

    def __init__(self) -> None:
        super().__init__()
        self.failed = False


class Batch(msgspec.Struct):
    """Records that lie one after another in a segment, durable and not shipped yet. `at` is monotonic seconds."""

    segment: Segment
    start: int
    end: int
    first: int
    last: int
    at: float


_Waiting = tuple[bytes, "Commit | None", "StoredAnswer | None"]


class JournalWriter:
    """Implements the port `Journal`. `shipped` is called by whoever ships what waits in `unshipped`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, folder: Path, recovered: Recovered) -> None:
        self._loop = loop
        self._folder = folder
        self.journal = recovered.journal
        self.segments: list[Segment] = recovered.segments
        self.unshipped: deque[Batch] = deque(
            Batch(segment, 0, segment.size, segment.first, segment.last, loop.time())
            for segment in recovered.segments
            if segment.size
        )
        self.spooled = sum(batch.end for batch in self.unshipped)
        self.written = 0
        self.arrived: asyncio.Future[None] | None = None
        self._queue: deque[_Waiting] = deque()
        self._wake = threading.Lock()
        self._wake.acquire()
        self._busy = False
        self._closing = False
        self._spool_full = False
        self._disk_problem: str | None = None
        self._number = -1
        self._open_last()
        self.answers = Answers(folder)
        last = self.segments[-1].last
        self.lost = [*self.answers.recover(last + 1), *recovered.unfinished]
        """What the last run could not record: settlements of stored answers, and streams that it left open."""
        for record in self.lost:
            self.append(record)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def _open_last(self) -> None:
        if self.segments and self.segments[-1].size < SEGMENT_BYTES:
            self._number = os.open(self.segments[-1].path, os.O_RDWR | os.O_CLOEXEC)
        else:
            self._rotate()

    # On the event loop

    @property
    def problem(self) -> str | None:
        """Why nothing new may be admitted."""
        if self._disk_problem is not None:
            return self._disk_problem
        if self._spool_full:
            return f"{self.spooled:,} bytes of usage wait for the control plane"
        return None

    def append(self, record: UsageRecord) -> None:
        """Record without waiting."""
        self._put((frames.frame(encode(record)), None, None))

    async def commit(self, record: UsageRecord, answer: StoredAnswer | None = None) -> None:
        """Record, and return once it is durable; raise SettlementFailed."""
        waiting = Commit()
        self._put((frames.frame(encode(record)), waiting, answer))
        await waiting
        if waiting.failed:
            raise SettlementFailed(self._disk_problem or "the journal failed")

    def _put(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        if not self._busy:
            self._busy = True
            self._wake.release()

    def _done(self, group: list[_Waiting], batch: Batch | None, answers: list[Any], problem: str | None) -> None:
        """Hear from the thread that a group is durable, or why not."""
        self.answers.add(answers)
        self._disk_problem = problem
        if batch is not None:
            size = batch.end - batch.start
            self.spooled += size
            self.written += batch.last - batch.first + 1
            self._spool_full = self._spool_full or self.spooled > SPOOL_BYTES
            self.unshipped.append(batch)
            if self.arrived is not None and not self.arrived.done():
                self.arrived.set_result(None)
        for _, waiting, _ in group:
            if waiting is not None:
                waiting.failed = batch is None
                waiting.give()
        if problem is not None:
            self._loop.call_later(_PROBE_SECONDS, self._go_on)
        else:
            self._go_on()

    def _go_on(self) -> None:
        if self._queue or self._disk_problem is not None:
            self._wake.release()
        else:
            self._busy = False

    def shipped(self, applied: int) -> None:
        """Hear how far the control plane has come; let go of what it has."""
        while self.unshipped and self.unshipped[0].last <= applied:
            batch = self.unshipped.popleft()
            self.spooled -= batch.end - batch.start
        if self._spool_full and self.spooled < SPOOL_BYTES * _RESUMED:
            self._spool_full = False

    def retire(self, applied: int, before: int) -> None:
        """Delete segments that are applied and whose newest record is older than `before` (unix ms)."""
        while len(self.segments) > 1 and self.segments[0].last <= applied and self.segments[0].newest < before:
            segments.remove(self.segments.pop(0))

    def lag(self, now: float) -> float:
        """Return for how long the oldest record that is not applied has been waiting, in seconds."""
        return now - self.unshipped[0].at if self.unshipped else 0.0

    def close(self) -> None:
        """Write what waits and end the thread."""
        self._closing = True
        with contextlib.suppress(RuntimeError):  # it is on its way already
            self._wake.release()
        self._thread.join(5.0)
        os.close(self._number)
        self.answers.close()

    # On the thread

    def _run(self) -> None:
        while not self._closing:
            self._wake.acquire()
            self._work()
        while self._queue:
            self._work()

    def _work(self) -> None:
        group: list[_Waiting] = []
        queue = self._queue
        while queue:
            group.append(queue.popleft())
        answers: list[Any] = []
        batch, problem = self._write(group, answers)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._done, group, batch, answers if batch else [], problem)

    def _write(self, group: list[_Waiting], answers: list[Any]) -> tuple[Batch | None, str | None]:
        """Write and sync a group, its answers before; return where it lies, or why it does not."""
        segment = self.segments[-1]
        try:
            if not group:
                self._probe(segment)
                return None, None
            stored = [
                (segment.last + place, frame[frames.HEAD_SIZE :], answer)
                for place, (frame, _, answer) in enumerate(group, 1)
                if answer is not None
            ]
            if stored:
                answers += self.answers.write(stored)
            data = b"".join([frame for frame, _, _ in group])
            _write_all(self._number, data, segment.size)
            os.fdatasync(self._number)
        except OSError as error:
            self._give_up(segment)
            if answers:
                with contextlib.suppress(OSError):
                    self.answers.undo()
            return None, f"the journal cannot be written: {error.strerror or error}"
        batch = Batch(
            segment,
            segment.size,
            segment.size + len(data),
            segment.last + 1,
            segment.last + len(group),
            time.monotonic(),
        )
        segment.size = batch.end
        segment.last = batch.last
        segment.newest = int(time.time() * 1000)
        if segment.size >= SEGMENT_BYTES:
            try:
                self._rotate()
            except OSError as error:
                return batch, f"the journal cannot be continued: {error.strerror or error}"
        return batch, None

    def _probe(self, segment: Segment) -> None:
        """Try whether the disk takes something again."""
        if self._closing:
            return
        _write_all(self._number, _PROBE, segment.size)
        os.fdatasync(self._number)
        os.ftruncate(self._number, segment.size)

    def _give_up(self, segment: Segment) -> None:
        """Undo a write that failed; after a failed sync the kernel may have dropped pages, so go on in a new file."""
        try:
            os.ftruncate(self._number, segment.size)
            if segment.size:
                self._rotate()
        except OSError:
            return  # the next probe tries again

    def _rotate(self) -> None:
        first = self.segments[-1].last + 1 if self.segments else 1
        segment, number = segments.create(self._folder, self.journal, first)
        if self._number >= 0:
            os.close(self._number)
        self._number = number
        self.segments.append(segment)


def _write_all(number: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(number, data, offset)
        offset += written
        data = data[written:]
