"""A stream that runs out of what is reserved: more is had at once, later by another machine's word, or refused."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, cast

import pytest

from techstone.core.errors import ApiError, QuotaExceeded
from techstone.core.splice import Options
from techstone.core.tally import Tally
from techstone.gateway.relay import StreamRelay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import AnswerSink


class _Wire:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()


class _Client:
    """The part of an exchange that a stream is sent to."""

    def __init__(self) -> None:
        self.wire = _Wire()
        self.status = 0
        self.sent = False
        self.flow: object = None
        self.received = b""

    def start_events(self, _: bytes) -> None:
        self.status = 200

    def send_events(self, events: bytes) -> None:
        self.received += events


class _Upstream:
    """An answer that is told what to say."""

    status = 200
    fields: list[tuple[bytes, bytes]] = []  # noqa: RUF012 - never changed
    whole = False

    def __init__(self) -> None:
        self.sink: AnswerSink | None = None
        self.reading = True
        self.closed = False

    def header(self, _: bytes) -> bytes | None:
        return None

    def take_whole(self, _: int) -> bytes:
        raise AssertionError("it is a stream")

    async def read(self, _: int) -> bytes:
        raise AssertionError("it is a stream")

    def pipe(self, sink: AnswerSink) -> None:
        self.sink = sink

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        self.reading = True

    def is_read(self) -> bool:
        return self.reading

    def close(self) -> None:
        self.closed = True

    def say(self, text: str) -> None:
        assert self.sink is not None
        assert self.reading, "it would wait in the kernel"
        delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [delta]}
        self.sink.body_received(b"data: " + json.dumps(chunk).encode() + b"\n\n")


class _Stream:
    """A relay of 10 bytes' room; what it is told of further room comes when the test says so."""

    def __init__(self) -> None:
        self.client = _Client()
        self.upstream = _Upstream()
        self.asked: list[Callable[[int | ApiError], None]] = []
        options = Options("gpt-4o", False, "c", 1)
        self.relay = StreamRelay(cast("Exchange", self.client), options, Tally(lambda: 1), lambda: b"")
        self.relay.ration(10, self.asked.append)


@pytest.fixture
async def stream() -> AsyncIterator[_Stream]:
    made = _Stream()
    running = asyncio.ensure_future(made.relay.prepare(made.upstream))
    await asyncio.sleep(0)
    yield made
    made.relay.body_ended(None)
    await asyncio.gather(running, return_exceptions=True)


async def test_stream_that_is_told_of_room_at_once_goes_on(stream: _Stream) -> None:
    """The books in memory answer in the same call: the upstream is not even paused."""
    stream.relay.ration(10, lambda tell: tell(1000))
    stream.upstream.say("x" * 11)
    assert stream.upstream.is_read()
    stream.upstream.say("y" * 11)
    assert b"y" * 11 in stream.client.received


async def test_upstream_is_not_read_while_another_machine_is_asked_for_room(stream: _Stream) -> None:
    """Nothing is given that is not reserved; it is asked once, and read on with the answer."""
    stream.upstream.say("x" * 11)
    assert len(stream.asked) == 1
    assert not stream.upstream.is_read()
    assert b"x" * 11 in stream.client.received, "what had come was reserved"
    stream.asked[0](30)
    assert stream.upstream.is_read()
    stream.upstream.say("y" * 11)
    assert len(stream.asked) == 1
    stream.upstream.say("z" * 11)
    assert len(stream.asked) == 2


async def test_what_was_read_before_the_pause_does_not_ask_again(stream: _Stream) -> None:
    """A piece that was on its way already arrives; it is sent, and the question stays one."""
    stream.upstream.say("x" * 11)
    stream.upstream.reading = True
    stream.upstream.say("y" * 50)
    assert len(stream.asked) == 1
    assert b"y" * 50 in stream.client.received


async def test_stream_that_gets_no_room_ends(stream: _Stream) -> None:
    """The refusal that came later is what the client is told; the upstream is let go of."""
    stream.upstream.say("x" * 11)
    refusal = QuotaExceeded("No credit is left.")
    stream.asked[0](refusal)
    assert stream.relay.refused is refusal
    assert stream.upstream.closed


async def test_slow_client_is_not_flooded_when_room_comes(stream: _Stream) -> None:
    """Two reasons not to read: with the one gone, the other stands."""
    stream.upstream.say("x" * 11)
    stream.relay.pause()
    stream.asked[0](1000)
    assert not stream.upstream.is_read()
    stream.relay.resume()
    assert stream.upstream.is_read()


async def test_client_that_reads_again_does_not_open_what_waits_for_room(stream: _Stream) -> None:
    """The same, the other way round."""
    stream.relay.pause()
    stream.upstream.reading = True
    stream.upstream.say("x" * 11)
    stream.relay.resume()
    assert not stream.upstream.is_read()
    stream.asked[0](1000)
    assert stream.upstream.is_read()


async def test_room_that_comes_after_the_end_is_of_no_use(stream: _Stream) -> None:
    """The stream broke off meanwhile: neither is it read on, nor refused."""
    stream.upstream.say("x" * 11)
    stream.relay.body_ended(None)
    stream.asked[0](QuotaExceeded("No credit is left."))
    assert stream.relay.refused is None
    assert not stream.upstream.closed
