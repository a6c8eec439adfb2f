"""What a gateway has to tell Redis that nobody waits for, in portions: each is sent as the one before it was answered.

A gateway may have a hundred thousand charges to tell. Sent at once they would be a second of Redis's work, behind which
every request waits for longer than it may; so portions are as large as Redis answers soon. All of it is told in order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from techstone.adapters.limits.connection import Connection, Reply, Take

    Call = tuple[bytes, Take]

# A charge takes Redis 70 to 105 µs, so the first portion of 30 gateways that come back at once 60 ms.
_FIRST, _MOST = 20, 200
_MOST_BYTES = 256 * 1024
# Within this, what is read from the disk for it included: half of what a request may wait for.
_SECONDS = 0.025


class Telling:
    """One connection's. Several things to tell take turns, a portion each."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Connection) -> None:
        self._loop = loop
        self._connection = connection
        self._rest: deque[tuple[Iterator[Call], Callable[[], None]]] = deque()
        self._size = _FIRST
        self._began = 0.0
        self._busy = False
        self._stopped = False

    def tell(self, calls: Iterator[Call], done: Callable[[], None]) -> None:
        """Tell all of it, each call as it is asked for; `done` is called once all was answered.

        If nothing else is being told the first portion is sent in this very turn of the event loop.
        """
        self._rest.append((calls, done))
        if not self._busy:
            self._go_on()

    def stop(self) -> None:
        """Tell no more: what is not sent yet is never asked for."""
        self._stopped = True
        self._rest.clear()

    def _go_on(self) -> None:
        while self._rest and self._connection.alive:
            calls, done = self._rest[0]
            portion, ended = self._collect(calls)
            if ended:
                self._rest.popleft()
            else:
                self._rest.rotate(-1)
            if portion:
                self._send(portion, done if ended else None)
                return
            done()
        self._busy = False

    def _collect(self, calls: Iterator[Call]) -> tuple[list[Call], bool]:
        """Return the next portion, and whether it is the last one of these."""
        self._began = self._loop.time()
        portion: list[Call] = []
        size = 0
        for call in calls:
            portion.append(call)
            size += len(call[0])
            if len(portion) >= self._size or size >= _MOST_BYTES:
                return portion, False
        return portion, True

    def _send(self, portion: list[Call], done: Callable[[], None] | None) -> None:
        self._busy = True

        def answered(reply: Reply) -> None:
            take(reply)
            if self._stopped or not self._connection.alive:
                return
            took = self._loop.time() - self._began
            if took > _SECONDS:
                self._size = max(1, self._size // 2)
            elif took < _SECONDS / 2:
                self._size = min(_MOST, self._size * 2)
            if done is not None:
                done()
            self._go_on()

        for command, heard in portion[:-1]:
            self._connection.send(command, heard, patient=True)
        command, take = portion[-1]
        self._connection.send(command, answered, patient=True)
