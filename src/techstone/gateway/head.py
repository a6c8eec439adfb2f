"""The head of a request: judged by the guard, parsed by llhttp, and remembered.

A client sends the same head again and again; only its Content-Length differs. So what was judged of a head is kept by
its bytes without those digits, and the same bytes are not parsed twice (saves 7 of 8 µs). Only heads of requests that
were let in are kept, so that a stranger cannot fill the memory.
"""

from __future__ import annotations

import re

import httptools

from techstone.core.errors import InvalidRequest, PayloadTooLarge
from techstone.gateway.guard import Bounds, BrokenRequest, Framing, check_head, judge_head

Field = tuple[bytes, bytes]
Key = tuple[bytes, bytes]
"""A head's bytes before and after the digits of its Content-Length; the whole and nothing where it has none."""

# One a client process and endpoint: more clients than one gateway process serves at a time.
_KEPT = 4096
_LONGEST_KEPT = 2048
# At the begin of a line, so certainly the header; more digits than this are not a length (guard).
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]{1,15})\r\n", re.IGNORECASE)


class Head:
    """What a head says. Header names are in lower case; `kept` is whether the client wants the connection kept."""

    __slots__ = ("fields", "framing", "headers", "kept", "key", "legacy", "method", "path", "query")

    def __init__(self) -> None:
        self.method = b"GET"
        self.path = b""
        self.query = b""
        self.fields: list[Field] = []
        self.headers: dict[bytes, bytes] = {}
        self.framing: Framing = Framing(0, chunked=False, expects=False)
        self.legacy = False
        self.kept = True
        self.key: Key | None = None


NO_HEAD = Head()
"""Of a request that died before it had one."""


class Heads:
    """Reads heads, and remembers those that it is told to."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._known: dict[Key, Head] = {}

    def read(self, raw: bytes) -> tuple[Head, int]:
        """Return the head of those bytes (to its empty line, inclusive) and its Content-Length; raise BrokenRequest."""
        found = _LENGTH.search(raw)
        if found is None:
            # No length, or one that is spelt unusually: then all bytes count.
            whole = self._known.get((raw, b"")) or self._parse(raw, (raw, b""))
            return whole, whole.framing.length
        start, end = found.span(1)
        key = (raw[:start], raw[end:])
        head = self._known.get(key)
        if head is None:
            head = self._parse(raw, key)
            return head, head.framing.length
        length = int(found[1])
        if length > self._bounds.body:
            raise BrokenRequest(PayloadTooLarge(self._bounds.body))
        return head, length

    def keep(self, head: Head) -> None:
        """Remember a head whose request was let in."""
        key, head.key = head.key, None
        if key is not None and len(key[0]) + len(key[1]) <= _LONGEST_KEPT:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = head

    def _parse(self, raw: bytes, key: Key) -> Head:
        check_head(raw, self._bounds)
        reader = _Reader()
        parser = reader.parser = httptools.HttpRequestParser(reader)
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # judged below, by the header or the method
        except httptools.HttpParserError as error:
            raise BrokenRequest(
                InvalidRequest(f"Malformed HTTP request: {error}.", code="malformed_http", closes=True)
            ) from error
        head = reader.head
        version = parser.get_http_version()
        head.method = parser.get_method()
        head.headers = dict(head.fields)
        head.framing = judge_head(head.method, version, head.fields, head.headers, self._bounds)
        head.path, _, head.query = reader.url.partition(b"?")
        if head.path[:1] != b"/":
            head.path = _origin_form(head.path, head.method)
        head.legacy = version == "1.0"
        head.kept = head.kept and not head.legacy
        head.key = key
        return head


class _Reader:
    """llhttp's callbacks for one head."""

    __slots__ = ("head", "parser", "url")

    def __init__(self) -> None:
        self.head = Head()
        self.url = b""
        self.parser: httptools.HttpRequestParser

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self.head.fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Ask whether to keep the connection; of a request without a body llhttp forgets the flags right after."""
        self.head.kept = self.parser.should_keep_alive()


def _origin_form(target: bytes, method: bytes) -> bytes:
    """Return the path of a target that is not in origin form; raise BrokenRequest (RFC 9112 section 3.2)."""
    if target == b"*" and method == b"OPTIONS":
        return b"*"
    for scheme in (b"http://", b"https://"):
        if target[: len(scheme)].lower() == scheme:
            _, slash, path = target[len(scheme) :].partition(b"/")
            return slash + path if slash else b"/"
    raise BrokenRequest(InvalidRequest("Malformed HTTP request: not a request target.", code="malformed_http"))
