"""One HTTP/1.1 connection to an upstream, on llhttp, and the answer that is on it.

A `Connection` carries one call at a time; each call has an `HttpAnswer` of its own, so that whoever still holds an old
answer cannot reach the next call on the same connection (the bug class by which tenants see each other's answers).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from techstone.gateway.ports import AnswerSink, Call, UpstreamProblem
from techstone.gateway.trampoline import Signal

if TYPE_CHECKING:
    import collections
    from collections.abc import Callable

    from techstone.gateway.outbox import Outbox

# llama.cpp and OpenAI send under 2 KB of headers; 64 KB is what curl and Envoy call enough.
_HEAD_LIMIT = 64 * 1024
_FIELD_LIMIT = 200
# While nobody reads the body, more than this pauses the socket.
_BUFFER_LIMIT = 256 * 1024
_NO_BODY = frozenset((204, 304))
_FOREVER = float("inf")


class Pool(Protocol):
    """What a connection tells its pool."""

    outbox: Outbox

    def keep(self, connection: Connection) -> None:
        """Take a clean connection back."""

    def forget(self, connection: Connection) -> None:
        """Hear that the connection is closed."""


class HttpAnswer:
    """The answer of one call, while it comes and after; the adapter of the port `Answer`."""

    __slots__ = (
        "between",
        "buffer",
        "buffered",
        "call",
        "complete",
        "connection",
        "deadline",
        "fed",
        "framed",
        "head",
        "head_done",
        "interims",
        "latest",
        "limit",
        "problem",
        "reader",
        "received",
        "sink",
        "started",
        "status",
        "waiter",
    )

    def __init__(self, call: Call, connection: Connection, now: float) -> None:
        self.call = call
        self.connection: Connection | None = connection
        self.status = 0
        self.head = b""  # raw, with what came in the same read
        self.interims = 0
        self.sink: AnswerSink | None = None
        self.buffer: list[bytes] = []
        self.buffered = 0
        self.limit = 0
        self.fed = 0
        self.received = 0
        self.head_done = False
        self.complete = False
        self.framed = False  # its end is known by a length or by chunks, not by the end of the connection
        self.problem: UpstreamProblem | None = None
        self.waiter = Signal()
        self.reader: asyncio.Future[None] | None = None
        timeouts = call.timeouts
        self.started = now
        self.between = timeouts.between_bytes
        self.latest = now + timeouts.total
        self.deadline = now + min(timeouts.first_byte, timeouts.total)

    def header(self, name: bytes) -> bytes | None:
        """Return the last header of that lower-case name."""
        if name not in self.head.lower():
            return None
        found = None
        for field, value in self.fields:
            if field == name:
                found = value
        return found

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Headers in order, names in lower case; parsed only when somebody asks (llhttp has checked their form)."""
        found = []
        # Interim answers (1xx) have no body, so each is one block before the real head.
        for line in self.head.split(b"\r\n\r\n")[self.interims].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            found.append((name.lower(), value.strip(b" \t")))
        return found

    @property
    def whole(self) -> bool:
        """Whether the body is all there, or never will be: `read` will not wait."""
        return self.connection is None

    async def read(self, limit: int) -> bytes:
        """Return the whole body; raise UpstreamProblem if it breaks off, stalls or is larger than the limit."""
        self.limit = limit
        connection = self.connection
        if connection is not None:
            connection.resume()
            self.reader = connection.loop.create_future()
            await self.reader
        return self.take_whole(limit)

    def take_whole(self, limit: int) -> bytes:
        """Return the body that is all there; raise UpstreamProblem if it broke off or is larger than the limit."""
        if self.problem is None and self.received > limit:
            self.problem = UpstreamProblem("too_large", f"an answer of more than {limit} bytes")
        if self.problem is not None:
            raise self.problem
        return self.take()

    def take(self) -> bytes:
        """Return and forget what is buffered."""
        buffer = self.buffer
        data = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        buffer.clear()
        self.buffered = 0
        return data

    def pipe(self, sink: AnswerSink) -> None:
        """Hand the body to the sink from now on, as it comes."""
        self.sink = sink
        if self.buffer:
            sink.body_received(self.take())
        if self.connection is None:
            self._end_sink()
        else:
            self.connection.resume()

    def pause(self) -> None:
        """Stop reading (back-pressure); the between-bytes clock stands still meanwhile."""
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        """Read on."""
        if self.connection is not None:
            self.connection.resume()

    def close(self) -> None:
        """Give the answer up: its connection is closed at once, unless the answer was whole and it is pooled again."""
        self.sink = None
        if self.connection is not None:
            self.connection.fail(UpstreamProblem("reset", "given up by us"))

    def finish(self, problem: UpstreamProblem | None) -> None:
        """Hear from the connection that nothing more will come."""
        self.connection = None
        self.problem = problem
        if self.reader is not None and not self.reader.done():
            self.reader.set_result(None)
        if self.sink is not None:
            self._end_sink()
        if not self.waiter.come:
            self.waiter.give()

    def _end_sink(self) -> None:
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.body_ended(self.problem)

    def extend(self, now: float) -> None:
        """Move the deadline: bytes came."""
        self.deadline = min(now + self.between, self.latest)

    def late(self, now: float) -> UpstreamProblem | None:
        """Return what is too late, if anything."""
        if now < self.deadline:
            return None
        timeouts = self.call.timeouts
        if now >= self.started + timeouts.total:
            return UpstreamProblem("timeout", f"not done in {timeouts.total:g} s")
        if not self.head_done:
            return UpstreamProblem("timeout", f"no answer in {timeouts.first_byte:g} s")
        return UpstreamProblem("timeout", f"silent for {timeouts.between_bytes:g} s")

    def frame(self) -> None:
        """Decide from the head how the body comes; raise UpstreamProblem where that is not sure."""
        head = self.head.lower()
        plain = b"\r\ntransfer-encoding" not in head and b"\r\ncontent-encoding" not in head
        if plain and head.count(b"\r\ncontent-length:") == 1 and not self.interims:
            self.framed = True
        else:
            self._frame_carefully()
        self.head_done = True
        if self.call.head_only:
            self.complete = True

    def _frame_carefully(self) -> None:
        length = coding = None
        fields = self.fields
        if len(fields) > _FIELD_LIMIT:
            raise UpstreamProblem("protocol", "too many header fields")
        for name, value in fields:
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                coding = value
            elif name == b"content-encoding" and value.lower() != b"identity":
                # Its size is not bounded by what arrives (a 200 KB answer can be 200 MB), and we asked for identity.
                raise UpstreamProblem("protocol", "a compressed answer, though identity was asked for")
        if coding is not None and (length is not None or coding.lower() != b"chunked"):
            raise UpstreamProblem("protocol", "ambiguous framing")
        self.framed = coding is not None or length is not None or self.status in _NO_BODY


class Connection(asyncio.Protocol):
    """One connection to an origin; at most one call is on it at a time. `idle` is where the pool keeps its like."""

    __slots__ = (
        "_parser",
        "_paused",
        "_pool",
        "_reusable",
        "_transport",
        "answer",
        "idle",
        "idle_since",
        "loop",
        "on_made",
    )

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop, idle: collections.deque[Connection]) -> None:
        self._pool = pool
        self.loop = loop
        self.idle = idle
        self.answer: HttpAnswer | None = None
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._reusable = False
        self._parser = httptools.HttpResponseParser(self)
        self.on_made: Callable[[], None] | None = None

    @property
    def alive(self) -> bool:
        """Whether a request can be written."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, call: Call) -> HttpAnswer:
        """Write the request; the answer's `waiter` is done when its head is in, or its problem is known."""
        answer = self.answer = HttpAnswer(call, self, self.loop.time())
        transport = self._transport
        if transport is None:  # lost in this very turn of the loop
            answer.finish(UpstreamProblem("reset", "closed before the request was sent"))
            return answer
        self._pool.outbox.write(
            transport, b"%b\r\ncontent-length: %d\r\n\r\n%b" % (call.head, len(call.body), call.body)
        )
        return answer

    def pause(self) -> None:
        """Stop reading; only the total time-out runs on."""
        if not self._paused and self.alive and self.answer is not None:
            self._paused = True
            cast("asyncio.Transport", self._transport).pause_reading()
            self.answer.deadline = self.answer.started + self.answer.call.timeouts.total

    def resume(self) -> None:
        """Read on."""
        if self._paused and self.alive:
            self._paused = False
            cast("asyncio.Transport", self._transport).resume_reading()
            if self.answer is not None:
                self.answer.extend(self.loop.time())

    def drop(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def fail(self, problem: UpstreamProblem) -> None:
        """End the call with a problem, and the connection with it."""
        answer, self.answer = self.answer, None
        self.drop()
        if answer is not None:
            answer.finish(problem)

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        answer = self.answer
        if answer is None:
            self.drop()  # bytes that nobody asked for: never read them as the next answer
            return
        if not answer.head_done:
            answer.head += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            known = isinstance(cause, UpstreamProblem)
            self.fail(cast("UpstreamProblem", cause) if known else UpstreamProblem("protocol", f"not HTTP: {error}"))
            return
        except httptools.HttpParserUpgrade:
            self.fail(UpstreamProblem("protocol", "an upgrade that nobody asked for"))
            return
        if answer.sink is not None and not answer.complete:
            self._stream(answer, answer.sink)
        elif answer.head_done:
            self._deliver(answer)
        else:
            answer.fed += len(data)
            if answer.fed > _HEAD_LIMIT:
                self.fail(UpstreamProblem("protocol", "an endless head"))

    def _stream(self, answer: HttpAnswer, sink: AnswerSink) -> None:
        """Hand on what one read brought of a body that is piped and goes on."""
        buffer = answer.buffer
        if buffer:
            piece = buffer[0] if len(buffer) == 1 else b"".join(buffer)
            buffer.clear()
            sink.body_received(piece)
        if not self._paused:
            answer.deadline = min(self.loop.time() + answer.between, answer.latest)

    def _deliver(self, answer: HttpAnswer) -> None:
        """Hand on what one read brought: the body to the sink, the head to the waiter, the end to both."""
        sink = answer.sink
        if sink is not None:
            if answer.buffer:
                sink.body_received(answer.take())
        elif not answer.complete and answer.buffered > max(_BUFFER_LIMIT, answer.limit):
            if answer.limit:
                self.fail(UpstreamProblem("too_large", f"an answer of more than {answer.limit} bytes"))
                return
            self.pause()
        if answer.complete:
            self._finish(answer)
            return
        if not self._paused:
            answer.extend(self.loop.time())
        if not answer.waiter.come:
            answer.waiter.give()

    def _finish(self, answer: HttpAnswer) -> None:
        """Take the whole answer off the connection, which goes back to the pool if it is clean."""
        self.answer = None
        clean = answer.framed and self._reusable and not self._paused and not answer.call.head_only
        if clean and self.alive:
            self._pool.keep(self)
        else:
            self.drop()
        answer.finish(None)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._pool.forget(self)
        answer = self.answer
        if answer is None:
            return
        if answer.head_done and not answer.framed and exc is None:
            # Close-delimited (RFC 9112 6.3 rule 8): whether it is whole, only its content can tell.
            answer.complete = True
            self._finish(answer)
            return
        self.fail(UpstreamProblem("reset", "closed before the answer was whole"))

    # From the parser

    def on_headers_complete(self) -> None:
        answer = self.answer
        if answer is None:
            return
        if answer.complete:
            raise UpstreamProblem("protocol", "more bytes than the answer has")
        status = self._parser.get_status_code()
        if status >= 200:
            answer.status = status
            answer.frame()
            # Asked here, not at the end: llhttp forgets the flags when the message is complete.
            self._reusable = self._parser.should_keep_alive()
        elif status == 101:
            raise UpstreamProblem("protocol", "an upgrade that nobody asked for")

    def on_body(self, body: bytes) -> None:
        answer = self.answer
        if answer is None:
            return
        answer.buffer.append(body)
        if answer.sink is None:
            answer.buffered += len(body)
            answer.received += len(body)

    def on_message_complete(self) -> None:
        answer = self.answer
        if answer is None:
            return
        if answer.head_done:
            answer.complete = True
        else:
            answer.interims += 1  # a 1xx answer; the real one follows
