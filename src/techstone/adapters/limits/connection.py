"""A connection to Redis: commands of one turn of the event loop leave in one write, replies come back in their order.

redis-py's asyncio pipeline costs 330 µs of CPU a call, 63 in batches of 32; this costs 42 and 8 on the same machine
(docs/decisions/0017). It knows nothing of limits. Silence of 50 ms while a call waits ends the connection, and all that
waited hear None; who must not lose what it sent sends it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from collections import deque
from typing import TYPE_CHECKING, cast

import hiredis
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    Reply = int | bytes | list["Reply"] | hiredis.ReplyError | None
    Take = Callable[[Reply], None]

# Row F-1: so long nothing at all is heard. The loop itself may have been busy meanwhile: what has come is read before
# Redis is called silent. One that answers, but has this many times as much to do, is no use, either.
PATIENCE = 0.05
_BUSY = 4
_CONNECT_SECONDS = 1.0


class Unreachable(Exception):
    """Redis cannot be reached or refuses us; one line for the operator."""


class Address(msgspec.Struct, frozen=True):
    """Where Redis is; `path` is of a Unix socket, and then there is no host.

    `authority` is a file with who vouches for its certificate, None: whom the system trusts.
    """

    host: str
    port: int
    path: str | None = None
    tls: bool = False
    database: int = 0
    user: str | None = None
    password: str | None = None
    authority: str | None = None

    def __str__(self) -> str:
        """Return it for people, without secrets."""
        return self.path or f"{self.host}:{self.port}"


def pack(*words: bytes) -> bytes:
    """Return a command as Redis reads it (RESP2: an array of bulk strings)."""
    return b"*%d\r\n%b" % (len(words), bulk(*words))


def bulk(*words: bytes) -> bytes:
    """Return words as bulk strings, a part of a command."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


class Connection(asyncio.Protocol):
    """One connection. `lost` is called once with the reason, and then all who wait are told None."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Callable[[str], None]) -> None:
        self._loop = loop
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[Take, float, float]] = deque()  # when it was sent, and how long it may take
        self._out: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._patience = _CONNECT_SECONDS
        self._heard = 0.0
        self.alive = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Implement asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self.alive = True

    def send(self, command: bytes, take: Take, *, patient: bool = False) -> None:
        """Send a command at the end of this turn of the loop; `take` gets the reply, or None where none will come.

        Nobody waits for one that is `patient`: only silence ends the connection while it has no reply.
        """
        if not self.alive:
            self._loop.call_soon(take, None)
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(command)
        self._waiting.append((take, self._loop.time(), math.inf if patient else self._patience * _BUSY))
        if self._timer is None:
            self._timer = self._loop.call_later(self._patience, self._watch)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self.alive and self._transport is not None:
            self._transport.write(b"".join(out))

    def data_received(self, data: bytes) -> None:
        """Implement asyncio.Protocol."""
        reader, waiting = self._reader, self._waiting
        self._heard = self._loop.time()
        try:
            reader.feed(data)
            while self.alive and (reply := reader.gets()) is not False:
                take, _, _ = waiting.popleft()
                take(reply)
        except Exception as error:  # noqa: BLE001 - whatever it was, who waits behind it must not wait for ever
            self.close(f"it answered what cannot be read: {error!r}")

    def _watch(self) -> None:
        """Look whether the oldest call is late, once what has come was read."""
        self._timer = self._loop.call_later(0, self._judge)

    def _judge(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        _, sent, most = self._waiting[0]
        late = self._loop.time() - min(max(sent, self._heard) + self._patience, sent + most)
        if late >= 0:
            self.close("it does not answer")
        else:
            self._timer = self._loop.call_later(-late, self._watch)

    def connection_lost(self, exc: Exception | None) -> None:
        """Implement asyncio.Protocol."""
        self.close(f"the connection ended{f': {exc}' if exc else ''}")

    def close(self, reason: str = "closed") -> None:
        """End it; all who wait are told None."""
        if not self.alive:
            return
        self.alive = False
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        # First, so that who goes on without Redis does so by books that are ready for it.
        self._lost(reason)
        for take, _, _ in waiting:
            take(None)

    async def ask(self, *words: bytes) -> Reply:
        """Send one command and return its reply; raise Unreachable where there is none, or an error."""
        done: asyncio.Future[Reply] = self._loop.create_future()
        self.send(pack(*words), lambda reply: None if done.done() else done.set_result(reply))
        reply = await done
        if reply is None and not self.alive:
            raise Unreachable("it does not answer")
        if isinstance(reply, hiredis.ReplyError):
            raise Unreachable(str(reply))
        return reply

    def hurry(self, patience: float = PATIENCE) -> None:
        """Bound every further call, in seconds."""
        self._patience = patience
        if self._timer is not None and not self._waiting:
            self._timer.cancel()  # it looks after the patience that was
            self._timer = None


async def connect(loop: asyncio.AbstractEventLoop, address: Address, lost: Callable[[str], None]) -> Connection:
    """Return a connection that is logged in; raise Unreachable."""
    connection: Connection | None = None
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            connection = await _open(loop, address, lost)
            if address.password is not None:
                words = (address.user, address.password) if address.user else (address.password,)
                await connection.ask(b"AUTH", *(word.encode() for word in words))
            if address.database:
                await connection.ask(b"SELECT", b"%d" % address.database)
    except (OSError, TimeoutError, Unreachable) as error:
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()
        raise Unreachable(_explain(error)) from error
    return connection


def _explain(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return getattr(error, "strerror", None) or str(error)


async def _open(loop: asyncio.AbstractEventLoop, address: Address, lost: Callable[[str], None]) -> Connection:
    def make() -> Connection:
        return Connection(loop, lost)

    if address.path is not None:
        _, connection = await loop.create_unix_connection(make, address.path)
        return connection
    tls = ssl.create_default_context(cafile=address.authority) if address.tls else None
    _, connection = await loop.create_connection(make, address.host, address.port, ssl=tls)
    return connection
