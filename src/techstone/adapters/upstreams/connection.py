"""One HTTP/1.1 connection to an upstream, on llhttp: carries one call at a time."""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from techstone.adapters.upstreams.answer import HttpAnswer
from techstone.gateway.ports import AnswerSink, Call, UpstreamProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.gateway.outbox import Outbox

# llama.cpp and OpenAI send under 2 KB of headers; 64 KB is what curl and Envoy call enough.
_HEAD_LIMIT = 64 * 1024
# While nobody reads the body, more than this pauses the socket.
_BUFFER_LIMIT = 256 * 1024


class Pool(Protocol):
    """What a connection tells its pool."""

    outbox: Outbox

    def keep(self, connection: Connection) -> None:
        """Take a clean connection back."""

    def forget(self, connection: Connection) -> None:
        """Hear that the connection is closed."""


class Shelf:
    """What the pool keeps of an origin: its idle connections, the oldest first, and how often bytes came from there."""

    __slots__ = ("idle", "reads")

    def __init__(self) -> None:
        self.idle: collections.deque[Connection] = collections.deque()
        self.reads = 0


class Connection(asyncio.Protocol):
    """One connection to an origin; at most one call is on it at a time. `shelf` is where the pool keeps its like."""

    __slots__ = (
        "_parser",
        "_paused",
        "_pool",
        "_reusable",
        "_transport",
        "answer",
        "idle_since",
        "loop",
        "on_made",
        "shelf",
    )

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop, shelf: Shelf) -> None:
        self._pool = pool
        self.loop = loop
        self.shelf = shelf
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
            answer.finish(UpstreamProblem("reset", "closed before the request was sent", sent=False))
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
        self.shelf.reads += 1
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
