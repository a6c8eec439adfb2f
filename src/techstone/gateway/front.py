"""The front: the server side of one HTTP/1.1 connection, from raw bytes to an `Exchange` and back.

llhttp parses, the guard (`gateway/guard`) refuses and bounds, the `Directory` says who answers. One request at a time:
what a client sends ahead (pipelining) waits, bounded. No timers of its own: `Connections` sweeps all fronts, so that a
request costs no timer; everything that depends on time is in `sweep`, which tests call with a moved clock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from techstone.core.errors import ApiError, Draining, InsecureTransport, RequestTimeout
from techstone.gateway.exchange import KEEP_ALIVE_COMMENT, Exchange
from techstone.gateway.guard import BrokenRequest, ChunkedBody, Framing, check_beginning
from techstone.gateway.head import NO_HEAD, Head
from techstone.gateway.health import PROBES
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from techstone.gateway.connections import Connections
    from techstone.gateway.directory import Endpoint

_FOREVER = float("inf")
_HEAD_END = b"\r\n\r\n"
# A refused request's body is read and dropped up to here, so that the connection can be kept (SDKs pool theirs);
# beyond, it is cheaper to close.
_DRAIN = 1024 * 1024
# After a refusal that closes, input is read and dropped for this long: closing with unread input makes the kernel send
# a reset, which can destroy the answer before the client has read it (RFC 9112 section 9.6).
_LINGER_SECONDS = 2.0
_WRITE_BUFFER = 64 * 1024
# While all leave, a connection whose last answer could not say so any more gets so long for one more request.
LAST_CALL_SECONDS = 1.0


class Front(asyncio.Protocol):
    """One client connection. `plain` says that TLS is on but this connection came without it."""

    __slots__ = (
        "_began",
        "_buffer",
        "_chunked",
        "_deadline",
        "_discard",
        "_endpoint",
        "_house",
        "_length",
        "_lingering",
        "_owed",
        "_pieces",
        "_received",
        "_refusal",
        "_running",
        "_stalled_since",
        "_state",
        "_transport",
        "exchange",
        "loop",
        "peer",
        "plain",
        "secure",
    )

    def __init__(self, house: Connections, *, plain: bool = False) -> None:
        self._house = house
        self.loop = house.loop
        self.plain = plain
        self.secure = house.tls and not plain
        self.peer = ""
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._state = _HEAD
        self._pieces: list[bytes] = []
        self._received = 0
        self._length = 0
        self._chunked: ChunkedBody | None = None
        self._refusal: ApiError | None = None
        self._discard = False
        self._endpoint: Endpoint = house.directory.forward
        self._running: Trampoline | None = None
        self._stalled_since = _FOREVER
        self._lingering = False
        self._owed = False
        self._began = 0.0
        self._deadline = _FOREVER
        self.exchange: Exchange | None = None

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        self._deadline = self.loop.time() + self._house.bounds.idle_seconds
        if not self._house.admit(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is _HEAD or state is _BODY:
            self._read(self._buffer + data if self._buffer else data)
        elif state is _BUSY:
            self._buffer += data
            if len(self._buffer) > self._house.bounds.pipelined and self._transport is not None:
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature is asyncio's
        self._transport = None
        self._state = _CLOSED
        self._house.forget(self)
        exchange, self.exchange = self.exchange, None
        if self._running is not None:
            self._running.cancel()
            self._running = None
        if exchange is not None:
            self._house.finished(exchange)

    def pause_writing(self) -> None:
        self._stalled_since = self.loop.time()
        if self.exchange is not None and self.exchange.flow is not None:
            self.exchange.flow.pause()

    def resume_writing(self) -> None:
        self._stalled_since = _FOREVER
        if self.exchange is not None and self.exchange.flow is not None:
            self.exchange.flow.resume()

    # Reading

    def _read(self, data: bytes) -> None:
        """Take bytes while a head or body is awaited; what is left over waits in the buffer."""
        self._buffer = b""
        try:
            while data and self._state is not _CLOSED:
                if self._state is _HEAD:
                    data = self._read_head(data)
                elif self._state is _BODY:
                    data = self._read_body(data)
                else:
                    self._buffer = data
                    return
        except BrokenRequest as broken:
            self._refuse_now(broken.error)

    def _read_head(self, data: bytes) -> bytes:
        bounds = self._house.bounds
        if data[:2] == b"\r\n":
            data = data[2:]  # RFC 9112 2.2: an empty line before the request line is ignored
        end = data.find(_HEAD_END)
        if end < 0:
            check_beginning(data, bounds)
            if not self._buffer and self._began == 0.0:
                self._began = self.loop.time()
                self._deadline = self._began + bounds.head_seconds
            self._buffer = data
            return b""
        end += 4
        head, length = self._house.heads.read(data if end == len(data) else data[:end])
        self._open_exchange(head, length, data[end:])
        if self._state is _BODY:
            return data[end:]
        return data[end + length :]

    def _open_exchange(self, head: Head, length: int, rest: bytes) -> None:
        """Judge who asks for what, and either wait for the body or, if it is here, go on."""
        house = self._house
        exchange = self.exchange = Exchange(self, head, house.next_id(), self.loop.time())
        if house.leaving:
            exchange.keep_alive = False
        if house.has_proxies:
            exchange.client, exchange.secure = house.origin_of(self, head.headers)
        refusal: ApiError | None = None
        if self.plain or (house.https_only and not exchange.secure and exchange.path not in PROBES):
            house.note_plain(exchange)
            refusal = InsecureTransport()
        elif house.draining and not self._owed:
            refusal = Draining()
        else:
            self._endpoint, refusal = house.directory.find(exchange)
            if refusal is None and exchange.principal is not None:
                house.heads.keep(head)
        framing = head.framing
        if framing.chunked or framing.expects or len(rest) < length or refusal is not None:
            if framing.chunked or length:
                self._begin_body(framing, length, refusal)
                return
            self._refusal = refusal
        exchange.body = rest if len(rest) == length else rest[:length]
        self._dispatch(exchange)

    def _begin_body(self, framing: Framing, length: int, refusal: ApiError | None) -> None:
        exchange = cast("Exchange", self.exchange)
        if refusal is not None and (framing.expects or framing.chunked or length > _DRAIN or refusal.closes):
            # The body is not worth reading: answer now and close.
            refusal.closes = True
            raise BrokenRequest(refusal)
        self._refusal = refusal
        self._discard = refusal is not None
        self._pieces = []
        self._received = 0
        self._length = length
        self._chunked = ChunkedBody(self._house.bounds) if framing.chunked else None
        self._state = _BODY
        self._began = exchange.started
        self._deadline = self._began + self._house.bounds.body_seconds
        if framing.expects:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _read_body(self, data: bytes) -> bytes:
        bounds = self._house.bounds
        if self._chunked is not None:
            self._pieces += self._chunked.feed(data)
            self._received += len(data)
            done = self._chunked.done
            rest = self._chunked.rest
        else:
            missing = self._length - self._received
            piece = data if len(data) <= missing else data[:missing]
            rest = data[len(piece) :]
            self._received += len(piece)
            if not self._discard:
                self._pieces.append(piece)
            done = self._received == self._length
        if not done:
            self._deadline = self._began + bounds.body_seconds + self._received / bounds.body_rate
            return rest
        self._chunked = None
        pieces = self._pieces
        exchange = cast("Exchange", self.exchange)
        exchange.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self._dispatch(exchange)
        return rest

    # Answering

    def _dispatch(self, exchange: Exchange) -> None:
        """Hand the whole request on."""
        self._state = _BUSY
        self._deadline = _FOREVER
        self._began = 0.0
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            self._discard = False
            exchange.send_error(refusal)
            return
        running = self._running = Trampoline(self._endpoint(exchange), exchange.end)
        running.advance()

    def report(self, exchange: Exchange, error: Exception) -> None:
        """Hear of a defect of ours."""
        self._house.report(exchange, error)

    def refused(self, exchange: Exchange, error: ApiError) -> None:
        """Hear of an error that the client is told."""
        self._house.refused(exchange, error)

    def _refuse_now(self, error: ApiError) -> None:
        """Answer a request that died in the guard, and close."""
        self._state = _BUSY
        self._buffer = b""
        exchange = self.exchange
        if exchange is None or exchange.sent:
            exchange = self.exchange = Exchange(self, NO_HEAD, self._house.next_id(), self.loop.time())
        exchange.keep_alive = False
        exchange.send_error(error)

    @property
    def stamp(self) -> bytes:
        """Return the `date` and `server` lines."""
        return self._house.stamp

    def describe_limits(self, exchange: Exchange) -> bytes:
        """Return the rate-limit header lines of an answer that no decision was made for."""
        return self._house.describe_limits(exchange)

    def write(self, data: bytes) -> None:
        """Send bytes; after a hang-up they are dropped."""
        if self._transport is not None:
            self._house.outbox.write(self._transport, data)

    def answered(self, exchange: Exchange) -> None:
        """Go on to the next request of the connection, or close it."""
        self._house.finished(exchange)
        self._running = None
        self.exchange = None
        if self._transport is None:
            return
        if not exchange.keep_alive:
            self._close()
            return
        self._state = _HEAD
        # All leave, and the head of this answer had gone before: the client thinks that the connection is good.
        self._owed = self._house.leaving
        self._deadline = self.loop.time() + (LAST_CALL_SECONDS if self._owed else self._house.bounds.idle_seconds)
        if self._buffer:
            # Pipelined: from the loop, not from here, or a long pipeline would recurse.
            self.loop.call_soon(self._read_ahead)

    def _read_ahead(self) -> None:
        if self._state is _HEAD and self._transport is not None:
            self._transport.resume_reading()
            self._read(self._buffer)

    def _close(self) -> None:
        """Close after what was written has left; linger, so that a reset does not destroy it."""
        transport = self._transport
        if transport is None:
            return
        self._state = _CLOSED
        self._house.outbox.flush()
        if transport.can_write_eof() and not self._lingering:
            self._lingering = True
            transport.write_eof()
            transport.resume_reading()
            self._deadline = self.loop.time() + _LINGER_SECONDS
        else:
            transport.close()

    # Time

    def sweep(self, now: float) -> None:
        """Do what is due: close what is late, cut who does not read, comment into silent streams."""
        if self._transport is None:
            return
        bounds = self._house.bounds
        if now - self._stalled_since > bounds.stall_seconds:
            self._transport.abort()
            return
        if now >= self._deadline:
            self._expire(bounds.head_seconds, bounds.body_seconds)
            return
        exchange = self.exchange
        if (
            exchange is not None
            and exchange.sse
            and now - exchange.last_write >= self._house.comment_seconds
            and self._stalled_since == _FOREVER
        ):
            exchange.send_events(KEEP_ALIVE_COMMENT)

    def _expire(self, head_seconds: float, body_seconds: float) -> None:
        transport = cast("asyncio.Transport", self._transport)
        if self._state is _BODY:
            self._refuse_now(RequestTimeout("body", body_seconds))
        elif self._state is _HEAD and self._buffer:
            self.exchange = None
            self._refuse_now(RequestTimeout("head", head_seconds))
        else:
            self._house.outbox.flush()
            transport.abort() if self._lingering else transport.close()

    def leave(self) -> None:
        """Close after the answer that is under way, unless its head has gone without saying so: then after the next."""
        if self.exchange is not None and self.exchange.status == 0:
            self.exchange.keep_alive = False

    def drain(self) -> None:
        """Close now if idle, and nothing is owed; else after the answer that is under way, as `leave` has it."""
        self.leave()
        if self.exchange is None and self._state is _HEAD and not (self._buffer or self._owed):
            self._state = _CLOSED
            if self._transport is not None:
                self._transport.close()

    @property
    def engaged(self) -> bool:
        """Whether an answer is under way, or one more request is waited for while all leave."""
        return self.exchange is not None or (self._owed and self._state is not _CLOSED)

    def stop(self) -> None:
        """End what is still running: an error event for a stream, then the end."""
        if self.exchange is None:
            if self._transport is not None:
                self._transport.close()
            return
        exchange, running = self.exchange, self._running
        exchange.keep_alive = False
        if running is not None:
            running.cancel()  # settles what was delivered, before the end is told
        exchange.send_error(Draining())


_HEAD, _BODY, _BUSY, _CLOSED = "head", "body", "busy", "closed"
