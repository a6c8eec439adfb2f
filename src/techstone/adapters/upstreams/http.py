"""The upstream client: the pool of HTTP/1.1 connections, kept alive per origin; the adapter of the port `Upstreams`.

Knows nothing of chat: it carries a prepared head and body there and hands the answer back as it comes. Its rule: a
connection is pooled again only after an answer that was whole and clean; after any error, cancel or surprise it is
closed. Redirects are answers like any other, never followed.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from techstone.adapters.upstreams import proxy
from techstone.adapters.upstreams.connection import Connection, Shelf
from techstone.gateway.outbox import Outbox
from techstone.gateway.ports import Call, Origin, UpstreamProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techstone.adapters.upstreams.answer import HttpAnswer

# A connection unused for so long is closed by us: servers close theirs at 60 s or more (nginx 75, llama.cpp and uvicorn
# earlier, which costs us one more connect, see `open`).
_IDLE_SECONDS = 55.0
_IDLE_PER_ORIGIN = 256
# How often deadlines are looked at; a time-out is late by this at most.
_TICK = 0.2


class HttpUpstreams:
    """The pool of connections, by origin.

    `environment` is where proxies are read from (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY); `tls` verifies upstream
    certificates (default: the system's trust store).
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, environment: Mapping[str, str], tls: ssl.SSLContext | None = None
    ) -> None:
        self.loop = loop
        self._connections: set[Connection] = set()
        self.outbox = Outbox(loop)
        self._shelves: dict[Origin, Shelf] = {}
        self._proxies = proxy.read(environment)
        self._tls = tls
        self._timer: asyncio.TimerHandle | None = loop.call_later(_TICK, self._tick)

    @property
    def connections(self) -> int:
        """How many connections are open, busy and idle."""
        return len(self._connections)

    async def open(self, call: Call) -> HttpAnswer:
        """Send the request and return the answer once its head has come; raise UpstreamProblem.

        A kept-alive connection that dies before one byte of an answer was closed by the server as our request left;
        such a request is sent once more, on a fresh connection (RFC 9112 section 9.3.1).
        """
        shelf = self._shelves.get(call.origin)
        idle = shelf.idle if shelf is not None else None
        while idle:
            connection = idle.pop()
            if not connection.alive:
                continue
            answer = connection.send(call)
            try:
                await answer.waiter
            except asyncio.CancelledError:
                answer.close()
                raise
            if answer.problem is None:
                return answer
            if answer.problem.kind != "reset" or answer.fed or answer.head_done:
                raise answer.problem
            break
        # A task of its own: it asks asyncio for time-outs.
        connecting = self.loop.create_task(self._connect(call))
        try:
            connection = await connecting
        except asyncio.CancelledError:
            if connecting.done() and not connecting.cancelled() and connecting.exception() is None:
                connecting.result().drop()  # made in the turn in which its call was given up
            raise
        answer = connection.send(call)
        try:
            await answer.waiter
        except asyncio.CancelledError:
            answer.close()
            raise
        if answer.problem is not None:
            raise answer.problem
        return answer

    def count_reads(self, origin: Origin) -> int:
        """Return how often bytes came from an origin so far, of whatever answer."""
        shelf = self._shelves.get(origin)
        return shelf.reads if shelf is not None else 0

    def keep(self, connection: Connection) -> None:
        """Put a clean connection back."""
        idle = connection.shelf.idle
        if len(idle) >= _IDLE_PER_ORIGIN:
            connection.drop()
            return
        connection.idle_since = self.loop.time()
        idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """Hear that a connection is closed."""
        self._connections.discard(connection)
        if connection in connection.shelf.idle:
            connection.shelf.idle.remove(connection)

    async def _connect(self, call: Call) -> Connection:
        seconds = min(call.timeouts.connect, call.timeouts.total)
        try:
            async with asyncio.timeout(seconds):
                connection = await self._dial(call.origin)
        except TimeoutError as error:
            raise UpstreamProblem("timeout", f"no connection in {seconds:g} s", sent=False) from error
        except (OSError, proxy.ProxyRefused) as error:  # ssl.SSLError is an OSError
            raise UpstreamProblem("connect", type(error).__name__, sent=False) from error
        self._connections.add(connection)
        return connection

    async def _dial(self, origin: Origin) -> Connection:
        shelf = self._shelves.setdefault(origin, Shelf())

        def fresh() -> Connection:
            return Connection(self, self.loop, shelf)

        if origin.scheme == "unix":
            _, made = await self.loop.create_unix_connection(fresh, origin.host)
            return made
        context = self._trust() if origin.scheme == "https" else None
        via = self._proxies.choose(origin)
        if via is not None:
            sock = await proxy.connect(self.loop, via, origin)
            name = origin.host if context else None
            _, made = await self.loop.create_connection(fresh, sock=sock, ssl=context, server_hostname=name)
            return made
        _, made = await self.loop.create_connection(fresh, origin.host, origin.port, ssl=context)
        return made

    def _trust(self) -> ssl.SSLContext:
        if self._tls is None:
            # Made late: the system's trust store takes 15 ms and 6 MB, which a local engine does not need.
            self._tls = ssl.create_default_context()
        return self._tls

    def _tick(self) -> None:
        now = self.loop.time()
        busy = [(one, one.answer) for one in self._connections if one.answer is not None]
        late = [(one, answer.late(now)) for one, answer in busy if now >= answer.deadline]
        for connection, problem in late:
            if problem is not None:
                connection.fail(problem)
        for shelf in self._shelves.values():
            idle = shelf.idle
            while idle and now - idle[0].idle_since > _IDLE_SECONDS:
                idle.popleft().drop()
        self._timer = self.loop.call_later(_TICK, self._tick)

    def close(self) -> None:
        """Close everything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._connections):
            connection.fail(UpstreamProblem("reset", "closing"))
        for shelf in self._shelves.values():
            while shelf.idle:
                shelf.idle.pop().drop()
