"""Structured logs: one JSON object a line, written by a thread of its own: a slow reader never blocks a request.

What cannot be written in time is dropped and counted. Values that may hold a secret never come here; for what slips
through in a text, a net of patterns (reliability 3.6) takes it out.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import time
import traceback
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    import asyncio

_FLUSH_SECONDS = 0.5
_FLUSH_LINES = 512
# So many batches may wait for a reader that does not read: 4,096 lines.
_WAITING = 8

_ENCODER = msgspec.json.Encoder()
_SECRETS = re.compile(r"(?:ts_(?:live|test)_|sk-|Bearer\s+)[A-Za-z0-9._~+/=-]+")

Level = Literal["info", "warning", "error"]


class AccessLine(msgspec.Struct, omit_defaults=True, gc=False):
    """One answered request. `duration` and `first_byte` are in seconds; status 499: the client hung up."""

    ts: float
    event: str
    request_id: str
    method: str
    path: str
    status: int
    duration: float
    account: str = ""
    key: str = ""
    model: str = ""
    provider: str = ""
    stream: bool = False
    first_byte: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attempts: int = 0
    error: str = ""
    level: Level = "info"


class EventLine(msgspec.Struct, omit_defaults=True):
    """Anything else that an operator should know."""

    ts: float
    level: Level
    event: str
    message: str
    request_id: str = ""
    trace: str = ""


def redact(text: str) -> str:
    """Return the text without what looks like a key."""
    return _SECRETS.sub("[redacted]", text)


class Log:
    """Collects lines on the event loop and hands them to a writing thread. `number` is the file descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        self.dropped = 0
        self._loop = loop
        self._number = number
        self._lines: list[bytes] = []
        self._batches: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()
        self._timer: asyncio.TimerHandle | None = loop.call_later(_FLUSH_SECONDS, self._tick)

    def access(self, line: AccessLine) -> None:
        """Take the line of an answered request."""
        lines = self._lines
        lines.append(_ENCODER.encode(line))
        if len(lines) >= _FLUSH_LINES:
            self.flush()

    def event(self, level: Level, event: str, message: str, *, request_id: str = "", error: object = None) -> None:
        """Take anything else; `error` is an exception, whose trace is logged."""
        trace = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
        line = EventLine(time.time(), level, event, redact(message), request_id, redact(trace))
        self._lines.append(_ENCODER.encode(line))

    def flush(self) -> None:
        """Hand what was collected to the thread."""
        lines = self._lines
        if not lines:
            return
        self._lines = []
        try:
            self._batches.put_nowait(b"\n".join(lines) + b"\n")
        except queue.Full:
            self.dropped += len(lines)

    def _tick(self) -> None:
        self.flush()
        self._timer = self._loop.call_later(_FLUSH_SECONDS, self._tick)

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                while batch:
                    batch = batch[os.write(self._number, batch) :]
            except OSError:
                return  # nobody reads any more

    def close(self) -> None:
        """Write what is there, waiting a second at most."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        try:
            self._batches.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(1.0)
