"""Ships the journal to the control plane: what is durable here, in order, until it is applied there.

At least once; the ledger knows what it has. While control is away the records wait on disk, and are read from there:
nothing is kept in memory but where they lie.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from techstone.core.snapshot import Timeouts
from techstone.gateway.ports import UpstreamProblem
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.adapters.journal.segments import Batch
    from techstone.adapters.journal.writer import JournalWriter
    from techstone.gateway.ports import ControlPlane

# What is new is sent so often, or at once when it is large.
_PACE_SECONDS = 0.2
_LARGEST = 1024 * 1024
_AGAIN_SECONDS = (0.1, 0.2, 0.5, 1.0)
_FINISH_SECONDS = 1.0
# A restart of the control plane takes less; whatever takes longer an operator should hear of.
_PATIENCE = 10.0
_ANSWER_LIMIT = 64 * 1024
# The limits of the last minute are made anew from the journal at a start, so that much of it must be there.
_KEPT_MILLISECONDS = 120_000
_TIMEOUTS = Timeouts(connect=2.0, first_byte=30.0, between_bytes=30.0, total=60.0)


class Applied(msgspec.Struct):
    """How far the ledger has followed."""

    applied: int


class Shipping:
    """Ships for as long as the process lives. `wall_clock` is in unix seconds; `report` takes a line for people."""

    def __init__(
        self,
        writer: JournalWriter,
        control: ControlPlane,
        wall_clock: Callable[[], float],
        report: Callable[[str], None],
    ) -> None:
        self._writer = writer
        self._control = control
        self._wall_clock = wall_clock
        self._report = report
        self._loop = asyncio.get_running_loop()
        self.problem: str | None = None
        self._since = 0.0
        self._told = False
        self.applied = 0
        self._running = Trampoline(self._run(), self._ended)
        self._again: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._running.advance()

    def stop(self) -> None:
        """End; what is not shipped waits for the next start."""
        if self._again is not None:
            self._again.cancel()
        self._running.cancel()

    async def finish(self) -> None:
        """End with one last try to ship what waits, of a second at most. Runs in a task, once the writer is closed."""
        self.stop()
        over = asyncio.Event()
        last = Trampoline(self._drain(), lambda _: over.set())
        last.advance()
        try:
            async with asyncio.timeout(_FINISH_SECONDS):
                await over.wait()
        except TimeoutError:
            last.cancel()

    def _ended(self, error: Exception | None) -> None:
        # Nothing in here may fail but in ways that are handled; if it does, say so and begin anew.
        self._fail(f"shipping failed: {error!r}")
        self._running = Trampoline(self._run(), self._ended)
        self._again = self._loop.call_later(_AGAIN_SECONDS[-1], self._running.advance)

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._wait()
            try:
                await self._ship()
                self._succeed()
                failures = 0
            except (UpstreamProblem, OSError) as problem:
                self._fail(f"the control plane takes no usage: {problem}")
                pause = _AGAIN_SECONDS[min(failures, len(_AGAIN_SECONDS) - 1)]
                failures += 1
                await asyncio.sleep(pause)
                continue
            now = int(self._wall_clock() * 1000)
            await self._writer.retire(self.applied, now - _KEPT_MILLISECONDS)
            if self._writer.spooled < _LARGEST:
                await asyncio.sleep(_PACE_SECONDS)

    def _fail(self, problem: str) -> None:
        """Keep the problem, and tell of one that lasts, once."""
        now = self._loop.time()
        if self.problem is None:
            self._since = now
        self.problem = problem
        if not self._told and now - self._since >= _PATIENCE:
            self._told = True
            self._report(f"journal: {problem}; {self._writer.spooled:,} bytes of usage wait on disk")

    def _succeed(self) -> None:
        self.problem = None
        if self._told:
            self._told = False
            self._report("journal: the control plane takes usage again")

    async def _drain(self) -> None:
        while self._writer.unshipped:
            await self._ship()

    async def _wait(self) -> None:
        writer = self._writer
        if not writer.unshipped:
            writer.arrived = self._loop.create_future()
            await writer.arrived
            writer.arrived = None

    async def _ship(self) -> None:
        """Send the oldest that waits, and let go of what is applied; raise UpstreamProblem, OSError."""
        batches = self._writer.gather(_LARGEST)
        applied = await self._send(batches)
        if self._writer.base < batches[0].first and 0 <= applied < batches[0].first - 1:
            # A backup was restored: what was booked after it and is still here is sent again.
            self._report(
                f"journal: the ledger has nothing after record {applied:,} any more; what is here is sent again"
            )
            self.applied = applied
            await self._writer.rewind(applied)
            return
        if applied < batches[-1].last:
            raise UpstreamProblem("content", f"it applied {applied} of {batches[-1].last}")
        self.applied = applied
        self._writer.shipped(applied)

    async def _send(self, batches: list[Batch]) -> int:
        first, last = batches[0], batches[-1]
        read = self._writer.disk.read_part
        # On a thread: after a while without control it comes from the disk and not from the kernel's memory.
        body = await self._loop.run_in_executor(None, read, first.segment.path, first.start, last.end)
        head = (
            b"POST /internal/journal?journal=%b&first=%d&base=%d HTTP/1.1\r\nhost: control\r\n"
            b"content-type: application/octet-stream\r\nx-request-id: journal"
            % (self._writer.journal.encode(), first.first, self._writer.base)
        )
        answer = await self._control.ask(head, body, _TIMEOUTS)
        text = await answer.read(_ANSWER_LIMIT)
        if answer.status >= 300:
            raise UpstreamProblem("status", f"{answer.status}: {text[:300].decode('utf-8', 'replace')}")
        try:
            return msgspec.json.decode(text, type=Applied).applied
        except msgspec.MsgspecError as error:
            raise UpstreamProblem("content", "no count in the answer") from error
