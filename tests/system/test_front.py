"""The front on real sockets: what it accepts, what it refuses, and that it never runs a smuggled request."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from corpus import CHAT, KEPT, REFUSED, H

if TYPE_CHECKING:
    from tests.system.conftest import House

SMUGGLED = b"GET /v1/models/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


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
