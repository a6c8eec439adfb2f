"""Runs the processes of one machine as children: starts them, restarts with back-off what ends, stops them in order.

Knows nothing of what they do. None can slow or crash another: a child that ends is started again, the others run on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from techstone.app.child import PARENT, READY_FD, News

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0
# A child that lived so long has not failed at its start: its next end begins the back-off anew.
_SETTLED_SECONDS = 30.0
# A child that never became ready and ended so often will not become so: the start has failed.
_START_ATTEMPTS = 3
_KILL_SECONDS = 5.0

Probe = Callable[[], Awaitable[None]]
"""Returns once a child that cannot report by itself serves."""


class Program(msgspec.Struct, frozen=True):
    """What to run. `environment` is the child's whole environment; `passed` are file descriptors that it inherits.

    `probe` None: the child reports over a pipe that it is ready. `vital`: the start fails if it cannot be started.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    passed: tuple[int, ...] = ()
    probe: Probe | None = None
    vital: bool = True


class StartError(Exception):
    """A vital child ended before it was ready; its own line on stderr says why."""


class Child:
    """One program, kept running until `stop`."""

    def __init__(self, program: Program, say: Callable[[str], None]) -> None:
        self.program = program
        self.ready: asyncio.Future[News] = asyncio.get_running_loop().create_future()
        self.restarts = 0
        self.settled = asyncio.Event()
        """Set when it is ready, or has ended again and again without ever being so."""
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Run it, and again whenever it ends."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        delay = _FIRST_DELAY
        failures = 0
        while True:
            began = loop.time()
            code = await self._run()
            if self._stopping:
                return
            failures += 1
            if not self.ready.done() and failures >= _START_ATTEMPTS:
                self.settled.set()
                if self.program.vital:
                    self.ready.set_exception(StartError(self.program.name))
                    return
            if loop.time() - began > _SETTLED_SECONDS:
                delay = _FIRST_DELAY
            self.restarts += 1
            self._say(f"{self.program.name} ended ({_describe(code)}); starting it again in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _run(self) -> int:
        program = self.program
        read_end, write_end = os.pipe()
        environment = {**program.environment, PARENT: str(os.getpid())}
        passed = program.passed
        if program.probe is None:
            environment[READY_FD] = str(write_end)
            passed = (*passed, write_end)
        try:
            # Its own session: Ctrl-C on the terminal reaches us alone, and we stop the children in order.
            self._process = process = await asyncio.create_subprocess_exec(
                *program.command,
                env=environment,
                pass_fds=passed,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            os.close(read_end)
            os.close(write_end)
            self._say(f"{program.name} cannot be started: {error}")
            return 127
        os.close(write_end)
        listening = asyncio.create_task(self._listen(read_end))
        try:
            return await process.wait()
        finally:
            self._process = None
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening

    async def _listen(self, read_end: int) -> None:
        """Wait until the child serves."""
        with os.fdopen(read_end, "rb") as pipe:
            if self.program.probe is not None:
                await self.program.probe()
                news = News()
            else:
                reader = asyncio.StreamReader()
                loop = asyncio.get_running_loop()
                transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
                try:
                    line = await reader.readline()
                finally:
                    transport.close()
                if not line:
                    return  # it ended, or closed the pipe unsaid
                news = msgspec.json.decode(line, type=News)
        if not self.ready.done():
            self.ready.set_result(news)
            self.settled.set()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, seconds: float) -> None:
        """Ask it to end, and make it after so many seconds."""
        self._stopping = True
        self.signal(signal.SIGTERM)
        task = self._task
        if task is None:
            return
        if self._process is None:
            task.cancel()  # it waits for its next start
        _, late = await asyncio.wait({task}, timeout=seconds)
        if late:
            self._say(f"{self.program.name} did not end in {seconds:g} s and was killed")
            self.signal(signal.SIGKILL)
            await asyncio.wait({task}, timeout=_KILL_SECONDS)


def _describe(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit status {code}"
