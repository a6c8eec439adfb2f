"""The journal as the gateway sees it: one write and one fdatasync for all that gathered meanwhile (group commit).

What is recorded while a thread syncs waits for the next group, so that a busy gateway syncs once for many requests. The
event loop never waits: a commit is a `Signal` that its group gives. A full or broken disk fails the group, whose
answers are then not completed, and nothing new is admitted until a probe has been written and synced.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from techstone.adapters.journal.answers import TOTAL_BYTES, Answers
from techstone.adapters.journal.commitlog import SEGMENT_BYTES, CommitLog, Written, find_lost
from techstone.adapters.journal.segments import read_batches
from techstone.core import frames
from techstone.core.usage import UsageRecord, encode
from techstone.gateway.ports import SettlementFailed, StoredAnswer
from techstone.gateway.trampoline import Signal
from techstone.wire.report import JournalState

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from techstone.adapters.journal.answers import Place
    from techstone.adapters.journal.segments import Batch, Recovered, Segment

# So much may wait for the control plane, some 400,000 records (an hour at 100 a second); then nothing new is admitted.
SPOOL_BYTES = 64 * 1024 * 1024
_RESUMED = 0.9
_PROBE_SECONDS = 0.5
# Groups that follow each other are shipped as one batch up to this size: a batch takes 0.1 KB of memory.
_BATCH_BYTES = 64 * 1024
_CLOSE_SECONDS = 5.0
# A group takes a millisecond; a disk that has not answered after two looks does not.
_WATCH_SECONDS = 1.0
_PATIENCE = 2


class Options(msgspec.Struct, frozen=True):
    """Sizes in bytes; the clock is in unix seconds."""

    segment: int = SEGMENT_BYTES
    spool: int = SPOOL_BYTES
    answers: int = TOTAL_BYTES
    wall_clock: Callable[[], float] = time.time


_DEFAULTS = Options()


class Commit(Signal):
    """Somebody waits for his record to be durable, or has hung up meanwhile: then it must not be lost, either."""

    __slots__ = ("abandoned", "failed", "record")

    def __init__(self, record: UsageRecord) -> None:
        # Not by way of `super()`, which costs 0.1 µs: this runs once a request.
        self.come = False
        self._waiter = None
        self.failed = False
        self.abandoned = False
        self.record = record


_Waiting = tuple[bytes, "Commit | None", "StoredAnswer | UsageRecord | None"]
"""A record in its frame; who waits for it; the answer that goes with it, or itself where it must not be dropped."""
_Outcome = tuple[list[_Waiting], "Written | None", "str | None"]
"""What the thread says of a group: where it lies, or the problem; neither of a probe that went well."""


class JournalWriter:
    """Implements the port `Journal`. `shipped` is called by whoever ships what waits in `unshipped`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, folder: Path, recovered: Recovered, options: Options = _DEFAULTS
    ) -> None:
        self._loop = loop
        self._options = options
        self.journal = recovered.journal
        self.disk = recovered.disk
        self.problem: str | None = None
        self.unshipped: deque[Batch] = deque(recovered.batches)
        self.spooled = sum(batch.end - batch.start for batch in self.unshipped)
        self.written = 0
        self.arrived: asyncio.Future[None] | None = None
        self.recorded: Callable[[int, UsageRecord], None] | None = None
        """Told of each end that is durable, with its number in the journal, in their order."""
        self.answered: Callable[[StoredAnswer, bool], None] | None = None
        """Told of each answer once it is durable with its settlement (True), or will not be stored (False)."""
        self.booked: Callable[[int], None] | None = None
        """Told how far the ledger has followed."""
        self.answers = Answers(folder, recovered.disk, options.answers)
        self.lost = find_lost(recovered, self.answers)
        """What the last run could not record: settlements of stored answers, and streams that it left open."""
        self._log = CommitLog(folder, recovered, self.answers, options.segment, options.wall_clock)
        self._open: dict[str, int] = {}
        self._owed: dict[str, UsageRecord] = {}
        self._queue: list[_Waiting] = []
        self._spool_full = False
        self._disk_problem: str | None = None
        self._stuck = 0
        self._ledger_problem: str | None = None
        self._closing = False
        self._busy = False
        self._due: asyncio.Handle | None = None
        self._handed: list[_Waiting] | None = None
        self._wake = threading.Lock()
        self._wake.acquire()
        self._outcomes: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()
        for record in self.lost:
            self.append(record)
        self._watching = loop.call_later(_WATCH_SECONDS, self._watch)
        self._weigh()

    @property
    def segments(self) -> list[Segment]:
        """The files, oldest first."""
        return self._log.segments

    # On the event loop

    def append(self, record: UsageRecord) -> None:
        """Record without waiting; while the disk takes nothing, ends are kept in memory and checkpoints are not."""
        ends = record.state != "open"
        if ends:
            self._open.pop(record.id, None)
        else:
            self._open[record.id] = record.at
        if self._disk_problem is None:
            self._put((frames.frame(encode(record)), None, record if ends else None))
        elif ends:
            self._owed[record.id] = record

    async def commit(self, record: UsageRecord, answer: StoredAnswer | None = None) -> None:
        """Record, and return once it is durable; raise SettlementFailed."""
        if self._disk_problem is not None or self._closing:
            raise SettlementFailed(self._disk_problem or "the journal is closed")
        waiting = Commit(record)
        if answer is not None:
            self.answers.expect(answer)
        self._put((frames.frame(encode(record)), waiting, answer))
        try:
            await waiting
        except BaseException:  # its client hung up: the record is written all the same, and nobody is woken
            waiting.abandoned = True
            raise
        if waiting.failed:
            raise SettlementFailed(self._disk_problem or "the journal failed")

    def _put(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        if not self._busy:
            # At the end of this turn of the loop: what else comes in it goes along.
            self._busy = True
            self._due = self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Give the thread what has gathered; an empty group is a probe."""
        self._busy = True
        self._due = None
        self._handed = self._queue
        self._queue = []
        self._wake.release()

    def _collect(self) -> None:
        """Hear from the thread."""
        with contextlib.suppress(queue.Empty):
            self._take(self._outcomes.get_nowait())

    def _take(self, outcome: _Outcome) -> None:
        group, written, problem = outcome
        if self._stuck:
            self._stuck = 0
            self._judge()
        try:
            # Those who are woken may record more: that gathers for the next group.
            if problem is not None:
                self._fail(group, problem)
            elif written is None:
                self._resume()
            else:
                self._keep(*written)
                if self.recorded is not None:
                    self._tell_numbers(written[0].first, group)
                self._tell(group)
        finally:
            self._busy = bool(self._queue)
            if self._busy and self._closing:
                self._hand_over()
            elif self._busy:
                self._due = self._loop.call_soon(self._hand_over)

    def _tell_numbers(self, first: int, group: list[_Waiting]) -> None:
        """Tell the numbers of records that are ends, before whoever waits for them goes on."""
        assert self.recorded is not None  # noqa: S101 - looked at by the caller, for whom nobody may listen
        for number, (_, waiting, extra) in enumerate(group, first):
            record = waiting.record if waiting is not None else extra
            if isinstance(record, UsageRecord):
                self.recorded(number, record)

    def _tell(self, group: list[_Waiting]) -> None:
        """Wake those whose records are durable."""
        opened = self._open
        for _, waiting, extra in group:
            if waiting is not None:
                if opened:
                    opened.pop(waiting.record.id, None)
                if extra is not None and isinstance(extra, StoredAnswer):
                    self._dismiss(extra, stored=True)
                self._wake_up(waiting)

    def _dismiss(self, answer: StoredAnswer, *, stored: bool) -> None:
        self.answers.dismiss(answer)
        if self.answered is not None:
            self.answered(answer, stored)

    def _wake_up(self, waiting: Commit) -> None:
        try:
            waiting.give()
        except Exception as error:  # noqa: BLE001 - one who breaks as he is woken must not leave the others waiting
            self._loop.call_exception_handler({"message": "a commit's waiter failed", "exception": error})

    def _watch(self) -> None:
        """Notice a disk that neither writes nor fails: what is admitted meanwhile could not be recorded."""
        self._watching = self._loop.call_later(_WATCH_SECONDS, self._watch)
        was = self._stuck
        self._stuck = was + 1 if self._busy else 0
        if (was >= _PATIENCE) != (self._stuck >= _PATIENCE):
            self._judge()

    def _keep(self, batch: Batch, places: list[Place]) -> None:
        """Have a group that is durable shipped."""
        self.written += batch.last - batch.first + 1
        self.spooled += batch.end - batch.start
        if places:
            self.answers.add(places)
        last = self.unshipped[-1] if self.unshipped else None
        if last is not None and last.segment is batch.segment and not last.sealed:
            last.end, last.last = batch.end, batch.last
        else:
            last = batch
            self.unshipped.append(batch)
        last.sealed = last.end - last.start >= _BATCH_BYTES
        if self.arrived is not None and not self.arrived.done():
            self.arrived.set_result(None)
        self._weigh()

    def _weigh(self) -> None:
        if self.spooled > self._options.spool and not self._spool_full:
            self._spool_full = True
            self._judge()

    def _fail(self, group: list[_Waiting], problem: str) -> None:
        """Tell all who wait, and try the disk again soon; the ends of what nobody waits for are kept in memory."""
        self._disk_problem = problem
        self._judge()
        group += self._queue
        self._queue = []
        if not self._closing:
            self._loop.call_later(_PROBE_SECONDS, self._probe)
        for _, waiting, extra in group:
            if isinstance(extra, StoredAnswer):
                self._dismiss(extra, stored=False)
            if waiting is not None:
                if waiting.abandoned:
                    self._owed[waiting.record.id] = waiting.record  # it was billed when its client hung up
                waiting.failed = True
                self._wake_up(waiting)
            elif isinstance(extra, UsageRecord):
                self._owed[extra.id] = extra

    def _probe(self) -> None:
        if not self._closing and not self._busy:
            self._hand_over()

    def _resume(self) -> None:
        self._disk_problem = None
        self._judge()
        owed, self._owed = self._owed, {}
        for record in owed.values():
            self.append(record)

    def _judge(self) -> None:
        if self._disk_problem is not None or self._ledger_problem is not None:
            self.problem = self._disk_problem or self._ledger_problem
        elif self._stuck >= _PATIENCE:
            self.problem = "the journal's disk does not answer"
        elif self._spool_full:
            self.problem = f"{self._options.spool:,} bytes of usage wait for the control plane"
        else:
            self.problem = None

    # For shipping

    def gather(self, limit: int) -> list[Batch]:
        """Return the oldest batches that lie one after another in one segment, up to a size."""
        found: list[Batch] = []
        for batch in self.unshipped:
            if found and (batch.segment is not found[0].segment or batch.end - found[0].start > limit):
                break
            batch.sealed = True
            found.append(batch)
        return found

    def shipped(self, applied: int) -> None:
        """Hear how far the control plane has come; let go of what it has.

        It cannot have come further than what was ever written here: then a part of the journal is gone (restored from
        an old copy, or damaged), and new records would get numbers that the ledger takes for booked.
        """
        last = self.segments[-1].last
        if not self.written:
            last += len(self.lost)  # they are on their way, and the first of this life
        if applied > last and self._ledger_problem is None:
            self._ledger_problem = (
                f"the ledger has {applied:,} records of the journal {self.journal}, which has only {last:,} itself: a "
                "part of it is gone. Move its files away, so that a new journal begins"
            )
            self._judge()
        if self._ledger_problem is not None:
            return  # what it has by number is not what is written here: nothing is let go of
        if self.booked is not None:
            self.booked(applied)
        while self.unshipped and self.unshipped[0].last <= applied:
            batch = self.unshipped.popleft()
            self.spooled -= batch.end - batch.start
        if self._spool_full and self.spooled < self._options.spool * _RESUMED:
            self._spool_full = False
            self._judge()

    @property
    def base(self) -> int:
        """The number of the oldest record that is still here."""
        return self.segments[0].first

    async def rewind(self, applied: int) -> None:
        """Have what is here after a number shipped again: the ledger has lost it. Raise OSError."""
        until = self.unshipped[0].first - 1 if self.unshipped else self.segments[-1].last
        segments = [segment for segment in self.segments if segment.last > applied and segment.first <= until]

        def read() -> list[Batch]:
            return [batch for segment in segments for batch in read_batches(self.disk, segment, applied, until)]

        found = await self._loop.run_in_executor(None, read)
        self.unshipped.extendleft(reversed(found))
        self.spooled += sum(batch.end - batch.start for batch in found)
        self._weigh()

    async def retire(self, applied: int, before: int) -> None:
        """Delete segments that are applied and whose newest record is older than `before` (unix ms).

        Those since the oldest running stream began are kept: its last checkpoint, by which a crash closes it, is there.
        """
        if self._owed or self._disk_problem is not None:
            return
        before = min(before, min(self._open.values(), default=before))
        if self._log.has_retired(applied, before):
            await self._loop.run_in_executor(None, self._log.retire, applied, before)

    def report(self, now: float) -> JournalState:
        """Return what is not booked yet; `now` is in unix seconds."""
        waiting = sum(batch.last - batch.first + 1 for batch in self.unshipped)
        return JournalState(waiting, self.lag(now), self.spooled, self._options.spool, self.problem)

    def lag(self, now: float) -> float:
        """Return for how long the oldest record that is not applied has been waiting; `now` is in unix seconds."""
        return max(0.0, now - self.unshipped[0].at) if self.unshipped else 0.0

    def close(self) -> None:
        """Write what waits and end the thread."""
        if self._closing:
            return
        self._closing = True
        self._watching.cancel()
        if self._due is not None:
            self._due.cancel()
            self._hand_over()
        with contextlib.suppress(queue.Empty):  # a disk that hangs: what it had not confirmed is confirmed to nobody
            while self._busy:
                self._take(self._outcomes.get(timeout=_CLOSE_SECONDS))
            self._handed = None
            self._wake.release()
            self._thread.join(_CLOSE_SECONDS)
            with contextlib.suppress(OSError):
                self._write_owed()
            self._log.close()

    def _write_owed(self) -> None:
        """Try once more what a failing disk could not take; the thread is gone."""
        if self._owed and not self._thread.is_alive():
            self._log.mend()
            batch, _ = self._log.write([frames.frame(encode(record)) for record in self._owed.values()])
            self._keep(batch, [])
            self._owed = {}

    # On the thread

    def _run(self) -> None:
        while True:
            self._wake.acquire()
            group, self._handed = self._handed, None
            if group is None:
                return
            self._outcomes.put(self._work(group))
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._collect)

    def _work(self, group: list[_Waiting]) -> _Outcome:
        try:
            if not group:
                self._log.mend()
                return group, None, None
            answers = [(place, extra) for place, (_, _, extra) in enumerate(group) if isinstance(extra, StoredAnswer)]
            return group, self._log.write([frame for frame, _, _ in group], answers), None
        except OSError as error:
            return group, None, f"the journal cannot be written: {error.strerror or error}"
        except Exception as error:  # noqa: BLE001 - a thread that ended would leave every client waiting for ever
            return group, None, f"the journal failed: {error!r}"
