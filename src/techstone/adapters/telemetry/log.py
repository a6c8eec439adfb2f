"""Structured logs: one JSON object a line, written by a thread of its own: a slow reader never blocks a request.

What cannot be written in time is dropped and counted. Values that may hold a secret never come here; for what slips
through in a text, a net of patterns (reliability 3.6) takes it out.
"""

from __future__ import annotations

import os
import queue
import select
import threading
import time
import traceback
from typing import TYPE_CHECKING, Literal

import msgspec

from techstone.core.keys import conceal

if TYPE_CHECKING:
    from collections.abc import Sequence

# So many batches may wait for a reader that does not read: some megabytes.
_WAITING = 64

_ENCODER = msgspec.json.Encoder()

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


class Log:
    """Hands lines to a writing thread. `number` is the file descriptor."""

    def __init__(self, number: int) -> None:
        self.dropped = 0
        self._number = number
        self._batches: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def event(self, level: Level, event: str, message: str, *, request_id: str = "", error: object = None) -> None:
        """Take anything else; `error` is an exception, whose trace is logged."""
        trace = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
        self.write([EventLine(time.time(), level, event, conceal(message), request_id, conceal(trace))])

    def write(self, lines: Sequence[AccessLine | EventLine]) -> None:
        """Hand lines to the thread."""
        try:
            self._batches.put_nowait(_ENCODER.encode_lines(lines))
        except queue.Full:
            self.dropped += len(lines)

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                while batch:
                    batch = batch[self._write_some(batch) :]
            except OSError:
                return  # nobody reads any more

    def _write_some(self, batch: bytes) -> int:
        """Return how much was written once something could be."""
        try:
            return os.write(self._number, batch)
        except BlockingIOError:  # whom we share stderr with made it non-blocking, for us too
            room = select.poll()
            room.register(self._number, select.POLLOUT)
            room.poll()
            return 0

    def close(self) -> None:
        """Write what is there, waiting a second at most."""
        try:
            self._batches.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(1.0)
