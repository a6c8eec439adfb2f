"""What a request must be to get past the front, decided on its bytes before anything else reads them.

llhttp parses; these rules refuse what it would let through or read differently than a proxy in front of us. Every
framing error closes the connection (RFC 9112 section 6.3: a recipient that cannot tell where a message ends must not
read on). Knows no socket and no clock.
"""

from __future__ import annotations

import re

import msgspec

from techstone.core.errors import (
    ApiError,
    HeadTooLarge,
    InvalidRequest,
    KeyInvalid,
    MethodNotAllowed,
    PayloadTooLarge,
    UnsupportedMediaType,
)


class Bounds(msgspec.Struct, frozen=True):
    """Sizes in bytes, times in seconds. Sources: reliability rows O-5 to O-7; nginx's and h11's defaults are close."""

    head: int = 32 * 1024
    fields: int = 100
    body: int = 20 * 1024 * 1024
    chunk_line: int = 256  # a chunk-size line with its extension, which nobody needs
    trailer: int = 8 * 1024
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    body_rate: int = 64 * 1024  # bytes a second that a body may fall to once its 30 s are over
    idle_seconds: float = 60.0
    stall_seconds: float = 60.0  # a client that reads nothing of its answer
    pipelined: int = 64 * 1024
    connections: int = 10_000


class BrokenRequest(Exception):
    """The bytes are no request; the connection must close after the answer."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.message)
        error.closes = True
        self.error = error


def _malformed(what: str) -> BrokenRequest:
    return BrokenRequest(InvalidRequest(f"Malformed HTTP request: {what}.", code="malformed_http", closes=True))


# What may stand in a head besides the CRs and LFs of its line ends: tab, visible ASCII, obs-text (RFC 9110 5.5).
_TEXT = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
_REQUEST_LINE = re.compile(rb"[A-Z]{1,16} [!-~]+ HTTP/1\.[01]\r\n")
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%-]*(?::[0-9]{0,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{0,5})?")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_SINGULAR = (b"host", b"content-length", b"authorization", b"transfer-encoding", b"content-type", b"expect")
_REFUSED_METHODS = frozenset((b"CONNECT", b"TRACE"))


def check_head(head: bytes, bounds: Bounds) -> None:
    """Refuse a head (request line to the empty line, inclusive) by its bytes alone; raise BrokenRequest."""
    if len(head) > bounds.head:
        raise BrokenRequest(HeadTooLarge(bounds.head, bounds.fields))
    line_ends = head.translate(None, _TEXT)
    lines = len(line_ends) >> 1
    if line_ends != b"\r\n" * lines:
        raise _malformed("a control character, or a line end that is not CR LF")
    if lines - 2 > bounds.fields:
        raise BrokenRequest(HeadTooLarge(bounds.head, bounds.fields))
    if b"\r\n " in head or b"\r\n\t" in head:
        raise _malformed("a folded header line")  # RFC 9112 5.2: reject obs-fold with 400
    if not _REQUEST_LINE.match(head):
        raise _malformed("the request line must be METHOD target HTTP/1.1")


def check_beginning(part: bytes, bounds: Bounds) -> None:
    """Refuse a head that is not whole yet but can no longer become a good one; raise BrokenRequest."""
    if len(part) > bounds.head:
        raise BrokenRequest(HeadTooLarge(bounds.head, bounds.fields))
    first = part[:1]
    if not b"A" <= first <= b"Z" and first not in {b"\r", b""}:
        raise _malformed("this port speaks HTTP/1.1")
    if b"\n" in part and part.count(b"\n") != part.count(b"\r\n"):
        raise _malformed("a line end that is not CR LF")


class Framing(msgspec.Struct, frozen=True, gc=False):
    """How the body comes: `length` bytes, or chunked; and whether the client waits for `100 Continue`."""

    length: int
    chunked: bool
    expects: bool


_NO_BODY = Framing(0, chunked=False, expects=False)


def judge_head(
    method: bytes, version: str, fields: list[tuple[bytes, bytes]], headers: dict[bytes, bytes], bounds: Bounds
) -> Framing:
    """Return how the body comes; raise BrokenRequest where the framing is ambiguous or the request is not for us.

    `fields` are (lower-case name, value) in order, `headers` the same as a dict.
    """
    if len(headers) != len(fields):
        _check_repeated(fields)
    host = headers.get(b"host")
    if host is None:
        if version != "1.0":
            raise _malformed("no Host header")  # RFC 9112 3.2
    elif not _HOST.fullmatch(host):
        raise _malformed("the Host header is not a host")
    if method in _REFUSED_METHODS:
        raise BrokenRequest(MethodNotAllowed(method.decode(), ("GET", "POST")))
    if b"upgrade" in headers:
        raise _malformed("this API does not upgrade connections")
    length = headers.get(b"content-length")
    if length is not None and b"transfer-encoding" not in headers and b"expect" not in headers:
        return Framing(_read_length(length, bounds), chunked=False, expects=False)
    return _judge_rare(version, headers, bounds)


def _judge_rare(version: str, headers: dict[bytes, bytes], bounds: Bounds) -> Framing:
    """Frame what is not a plain Content-Length: no body, chunked, `Expect`."""
    coding = headers.get(b"transfer-encoding")
    length = headers.get(b"content-length")
    expect = headers.get(b"expect")
    if coding is not None:
        if length is not None:
            raise _malformed("both Content-Length and Transfer-Encoding")  # RFC 9112 6.3, the smuggling pair
        if version != "1.1":
            raise _malformed("Transfer-Encoding in HTTP/1.0")
        if coding.lower() != b"chunked":
            raise _malformed("a Transfer-Encoding that is not exactly chunked")
    elif length is None and expect is None:
        return _NO_BODY
    expects = False
    if expect is not None:
        if expect.lower() != b"100-continue":
            raise _malformed("an expectation that is not 100-continue")
        expects = version == "1.1"  # RFC 9110 10.1.1: ignored in HTTP/1.0
    size = _read_length(length, bounds) if length is not None else 0
    return Framing(size, coding is not None, expects)


def _read_length(value: bytes, bounds: Bounds) -> int:
    if not _LENGTH.fullmatch(value):
        raise _malformed("Content-Length is not a number")
    length = int(value)
    if length > bounds.body:
        raise BrokenRequest(PayloadTooLarge(bounds.body))
    return length


def _check_repeated(fields: list[tuple[bytes, bytes]]) -> None:
    names = [name for name, _ in fields]
    for name in _SINGULAR:
        if names.count(name) > 1:
            if name == b"authorization":
                # RFC 9110 5.3: it is no list; one function decides who asks, and two keys are nobody (row A-5).
                raise BrokenRequest(KeyInvalid("two Authorization headers"))
            raise _malformed(f"more than one {name.decode()} header")


_JSON = re.compile(rb"application/(?:[a-z0-9.+-]*\+)?json\s*(?:;.*)?", re.IGNORECASE)


def check_media(headers: dict[bytes, bytes]) -> ApiError | None:
    """Return what is wrong with the declared form of a JSON body; a missing Content-Type is fine (SDK habit)."""
    if b"content-encoding" in headers:
        return UnsupportedMediaType(
            "Compressed request bodies are not supported. Send the JSON without Content-Encoding."
        )
    kind = headers.get(b"content-type")
    if kind and kind != b"application/json" and not _JSON.fullmatch(kind):
        return UnsupportedMediaType("Send the body as JSON, with the header Content-Type: application/json.")
    return None


# After so many chunks, they must carry so many bytes on average: 1-byte chunks cost us 100 times what they cost to send
# (row O-6). Real clients (fetch streams, proxies) send kilobytes a chunk.
_CHUNKS_FREE = 4096
_CHUNK_AVERAGE = 16

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t -~\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")


class ChunkedBody:
    """The decoder of a chunked request body (RFC 9112 section 7.1), strict: CR LF only, short extensions.

    Bytes in, pieces out; `rest` holds what follows the body once `done`. Trailers are read over up to the bound and
    dropped: RFC 9110 6.5.1 lets a recipient discard them, and merging them into headers is a smuggling way.
    """

    __slots__ = ("_bounds", "_buffer", "_chunks", "_left", "_state", "_trailer", "done", "received", "rest")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._buffer = b""
        self._left = 0
        self._chunks = 0
        self._state = "size"
        self._trailer = 0
        self.received = 0
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return the pieces of the body in them; raise BrokenRequest."""
        pieces: list[bytes] = []
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while at < len(buffer) and not self.done:
            if self._state == "data":
                piece = buffer[at : at + self._left]
                pieces.append(piece)
                self._left -= len(piece)
                at += len(piece)
                if not self._left:
                    self._state = "end"
                continue
            bound = self._bounds.trailer if self._state == "trailer" else self._bounds.chunk_line
            end = buffer.find(b"\r\n", at, at + bound + 2)
            if end < 0:
                self._check_partial(buffer[at : at + bound + 2], bound)
                break
            self._read_line(buffer[at:end])
            at = end + 2
        if self.done:
            self.rest = buffer[at:]
            self._buffer = b""
        else:
            self._buffer = buffer[at:]
        return pieces

    @staticmethod
    def _check_partial(part: bytes, bound: int) -> None:
        if len(part) > bound:
            raise _malformed("a chunk line that is too long")
        if b"\n" in part or b"\r" in part[:-1]:
            raise _malformed("a chunk line end that is not CR LF")

    def _read_line(self, line: bytes) -> None:
        if self._state == "size":
            self._read_size(line)
        elif self._state == "end":
            if line:
                raise _malformed("a chunk longer than its size")
            self._state = "size"
        elif line:
            self._trailer += len(line)
            if self._trailer > self._bounds.trailer:
                raise BrokenRequest(HeadTooLarge(self._bounds.head, self._bounds.fields))
            if not _TRAILER.fullmatch(line):
                raise _malformed("a trailer that is no header field")
        else:
            self.done = True

    def _read_size(self, line: bytes) -> None:
        match = _CHUNK_SIZE.fullmatch(line)
        if not match:
            raise _malformed("a chunk size that is not a number")
        self._left = int(match[1], 16)
        self.received += self._left
        if self.received > self._bounds.body:
            raise BrokenRequest(PayloadTooLarge(self._bounds.body))
        self._chunks += 1
        if self._chunks > _CHUNKS_FREE and self.received < self._chunks * _CHUNK_AVERAGE:
            raise _malformed("a body of very many tiny chunks")
        self._state = "data" if self._left else "trailer"
