"""One request of a client and its answer: what an endpoint holds in its hands.

The only place that prints: status line, headers, JSON, errors, SSE events. Before the first byte an error is a status
with a JSON body, after it an SSE error event and the end without `[DONE]`. Knows nothing of routing or upstreams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from techstone.core.errors import ApiError, ServerError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from techstone.core.usage import UsageRecord
    from techstone.core.view import Principal
    from techstone.gateway.head import Head

Field = tuple[bytes, bytes]

_REASONS = {
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, reason) for status, reason in _REASONS.items()}

KEEP_ALIVE_COMMENT = b": keep-alive\n\n"
_END_OF_CHUNKS = b"0\r\n\r\n"


class Wire(Protocol):
    """The client's connection, as the exchange needs it."""

    loop: asyncio.AbstractEventLoop
    peer: str
    """The address at the other end."""
    secure: bool
    """Whether it came by TLS."""

    def write(self, data: bytes) -> None:
        """Send bytes; after a hang-up they are dropped."""

    def report(self, exchange: Exchange, error: Exception) -> None:
        """Hear of a defect of ours."""

    def refused(self, exchange: Exchange, error: ApiError) -> None:
        """Hear of an error that the client is told."""

    def answered(self, exchange: Exchange) -> None:
        """Hear that the answer is whole, so that the next request may be read."""

    @property
    def stamp(self) -> bytes:
        """Return the `date` and `server` lines."""

    def describe_limits(self, exchange: Exchange) -> bytes:
        """Return the rate-limit header lines of an answer that no decision was made for."""


class Flow(Protocol):
    """Where a piped answer comes from, for back-pressure."""

    def pause(self) -> None:
        """Stop."""

    def resume(self) -> None:
        """Go on."""


class Exchange:
    """A request, whole, and the way to answer it. Header names are in lower case."""

    __slots__ = (
        "body",
        "client",
        "fields",
        "flow",
        "headers",
        "keep_alive",
        "last_write",
        "legacy",
        "limits",
        "method",
        "path",
        "principal",
        "query",
        "record",
        "request_id",
        "secure",
        "sent",
        "sse",
        "started",
        "status",
        "wire",
    )

    def __init__(self, wire: Wire, head: Head, request_id: bytes, started: float) -> None:
        self.wire = wire
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.fields = head.fields
        self.headers = head.headers
        self.body = b""
        self.client = wire.peer
        self.secure = wire.secure
        self.legacy = head.legacy  # HTTP/1.0: no chunked coding; then keep_alive is False too
        self.keep_alive = head.kept
        self.request_id = request_id
        self.principal: Principal | None = None
        self.limits = b""  # rate-limit header lines of the decision on this request; empty: none was made
        self.record: UsageRecord | None = None  # of a chat request, once it is recorded
        self.started = started
        self.last_write = 0.0
        self.status = 0  # 0: nothing was sent yet
        self.sent = False  # the answer is whole
        self.sse = False
        self.flow: Flow | None = None

    def send_json(self, status: int, body: bytes, extra: bytes = b"") -> None:
        """Send a whole JSON answer; `extra` are header lines, each with its line end."""
        self.status = status
        head = b"%bcontent-type: application/json\r\nx-request-id: %b\r\n%b%b%b%bcontent-length: %d\r\n\r\n" % (
            STATUS_LINES[status],
            self.request_id,
            self.wire.stamp,
            self.limits or self.wire.describe_limits(self),
            extra,
            b"" if self.keep_alive else b"connection: close\r\n",
            len(body),
        )
        self.wire.write(head if self.method == b"HEAD" else head + body)
        self._end()

    def send_error(self, error: ApiError) -> None:
        """Tell the client what went wrong, in the form that is still possible."""
        if self.sent:
            return
        self.wire.refused(self, error)
        if self.status == 0:
            if error.closes:
                self.keep_alive = False
            extra = b"".join(b"%b: %b\r\n" % field for field in error.headers())
            self.send_json(error.status, error.body(), extra)
        elif self.sse:
            self.send_events(b"data: " + error.body() + b"\n\n")
            self.finish()
        else:
            self.cut()

    def start(self, status: int, fields: Iterable[Field], length: int | None, *, chunked: bool = True) -> None:
        """Send the head of an answer whose body follows by `send_part`; without a length it is chunked if it may be."""
        self.status = status
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        lines += [b"%b: %b\r\n" % field for field in fields]
        lines += (b"x-request-id: ", self.request_id, b"\r\n", self.wire.stamp)
        lines.append(self.limits or self.wire.describe_limits(self))
        if length is not None:
            lines.append(b"content-length: %d\r\n" % length)
        elif chunked and not self.legacy:
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self.wire.write(b"".join(lines))

    def start_events(self, extra: bytes) -> None:
        """Send the head of an SSE answer. `x-accel-buffering` keeps an nginx in front from holding chunks back."""
        self.status = 200
        self.sse = True
        self.last_write = self.wire.loop.time()
        self.wire.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
            b"x-accel-buffering: no\r\nx-request-id: %b\r\n%b%b%b%b%b\r\n"
            % (
                self.request_id,
                self.wire.stamp,
                self.limits or self.wire.describe_limits(self),
                extra,
                b"" if self.legacy else b"transfer-encoding: chunked\r\n",
                b"" if self.keep_alive else b"connection: close\r\n",
            )
        )

    def send_events(self, events: bytes) -> None:
        """Send whole SSE events."""
        wire = self.wire
        self.last_write = wire.loop.time()
        wire.write(events if self.legacy else b"%x\r\n%b\r\n" % (len(events), events))

    def send_part(self, data: bytes, length: int | None) -> None:
        """Send a piece of a body begun with `start`."""
        if length is not None or self.legacy:
            self.wire.write(data)
        else:
            self.wire.write(b"%x\r\n%b\r\n" % (len(data), data))

    def finish(self, last: bytes = b"", *, chunked: bool = True) -> None:
        """End a body of unknown length, with its last bytes in the same write."""
        if chunked and not self.legacy:
            framed = b"%x\r\n%b\r\n" % (len(last), last) if last else b""
            self.wire.write(framed + _END_OF_CHUNKS)
        elif last:
            self.wire.write(last)
        self._end()

    def cut(self) -> None:
        """Give the answer up in the middle: the connection closes, so that nobody takes it for whole."""
        self.keep_alive = False
        self._end()

    def end(self, error: Exception | None) -> None:
        """Hear that the endpoint is through; the one place where a defect of ours becomes a 500."""
        if error is not None and not isinstance(error, ApiError):
            self.wire.report(self, error)
            error = None
        if not self.sent:
            self.send_error(error or ServerError())

    def _end(self) -> None:
        self.sent = True
        self.flow = None
        self.wire.answered(self)
