"""The answer of one call to an upstream, while it comes and after; the adapter of the port `Answer`.

It is an object of its own, not the connection: whoever still holds an old answer cannot reach the next call on the same
connection (the bug class by which tenants see each other's answers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.gateway.ports import AnswerSink, Call, UpstreamProblem
from techstone.gateway.trampoline import Signal

if TYPE_CHECKING:
    import asyncio

    from techstone.adapters.upstreams.connection import Connection
    from techstone.gateway.ports import Origin

_FIELD_LIMIT = 200
_NO_BODY = frozenset((204, 304))


class HttpAnswer:
    """One answer. `waiter` is given when its head is in, or its problem is known."""

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

    @property
    def origin(self) -> Origin:
        """Who answers."""
        return self.call.origin

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
            # Raised, the problem holds this frame and so this answer, which holds the problem: until the next garbage
            # collection all would stay.
            self.buffer.clear()
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
