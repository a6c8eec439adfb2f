"""No body steers an upstream elsewhere than where its request was admitted to."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.system.conftest import House, Upstream, answer_whole

from techstone.core.chat import ROUTING_FIELDS

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    "model", "stream", "n", "max_tokens", "max_completion_tokens", "messages", "stream_options", "temperature", "user",
    "Model", "MODEL", "\u017ftream", "Max_Tokens", "N", "model ", "x", *sorted(ROUTING_FIELDS),
]  # fmt: skip
STREAM = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"up","choices":[{"index":0,"delta":'
    b'{"content":"Hello."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
MESSAGES = '[{"role":"user","content":"hi"}]'
VALUES = st.sampled_from(
    [
        '"gpt-4o"', '"closed"', '"other"', "true", "false", "null", "1", "2", "3.0", "1e2", "128", "4096", "[]", "{}",
        MESSAGES, '"http://evil.example/v1"', '"sk-evil"', '{"model":"evil","api_key":"sk-evil"}',
        '{"include_usage":true,"include_usage":false}', '[[[[{"model":"evil"}]]]]', '"\\u0067pt-4o"',
    ]
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """Return a chat request with repeated, odd and steering keys in any order; some spelt with escapes."""
    pairs = [("model", '"gpt-4o"'), ("messages", MESSAGES)]
    pairs += draw(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8))
    out = []
    for name, value in draw(st.permutations(pairs)):
        escaped = draw(st.booleans())
        spelt = f'"\\u{ord(name[0]):04x}{name[1:]}"' if escaped else f'"{name}"'
        out.append(f"{spelt}:{value}")
    return "{" + ",".join(out) + "}"


async def answer_as_asked(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Stream to who asks for a stream: five answers of the wrong kind in a row would open the route's breaker."""
    if json.loads(upstream.received[-1][1]).get("stream") is not True:
        await answer_whole(upstream, reader, writer)
        return
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % len(STREAM) + STREAM)


def _pairs(text: bytes) -> list[tuple[str, Any]]:
    return list(json.loads(text, object_pairs_hook=lambda pairs: pairs))


def _check(house: House, raw: str, answer: bytes) -> None:
    """Compare what the gateway judged, by the last of each key, with all that the upstream could read."""
    judged = json.loads(raw)
    if answer.startswith(b"HTTP/1.1 4"):
        assert not house.upstream.received
        return
    assert answer.startswith(b"HTTP/1.1 200"), answer
    (head, body) = house.upstream.received[-1]
    pairs = _pairs(body)
    names = [name for name, _ in pairs]
    assert len({name.casefold() for name in names}) == len(names), "Go reads a key in any case"
    assert not ROUTING_FIELDS & set(names)
    seen = dict(pairs)
    assert (judged["model"], seen["model"]) == ("gpt-4o", "up")
    assert (seen.get("stream") is True) == (judged.get("stream") is True)
    for name in ("max_tokens", "max_completion_tokens", "n"):
        assert seen.get(name) == judged.get(name)
    lower = head.lower()
    assert b"authorization: bearer sk-upstream\r\n" in lower
    assert b"host: 127.0.0.1:%d\r\n" % house.upstream.port in lower
    assert b"sk-evil" not in head
    assert b"evil.example" not in head


def test_upstream_sees_only_what_was_admitted(tmp_path: Path) -> None:
    """Repeated keys, odd nesting and routing fields never change model, limits, stream, host or key."""
    loop = asyncio.new_event_loop()
    house = House()
    servers = loop.run_until_complete(house.start(str(tmp_path)))
    house.upstream.behave = answer_as_asked
    accepted = 0

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(bodies())
    def check(raw: str) -> None:
        nonlocal accepted
        house.upstream.received.clear()
        answer = loop.run_until_complete(house.send(house.request(raw.encode()), quiet=0.0))
        accepted += bool(house.upstream.received)
        _check(house, raw, answer)

    try:
        check()
        assert accepted > 30
    finally:
        house.gateway.close()
        for server in servers:
            server.close()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
