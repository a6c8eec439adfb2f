"""A chat request through real sockets: what the client gets for each thing that an upstream may do."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from haste import within
from tests.system.conftest import COMPLETION

from techstone.gateway.settlement import HUNG_UP

if TYPE_CHECKING:
    from tests.system.conftest import House, Upstream

CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
STREAM = CHAT[:-1] + b',"stream":true}'
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ROLE = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"up","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}\n\n'  # noqa: E501 - one event is one line
TEXT = ROLE.replace(b'{"role":"assistant","content":""}', b'{"content":"Hello"}')
STOP = ROLE.replace(b'{"role":"assistant","content":""}', b"{}").replace(
    b'"finish_reason":null', b'"finish_reason":"stop"'
)
DONE = b"data: [DONE]\n\n"


def part(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def script(*steps: bytes | float | str) -> object:
    """Return a behaviour: bytes are sent, numbers are silence in seconds, `close` and `reset` end the connection."""

    async def behave(_: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
            elif isinstance(step, str):
                writer.transport.abort() if step == "reset" else writer.close()
            else:
                await asyncio.wait_for(_hang_up(reader), step)

    return behave


async def _hang_up(reader: asyncio.StreamReader) -> None:
    """Wait until the other side is gone."""
    try:
        await reader.read()
    except ConnectionError:
        return


def whole(body: bytes, *, length: int | None = None, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (extra, len(body) if length is None else length, body)


def status(line: bytes, body: bytes = b"{}", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (line, extra, len(body), body)


BEFORE_FIRST_BYTE: dict[str, tuple[tuple[bytes | float | str, ...], int]] = {
    "reset": (("reset",), 503),
    "closed": (("close",), 503),
    "silence": ((2.0,), 503),
    "429": ((status(b"429 Too Many Requests"),), 503),
    "503": ((status(b"503 Service Unavailable"),), 503),
    "500": ((status(b"500 Internal Server Error"),), 500),
    "502": ((status(b"502 Bad Gateway", b"<html>"),), 500),
    "504": ((status(b"504 Gateway Timeout"),), 500),
    "401": ((status(b"401 Unauthorized", b'{"error":{"message":"sk-upstream is wrong"}}'),), 500),
    "404": ((status(b"404 Not Found"),), 500),
    "redirect": ((status(b"302 Found", extra=b"Location: http://127.0.0.1:1/\r\n"),), 500),
    "no http": ((b"SSH-2.0-OpenSSH\r\n",), 500),
    "endless head": ((b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50_000,), 500),
    "length and chunked": ((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",), 500),
    "gzip": ((whole(b"\x1f\x8b", extra=b"Content-Encoding: gzip\r\n"),), 500),
    "upgrade": ((b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",), 500),
}
WHOLE = {
    "garbage": ((whole(b"{nonsense"),), 500),
    "empty": ((whole(b""),), 500),
    "not a completion": ((whole(b'{"hello":1}'),), 500),
    "invalid utf-8": ((whole(COMPLETION.replace(b"Hello", b"\xff\xfe")),), 500),
    "length too long": ((whole(COMPLETION, length=len(COMPLETION) + 10), "close"), 503),
    "length too short": ((whole(COMPLETION, length=len(COMPLETION) - 10),), 500),
    "cut": ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "reset"), 503),
    "stalled": ((whole(COMPLETION[:50], length=500), 2.0), 503),
    "error under 200": (
        (whole(b'{"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}'),),
        400,
    ),
}
STREAMED = {
    "garbage": ((SSE + part(b"data: {nonsense\n\n"),), 500),
    "json instead": ((whole(COMPLETION, extra=b"Content-Type: application/json\r\n"),), 500),
    "error event first": ((SSE + part(b'data: {"error":{"message":"no"}}\n\n'),), 500),
    "context error first": ((SSE + part(b'data: {"error":{"message":"too long","code":400}}\n\n'),), 400),
    "nothing": ((SSE + b"0\r\n\r\n",), 500),
    "only done": ((SSE + part(DONE) + b"0\r\n\r\n",), 500),
    "silence": ((SSE, 2.0), 503),
    "endless line": ((SSE + part(b"data: " + b"x" * 2_000_000),), 500),
}
CASES = (
    [(f"whole {name}", CHAT, *case) for name, case in {**BEFORE_FIRST_BYTE, **WHOLE}.items()]
    + [(f"stream {name}", STREAM, *case) for name, case in {**BEFORE_FIRST_BYTE, **STREAMED}.items()]
)  # fmt: skip


@pytest.mark.parametrize(("body", "steps", "code"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_upstream_fault_before_the_first_byte_is_a_plain_error(
    house: House, body: bytes, steps: tuple[bytes | float | str, ...], code: int
) -> None:
    """Status and JSON in the error format, within the time-out + 0.5 s; nothing of the upstream's key (row M-3)."""
    house.upstream.behave = script(*steps)  # type: ignore[assignment] # a behaviour
    begun = time.monotonic()
    answer = await house.send(house.request(body))
    assert time.monotonic() - begun < 0.5 + 0.5 + within(0.2)
    assert answer.startswith(b"HTTP/1.1 %d " % code), answer[:200]
    error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
    assert error["type"] == {400: "invalid_request_error", 500: "server_error", 503: "service_unavailable_error"}[code]
    assert (b"retry-after: " in answer) == (code == 503)
    assert b"sk-upstream" not in answer
    assert house.books.records[-1].status == code


BROKEN_OFF: dict[str, tuple[bytes | float | str, ...]] = {
    "reset": (SSE + part(ROLE + TEXT), "reset"),
    "closed": (SSE + part(ROLE + TEXT), "close"),
    "garbage": (SSE + part(ROLE + TEXT + b"data: {\n\n"),),
    "no done": (SSE + part(ROLE + TEXT + STOP) + b"0\r\n\r\n",),
    "no finish": (SSE + part(ROLE + TEXT + DONE) + b"0\r\n\r\n",),
    "error event": (SSE + part(ROLE + TEXT + b'data: {"error":{"message":"no"}}\n\n'),),
    "silence": (SSE + part(ROLE + TEXT), 2.0),
}


@pytest.mark.parametrize("name", BROKEN_OFF)
async def test_upstream_fault_in_the_stream_is_an_error_event_without_done(house: House, name: str) -> None:
    """What came is delivered, then one error event, then the end; never `[DONE]` (conformance.md 3)."""
    house.upstream.behave = script(*BROKEN_OFF[name])  # type: ignore[assignment] # a behaviour
    begun = time.monotonic()
    answer = await house.send(house.request(STREAM), quiet=0.75)
    assert time.monotonic() - begun < 0.5 + 0.5 + 0.75 + within(0.2)
    assert b'"content":"Hello"' in answer
    assert answer.count(b'data: {"error":') == 1
    assert b"[DONE]" not in answer
    assert answer.endswith(b"0\r\n\r\n")
    assert house.books.records[-1].completion_tokens == 1, "what was delivered is counted"


async def test_stream_is_relayed_to_its_end(house: House) -> None:
    """Chunks under the name that was asked for, then [DONE]; both connections live on."""
    house.upstream.behave = script(SSE + part(ROLE + TEXT), part(STOP + DONE) + b"0\r\n\r\n")  # type: ignore[assignment] # a behaviour
    answer = await house.send(house.request(STREAM) * 2)
    assert answer.count(b'"model":"gpt-4o"') == 6
    assert answer.count(b"data: [DONE]\n\n\r\n0\r\n\r\n") == 2
    assert answer.count(b"x-techstone-served-by: up/up") == 2
    assert house.upstream.connections == 1


async def test_upstream_sees_its_own_key_and_model(house: House) -> None:
    """The client's key stays here; the provider's key and name of the model go there."""
    await house.send(house.request(CHAT, extra=b"X-Api-Base: http://evil\r\n"))
    head, body = house.upstream.received[0]
    assert b"authorization: Bearer sk-upstream\r\n" in head
    assert house.key.encode() not in head + body
    assert b"evil" not in head
    assert json.loads(body)["model"] == "up"


async def test_second_route_serves_when_the_first_refuses(house: House) -> None:
    """A connect error goes to the next route; the header says who served, the record how many were tried."""
    answer = await house.send(house.request(CHAT.replace(b"gpt-4o", b"both")))
    assert b"x-techstone-served-by: up/up" in answer
    assert house.books.records[-1].attempts == 2


async def test_model_must_exist_and_be_allowed(house: House) -> None:
    """404 for no such model, 403 for one that the key may not use, 401 before either."""
    unknown = CHAT.replace(b"gpt-4o", b"gpt-9")
    assert (await house.send(house.request(unknown))).startswith(b"HTTP/1.1 404")
    assert (await house.send(house.request(CHAT, key=house.limited))).startswith(b"HTTP/1.1 403")
    assert (await house.send(house.request(b"{", key="no"))).startswith(b"HTTP/1.1 401")
    assert (await house.send(house.request(b"{"))).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("sent", [b"", SSE + part(ROLE + TEXT)], ids=["before the head", "in the stream"])
async def test_hang_up_closes_the_upstream_within_100_ms(house: House, sent: bytes) -> None:
    """A client that leaves costs no more tokens (row D-3)."""
    house.upstream.behave = script(sent, 5.0)  # type: ignore[assignment] # a behaviour
    _, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(house.request(STREAM))
    await asyncio.wait_for(house.upstream.asked.wait(), within(1))
    await asyncio.sleep(0.02)
    begun = time.monotonic()
    writer.transport.abort()
    await asyncio.wait_for(house.upstream.gone.wait(), within(1))
    assert time.monotonic() - begun < within(0.1)
    await asyncio.sleep(0.01)
    assert house.books.records[-1].status == HUNG_UP


async def test_answers_never_cross_under_cancellation(house: House) -> None:
    """Two hundred callers, every third leaves in the middle; every answer belongs to its caller (row T-4)."""

    async def echo(upstream: Upstream, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mark = json.loads(upstream.received[-1][1])["user"].encode()
        await asyncio.sleep(0.001)
        writer.write(whole(COMPLETION.replace(b"Hello.", mark)))

    house.upstream.behave = echo

    async def call(number: int) -> None:
        mark = b"caller-%d." % number
        raw = house.request(CHAT[:-1] + b',"user":"%b"}' % mark)
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(raw)
        if number % 3 == 0:
            await asyncio.sleep(0.0005)
            writer.transport.abort()
            return
        answer = await reader.readuntil(b"}}")
        assert b'"content":"%b"' % mark in answer
        writer.close()

    for start in range(0, 200, 8):
        await asyncio.gather(*(call(number) for number in range(start, start + 8)))


async def test_silent_stream_is_kept_alive_by_comments(house: House) -> None:
    """After 15 s without a chunk the client gets a comment, which SDKs skip (on a moved clock)."""
    house.upstream.behave = script(SSE + part(ROLE), 0.3, part(STOP + DONE) + b"0\r\n\r\n")  # type: ignore[assignment] # a behaviour
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(house.request(STREAM))
    await reader.readuntil(b'"role":"assistant"')
    (front,) = house.gateway.connections.fronts
    front.sweep(house.gateway.connections.loop.time() + 15.0)
    await asyncio.wait_for(reader.readuntil(b": keep-alive\n\n"), 1)
    writer.close()
