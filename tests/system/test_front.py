"""The front on real sockets: what it accepts, what it refuses, and that it never runs a smuggled request."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.conftest import House

CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
SMUGGLED = b"GET /v1/models/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
H = b"Host: x\r\n"
T = b"Transfer-Encoding: chunked\r\n"

# Framing that two parsers could read differently (RFC 9112 sections 3, 5, 6 and 7): each must be refused and closed.
REFUSED = {
    "content-length and chunked": b"POST / HTTP/1.1\r\n%bContent-Length: 5\r\n%b\r\n0\r\n\r\n" % (H, T),
    "chunked and content-length": b"POST / HTTP/1.1\r\n%b%bContent-Length: 5\r\n\r\n0\r\n\r\n" % (H, T),
    "two content-lengths": b"POST / HTTP/1.1\r\n%bContent-Length: 0\r\nContent-Length: 0\r\n\r\n" % H,
    "content-length list": b"POST / HTTP/1.1\r\n%bContent-Length: 0, 0\r\n\r\n" % H,
    "content-length plus": b"POST / HTTP/1.1\r\n%bContent-Length: +0\r\n\r\n" % H,
    "content-length minus": b"POST / HTTP/1.1\r\n%bContent-Length: -1\r\n\r\n" % H,
    "content-length hex": b"POST / HTTP/1.1\r\n%bContent-Length: 0x0\r\n\r\n" % H,
    "content-length empty": b"POST / HTTP/1.1\r\n%bContent-Length: \r\n\r\n" % H,
    "content-length huge": b"POST / HTTP/1.1\r\n%bContent-Length: 99999999999999999999\r\n\r\n" % H,
    "chunked twice": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" % H,
    "two transfer-encodings": b"POST / HTTP/1.1\r\n%b%b%b\r\n0\r\n\r\n" % (H, T, T),
    "gzip, chunked": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" % H,
    "identity": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: identity\r\n\r\n" % H,
    "xchunked": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" % H,
    "chunked in 1.0": b"POST / HTTP/1.0\r\n%b%b\r\n0\r\n\r\n" % (H, T),
    "space before colon": b"POST / HTTP/1.1\r\n%bTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" % H,
    "vertical tab in value": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" % H,
    "folded header": b"GET / HTTP/1.1\r\n%bX-A: b\r\n c\r\n\r\n" % H,
    "folded first header": b"GET / HTTP/1.1\r\n X-A: b\r\n%b\r\n" % H,
    "bare LF": b"GET / HTTP/1.1\nHost: x\n\n",
    "one bare LF": b"GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: x\rX-A: b\r\n\r\n",
    "NUL in value": b"GET / HTTP/1.1\r\n%bX-A: a\0b\r\n\r\n" % H,
    "NUL in name": b"GET / HTTP/1.1\r\n%bX\0A: b\r\n\r\n" % H,
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "host with a path": b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n",
    "host with a space": b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n",
    "host with userinfo": b"GET / HTTP/1.1\r\nHost: a@x\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\n%bfoo\r\n\r\n" % H,
    "empty name": b"GET / HTTP/1.1\r\n%b: x\r\n\r\n" % H,
    "space in target": b"GET /a b HTTP/1.1\r\n%b\r\n" % H,
    "two spaces": b"GET  / HTTP/1.1\r\n%b\r\n" % H,
    "tab in request line": b"GET\t/ HTTP/1.1\r\n%b\r\n" % H,
    "non-ASCII target": b"GET /\xff HTTP/1.1\r\n%b\r\n" % H,
    "relative target": b"GET v1/models HTTP/1.1\r\n%b\r\n" % H,
    "no version": b"GET /\r\n%b\r\n" % H,
    "HTTP/0.9": b"GET / HTTP/0.9\r\n%b\r\n" % H,
    "HTTP/1.2": b"GET / HTTP/1.2\r\n%b\r\n" % H,
    "HTTP/2.0": b"GET / HTTP/2.0\r\n%b\r\n" % H,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower-case http": b"GET / http/1.1\r\n%b\r\n" % H,
    "lower-case method": b"get / HTTP/1.1\r\n%b\r\n" % H,
    "unknown method": b"FROB / HTTP/1.1\r\n%b\r\n" % H,
    "TLS bytes": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "upgrade h2c": b"GET / HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" % H,
    "upgrade websocket": b"GET /v1/models HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % H,
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\n%b\r\n" % H,
    "TRACE": b"TRACE / HTTP/1.1\r\n%b\r\n" % H,
    "expectation": b"POST /v1/chat/completions HTTP/1.1\r\n%bExpect: a-pony\r\nContent-Length: 0\r\n\r\n" % H,
    "two authorizations": b"GET /v1/models HTTP/1.1\r\n%bAuthorization: a\r\nAuthorization: b\r\n\r\n" % H,
    "101 headers": b"GET / HTTP/1.1\r\n%b%b\r\n" % (H, b"A: b\r\n" * 100),
    "33 KB head": b"GET / HTTP/1.1\r\n%bA: %b\r\n\r\n" % (H, b"b" * 33_000),
    "endless header": b"GET / HTTP/1.1\r\n%bA: %b" % (H, b"b" * 200_000),
    "body over 20 MB": b"POST /v1/chat/completions HTTP/1.1\r\n%bContent-Length: 20971521\r\n\r\n" % H,
    "bad chunk size": b"POST / HTTP/1.1\r\n%b%b\r\nz\r\n\r\n" % (H, T),
    "negative chunk size": b"POST / HTTP/1.1\r\n%b%b\r\n-1\r\n\r\n" % (H, T),
    "0x chunk size": b"POST / HTTP/1.1\r\n%b%b\r\n0x1\r\na\r\n0\r\n\r\n" % (H, T),
    "long chunk": b"POST / HTTP/1.1\r\n%b%b\r\n1\r\nab\r\n0\r\n\r\n" % (H, T),
    "chunk with LF": b"POST / HTTP/1.1\r\n%b%b\r\n1\na\n0\n\n" % (H, T),
    "chunk extension of 200 KB": b"POST / HTTP/1.1\r\n%b%b\r\n1;%b\r\na\r\n" % (H, T, b"x" * 200_000),
    "LF in chunk extension": b"POST / HTTP/1.1\r\n%b%b\r\n1;a\nb\r\na\r\n0\r\n\r\n" % (H, T),
    "20,000 trailers": b"POST / HTTP/1.1\r\n%b%b\r\n0\r\n%b\r\n" % (H, T, b"A: b\r\n" * 20_000),
    "trailer without colon": b"POST / HTTP/1.1\r\n%b%b\r\n0\r\nfoo\r\n\r\n" % (H, T),
    "chunk size of 17 digits": b"POST / HTTP/1.1\r\n%b%b\r\n%b\r\n" % (H, T, b"f" * 17),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_ambiguous_request_is_refused_and_closed(house: House, name: str) -> None:
    """One 4xx in the error format, then the connection closes; what follows is never read as a request (row H-1)."""
    answer = await house.send(REFUSED[name] + SMUGGLED)
    assert answer.count(b"HTTP/1.1 ") == 1, answer[:300]
    assert answer[9:10] == b"4", answer[:100]
    assert answer.endswith(b"<closed>")
    body = json.loads(answer.split(b"\r\n\r\n", 1)[1].removesuffix(b"<closed>"))
    assert body["error"].keys() == {"type", "code", "message", "param"}
    assert not house.upstream.received


KEPT = {
    "no key": (b"GET /v1/models HTTP/1.1\r\n%b\r\n" % H, 401),
    "unknown url": (b"GET /v1/frob HTTP/1.1\r\n%b\r\n" % H, 404),
    "wrong method": (b"GET /v1/chat/completions HTTP/1.1\r\n%b\r\n" % H, 405),
    "delete": (b"DELETE /v1/models HTTP/1.1\r\n%b\r\n" % H, 405),
    "options": (b"OPTIONS /v1/models HTTP/1.1\r\n%b\r\n" % H, 405),
    "options *": (b"OPTIONS * HTTP/1.1\r\n%b\r\n" % H, 404),
    "health": (b"GET /healthz HTTP/1.1\r\n%b\r\n" % H, 200),
    "head": (b"HEAD /healthz HTTP/1.1\r\n%b\r\n" % H, 200),
    "absolute form": (b"GET http://x/healthz HTTP/1.1\r\n%b\r\n" % H, 200),
    "empty line first": (b"\r\nGET /healthz HTTP/1.1\r\n%b\r\n" % H, 200),
    "page": (b"GET /console HTTP/1.1\r\n%b\r\n" % H, 200),
    "basic auth": (b"GET /v1/models HTTP/1.1\r\n%bAuthorization: Basic YTpi\r\n\r\n" % H, 401),
    "key in cookie": (b"GET /v1/models HTTP/1.1\r\n%bCookie: key=ts_live_x\r\n\r\n" % H, 401),
    "refused body is read": (b"POST /v1/chat/completions HTTP/1.1\r\n%bContent-Length: 2\r\n\r\n{}" % H, 401),
    "long key": (b"GET /v1/models HTTP/1.1\r\n%bAuthorization: Bearer %b\r\n\r\n" % (H, b"k" * 10_000), 401),
    "non-ASCII key": (b"GET /v1/models HTTP/1.1\r\n%bAuthorization: Bearer \xff\xfe\r\n\r\n" % H, 401),
}


@pytest.mark.parametrize("name", KEPT)
async def test_whole_request_keeps_the_connection(house: House, name: str) -> None:
    """After any answer to a well-framed request, errors included, the next one is read (SDKs pool connections)."""
    raw, status = KEPT[name]
    answer = await house.send(raw + b"GET /healthz HTTP/1.1\r\n%b\r\n" % H)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 2, answer
    assert answer.count(b"x-request-id: req_") == 2


async def test_chunked_body_is_a_body(house: House) -> None:
    """A chunked request works like one with a length, a chunk extension and a trailer included."""
    pieces = b"".join(b"%x;a=b\r\n%b\r\n" % (1, CHAT[i : i + 1]) for i in range(len(CHAT)))
    head = house.request(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    answer = await house.send(head + pieces + b"0\r\nX-T: 1\r\n\r\nGET /healthz HTTP/1.1\r\n%b\r\n" % H)
    assert answer.count(b"HTTP/1.1 200") == 2, answer


async def test_expect_continue_is_answered(house: House) -> None:
    """Curl waits for `100 Continue` before a large body (RFC 9110 section 10.1.1)."""
    answer = await house.send(house.request(CHAT, extra=b"Expect: 100-continue\r\n"))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def test_expect_continue_without_key_gets_the_refusal(house: House) -> None:
    """Nobody is asked for a body that will not be read."""
    raw = house.request(CHAT, extra=b"Expect: 100-continue\r\n", key="wrong").split(b"\r\n\r\n")[0] + b"\r\n\r\n"
    answer = await house.send(raw)
    assert answer.startswith(b"HTTP/1.1 401")
    assert answer.endswith(b"<closed>")


async def test_pipelined_requests_are_answered_in_order(house: House) -> None:
    """Ten requests in one packet give ten answers (RFC 9112 section 9.3.2)."""
    answer = await house.send(house.request(CHAT) * 10)
    assert answer.count(b"HTTP/1.1 200 OK") == 10
    assert house.upstream.connections == 1, "each went over the one kept-alive connection"


async def test_one_byte_at_a_time_is_a_request(house: House) -> None:
    """Nothing depends on how TCP cuts the bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    for byte in house.request(CHAT):
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert (await reader.read(100)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_http_1_0_gets_no_chunked_coding(house: House) -> None:
    """An HTTP/1.0 client gets the body and the end of the connection."""
    answer = await house.send(house.request(CHAT).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"<closed>")


@pytest.mark.parametrize("path", [b"/healthz", b"/v1/models", b"/"])
async def test_close_is_honoured_without_a_body(house: House, path: bytes) -> None:
    """`Connection: close` on a GET closes after the answer, which says so too."""
    head = b"GET %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nConnection: close\r\n\r\n"
    answer = await house.send(head % (path, house.key.encode()))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"<closed>")


@pytest.mark.parametrize(
    ("sent", "seconds", "status"),
    [
        (b"", 60.1, b""),
        (b"GET / HT", 10.1, b"HTTP/1.1 408"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", 30.1, b"HTTP/1.1 408"),
    ],
)
async def test_late_connection_is_closed_at_its_deadline(
    house: House, sent: bytes, seconds: float, status: bytes
) -> None:
    """Idle 60 s, head 10 s, body 30 s: on a moved clock, not a moment earlier (row O-5)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(sent)
    await asyncio.sleep(0.05)
    (front,) = house.gateway.connections.fronts
    now = house.gateway.connections.loop.time()
    front.sweep(now + seconds - 1)
    await asyncio.sleep(0.02)
    assert house.gateway.connections.fronts
    front.sweep(now + seconds)
    answer = await asyncio.wait_for(reader.read(), 1)
    assert answer.startswith(status)
    writer.close()


async def test_media_type_and_coding_are_checked(house: House) -> None:
    """A form or a compressed body is a 415 in the error format."""
    form = house.request(CHAT).replace(b"application/json", b"application/x-www-form-urlencoded")
    packed = house.request(CHAT, extra=b"Content-Encoding: gzip\r\n")
    for raw in (form, packed):
        assert (await house.send(raw)).startswith(b"HTTP/1.1 415")
    charset = house.request(CHAT).replace(b"application/json", b"Application/JSON; charset=utf-8")
    assert (await house.send(charset)).startswith(b"HTTP/1.1 200")
