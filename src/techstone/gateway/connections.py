"""All client connections of one gateway process: the cap, the sweep of their deadlines, the drain.

Holds what every front needs and nothing of one request: bounds, the directory of endpoints, ids, the date line, who is
trusted to speak for a client.
"""

from __future__ import annotations

import ipaddress
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

import msgspec

from techstone.gateway.guard import Bounds
from techstone.gateway.head import Heads
from techstone.gateway.outbox import Outbox

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from techstone.core.errors import ApiError
    from techstone.gateway.directory import Directory
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.front import Front

_TICK = 0.25
# A sweep looks at every connection; with 10,000 of them that is 1 ms of each 250.
_COMMENT_SECONDS = 15.0
_SERVER = b"server: techstone\r\n"


class Journalist(Protocol):
    """Who hears of every answer (metrics, access log) and of defects. Must not block and not raise."""

    def answered(self, exchange: Exchange) -> None:
        """Take one answer, whole or cut; `exchange.record` is what a chat request came to."""

    def failed(self, exchange: Exchange, error: Exception) -> None:
        """Take a defect of ours: an exception that nobody expected."""

    def insecure(self, exchange: Exchange) -> None:
        """Take a request over plain HTTP where TLS is on: its key has travelled in clear (row S-5)."""


class Trust(msgspec.Struct, frozen=True):
    """Transport rules: whose X-Forwarded-* are believed, and whether plain HTTP is refused."""

    proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    https_only: bool = False
    tls: bool = False


class Connections:
    """The fronts of one process and what they share. `seed` (8 random bytes) makes request ids unique."""

    def __init__(  # noqa: PLR0913 - the house's one wiring of a front; two are for tests
        self,
        loop: asyncio.AbstractEventLoop,
        directory: Directory,
        journalist: Journalist,
        *,
        describe_limits: Callable[[Exchange], bytes],
        seed: bytes,
        bounds: Bounds | None = None,
        trust: Trust | None = None,
        note_refusal: Callable[[Exchange, ApiError], None] | None = None,
    ) -> None:
        self.loop = loop
        self.directory = directory
        self.bounds = bounds or Bounds()
        self.leaving = False
        self.draining = False
        self.comment_seconds = _COMMENT_SECONDS
        self.fronts: set[Front] = set()
        self.outbox = Outbox(loop)
        self.stamp = b""
        self.describe_limits = describe_limits
        self._journalist = journalist
        self.finished = journalist.answered
        """Hears that an answer is whole, or cut, or that its client hung up; a chat request is settled by then."""
        self._note_refusal = note_refusal
        self._trust = trust or Trust()
        self.https_only = self._trust.https_only
        self.tls = self._trust.tls
        self.has_proxies = bool(self._trust.proxies)
        self.heads = Heads(self.bounds)
        self._prefix = b"req_" + seed.hex().encode()
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to sweep."""
        self._tick()

    def _tick(self) -> None:
        self.stamp = b"date: %b\r\n" % formatdate(usegmt=True).encode() + _SERVER
        now = self.loop.time()
        for front in list(self.fronts):
            front.sweep(now)
        self._timer = self.loop.call_later(_TICK, self._tick)

    def next_id(self) -> bytes:
        """Return a request id that no other request has, here or in another process."""
        self._count += 1
        return b"%b%08x" % (self._prefix, self._count)

    def admit(self, front: Front) -> bool:
        """Take a connection in, unless there are too many."""
        if len(self.fronts) >= self.bounds.connections:
            return False
        self.fronts.add(front)
        return True

    def forget(self, front: Front) -> None:
        """Hear that a connection is closed."""
        self.fronts.discard(front)

    def report(self, exchange: Exchange, error: Exception) -> None:
        """Hear of a defect."""
        self._journalist.failed(exchange, error)

    def refused(self, exchange: Exchange, error: ApiError) -> None:
        """Hear of an error that a client is told."""
        if self._note_refusal is not None:
            self._note_refusal(exchange, error)

    def note_plain(self, exchange: Exchange) -> None:
        """Hear of a request in clear where TLS is on."""
        self._journalist.insecure(exchange)

    def origin_of(self, front: Front, headers: dict[bytes, bytes]) -> tuple[str, bool]:
        """Return the client's address and whether it came by TLS; only a trusted proxy may say otherwise than TCP."""
        tls = front.secure
        if not self._is_proxy(front.peer):
            return front.peer, tls
        client = front.peer
        for hop in reversed(headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")):
            address = hop.strip()
            if not _is_address(address):
                break
            client = address
            if not self._is_proxy(address):
                break
        return client, tls or headers.get(b"x-forwarded-proto", b"").lower() == b"https"

    def _is_proxy(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._trust.proxies)

    def leave(self) -> None:
        """Say with every answer from now on that its connection closes; requests are taken still.

        A connection that is closed while its client's next request is on the way fails a request that nobody refused
        (RFC 9112 section 9.5): who is asked often says goodbye in an answer.
        """
        self.leaving = True
        for front in list(self.fronts):
            front.leave()

    def drain(self) -> None:
        """Take no new requests: idle connections close, the others after their answer, or one more."""
        self.leaving = self.draining = True
        for front in list(self.fronts):
            front.drain()

    def stop(self) -> None:
        """End every answer that still runs."""
        for front in list(self.fronts):
            front.stop()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def working(self) -> int:
        """How many answers are under way."""
        return sum(front.exchange is not None for front in self.fronts)

    @property
    def engaged(self) -> int:
        """How many connections a stop has to wait for."""
        return sum(front.engaged for front in self.fronts)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
