"""The front as a machine: bytes in by a fake transport, exchanges out; what it reads does not depend on the cuts."""

from __future__ import annotations

import collections
import ipaddress
import itertools
from typing import TYPE_CHECKING, cast

import pytest
from corpus import CHAT, KEPT, REFUSED
from hypothesis import given, settings
from hypothesis import strategies as st

from techstone.gateway.connections import Connections, Trust
from techstone.gateway.directory import Directory
from techstone.gateway.front import Front
from techstone.gateway.guard import Bounds
from techstone.gateway.trampoline import Signal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from techstone.gateway.exchange import Exchange

# Without HEAD, whose answers cannot be taken apart by their own lengths.
SEEDS = [
    raw
    for raw in (*REFUSED.values(), *(raw for raw, _ in KEPT.values()))
    if len(raw) < 2000 and not raw.startswith(b"HEAD")
]
SEEDS.append(b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(CHAT), CHAT))
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"


class Loop:
    """Stands still; what is to be called soon is called when told."""

    def __init__(self) -> None:
        self.now = 100.0
        self._soon: collections.deque[Callable[[], None]] = collections.deque()

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def run(self) -> None:
        while self._soon:
            self._soon.popleft()()


class Transport:
    """A peer at the other end that reads everything."""

    def __init__(self) -> None:
        self.written = b""
        self.ended = False
        self.paused = False

    def write(self, data: bytes) -> None:
        assert not self.ended
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.ended = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return ("127.0.0.1", 1)


class Desk:
    """Answers every request at once and keeps what it was asked; the journalist too."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes, bytes]] = []
        self.defects: list[Exception] = []
        self.insecures = 0
        self.ended = 0

    async def answer(self, exchange: Exchange) -> None:
        self.asked.append((exchange.method, exchange.path, exchange.body))
        exchange.send_json(200, b"{}")

    def answered(self, _: Exchange) -> None:
        self.ended += 1

    def failed(self, _: Exchange, error: Exception) -> None:
        self.defects.append(error)

    def insecure(self, _: Exchange) -> None:
        self.insecures += 1


def _read(pieces: list[bytes]) -> tuple[Desk, Transport]:
    """Let a front read the pieces of one connection."""
    loop, desk, transport = Loop(), Desk(), Transport()
    directory = Directory({}, {}, desk.answer)
    connections = Connections(
        cast("asyncio.AbstractEventLoop", loop), directory, desk, describe_limits=lambda _: b"", seed=b"12345678"
    )
    front = Front(connections)
    front.connection_made(cast("asyncio.Transport", transport))
    for piece in pieces:
        front.data_received(piece)
        loop.run()
    front.connection_lost(None)
    loop.run()
    assert not desk.defects
    assert not connections.fronts
    return desk, transport


def _statuses(written: bytes) -> list[int]:
    """Take answers apart by their own lengths: nothing may stand between them."""
    found = []
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        found.append(int(head[9:12]))
        if found[-1] == 100:
            written = rest
            continue
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        written = rest[length:]
    return found


@st.composite
def connections(draw: st.DrawFn) -> bytes:
    """Return what a client sends: requests of the corpus, some of them damaged."""
    text = b"".join(draw(st.lists(st.sampled_from([*SEEDS, NEXT]), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text)))
        damage = draw(st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"0", b"\xff", b"chunked", b","]))
        text = text[:place] + damage + text[place + draw(st.integers(0, 3)) :]
    return text


@settings(max_examples=400)
@given(connections(), st.lists(st.integers(0, 3000), max_size=6), st.booleans())
def test_cuts_change_nothing(text: bytes, cuts: list[int], bytewise: bool) -> None:  # noqa: FBT001 - Hypothesis passes by position
    """Whole, in pieces or byte by byte, the same requests are run, and no byte crashes the front (row H-3)."""
    places = range(len(text) + 1) if bytewise else [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(places) if start < end]
    whole, one = _read([text])
    cut, many = _read(pieces)
    assert cut.asked == whole.asked
    statuses = [status for status in _statuses(one.written) if status != 100]
    assert len(statuses) == len([status for status in _statuses(many.written) if status != 100])
    assert all(status < 500 for status in statuses)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_any_bytes_are_answered_or_waited_for(pieces: list[bytes]) -> None:
    """Noise is refused once and closed, or is the begin of something."""
    desk, transport = _read(pieces)
    assert not desk.asked
    assert len(_statuses(transport.written)) <= 1
    assert transport.ended == bool(transport.written)


class House:
    """One connection to a front whose endpoint waits for a signal."""

    def __init__(self, bounds: Bounds | None = None, trust: Trust | None = None, *, plain: bool = False) -> None:
        self.loop, self.desk, self.transport = Loop(), Desk(), Transport()
        self.signal = Signal()
        self.connections = Connections(
            cast("asyncio.AbstractEventLoop", self.loop),
            Directory({}, {}, self._hold),
            self.desk,
            describe_limits=lambda _: b"",
            seed=b"12345678",
            bounds=bounds,
            trust=trust,
        )
        self.front = Front(self.connections, plain=plain)
        self.front.connection_made(cast("asyncio.Transport", self.transport))

    async def _hold(self, exchange: Exchange) -> None:
        self.signal = Signal()
        await self.signal
        await self.desk.answer(exchange)

    def send(self, data: bytes) -> None:
        self.front.data_received(data)
        self.loop.run()

    def answer(self) -> None:
        self.signal.give()
        self.loop.run()

    @property
    def statuses(self) -> list[int]:
        return _statuses(self.transport.written)


def test_what_is_sent_ahead_waits() -> None:
    """One request at a time; over 64 KB ahead the socket is not read any more, until there is room."""
    house = House()
    house.send(NEXT + NEXT)
    house.send(NEXT)
    assert house.desk.asked == []
    house.answer()
    assert len(house.desk.asked) == 1
    house.send(b"POST /last HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000)
    paused = []
    for _ in range(3):
        paused.append(house.transport.paused)
        house.answer()
    assert paused == [True, False, False]
    assert [path for _, path, _ in house.desk.asked] == [b"/next", b"/next", b"/next", b"/last"]
    assert len(house.desk.asked[-1][2]) == 70_000


def test_hang_up_ends_the_request() -> None:
    """Its coroutine ends where it waits; nothing is written to nobody."""
    house = House()
    house.send(NEXT)
    signal = house.signal
    house.front.connection_lost(None)
    signal.give()
    house.loop.run()
    assert (house.desk.asked, house.transport.written, house.desk.ended) == ([], b"", 1)


def test_drain_lets_the_answer_end_and_refuses_the_next() -> None:
    """What runs may end, with `connection: close`; what has not begun is closed, or told 503."""
    idle, busy, late = House(), House(), House()
    busy.send(NEXT)
    late.send(NEXT[:20])
    for house in (idle, busy, late):
        house.connections.drain()
    busy.answer()
    late.send(NEXT[20:])
    assert (idle.transport.written, idle.transport.ended) == (b"", True)
    assert (busy.statuses, busy.transport.ended) == ([200], True)
    assert b"connection: close\r\n" in busy.transport.written
    assert (late.statuses, late.transport.ended) == ([503], True)


def test_leaving_says_so_in_an_answer() -> None:
    """An idle connection is not closed under its client's hands: the next request is served, and then it closes."""
    idle, busy = House(), House()
    busy.send(NEXT)
    for house in (idle, busy):
        house.connections.leave()
        assert not house.transport.ended
    busy.answer()
    idle.send(NEXT)
    idle.answer()
    for house in (idle, busy):
        assert (house.statuses, house.transport.ended) == ([200], True)
        assert b"connection: close\r\n" in house.transport.written


@pytest.mark.parametrize("draining", [False, True])
def test_answer_that_could_not_say_goodbye_is_followed_by_one_that_does(*, draining: bool) -> None:
    """A stream's head had gone: its client takes the connection for good, and its next request is served (row D-2)."""
    house = House()
    house.send(NEXT)
    assert house.front.exchange is not None
    house.front.exchange.start(200, (), None)
    house.connections.leave()
    if draining:
        house.connections.drain()
    house.front.exchange.finish()
    house.signal.give()
    house.loop.run()
    assert (house.transport.ended, house.connections.engaged) == (False, 1)
    house.send(NEXT)
    house.answer()
    assert house.transport.written.count(b"connection: close\r\n") == 1
    assert (house.transport.ended, house.connections.engaged) == (True, 0)


def test_one_more_request_is_waited_for_a_second() -> None:
    """Nobody holds a stop up by saying nothing; and only where all leave."""
    house = House()
    house.send(NEXT)
    assert house.front.exchange is not None
    house.front.exchange.start(200, (), None)
    house.connections.drain()
    house.front.exchange.finish()
    house.front.sweep(100.9)
    assert not house.transport.ended
    house.front.sweep(101.0)
    assert house.transport.ended


def test_stop_ends_what_still_runs() -> None:
    """The second signal, or the end of the drain: the client is told."""
    house = House()
    house.send(NEXT)
    house.connections.stop()
    house.loop.run()
    assert (house.statuses, house.transport.ended, house.desk.asked) == ([503], True, [])


def test_one_connection_too_many_is_closed() -> None:
    """Before it can send anything."""
    house = House(Bounds(connections=1))
    other = Transport()
    Front(house.connections).connection_made(cast("asyncio.Transport", other))
    assert (other.ended, house.transport.ended, len(house.connections.fronts)) == (True, False, 1)


def test_reader_that_stalls_is_cut() -> None:
    """A client that reads nothing for 60 s, and not a moment before; one that reads again is let be (row O-4)."""
    house = House()
    house.front.pause_writing()
    house.front.sweep(159.0)
    house.front.resume_writing()
    house.front.sweep(159.5)
    house.front.pause_writing()
    assert not house.transport.ended
    house.front.sweep(161.0)
    assert house.transport.ended


def test_plain_http_where_tls_is_on_is_refused() -> None:
    """403 without a redirect, whatever is asked, and told of: its key has travelled in clear (row S-5)."""
    house = House(trust=Trust(https_only=True, tls=True), plain=True)
    house.send(NEXT)
    assert (house.statuses, house.desk.insecures, house.desk.asked) == ([403], 1, [])
    assert b"location" not in house.transport.written.lower()


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz", b"/metrics"])
def test_probes_past_the_proxy_are_answered_in_clear(path: bytes) -> None:
    """Kubelets and scrapers carry no key and cannot say https; any other path is refused to them."""
    house = House(trust=Trust((ipaddress.ip_network("192.0.2.1"),), https_only=True))
    house.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    house.answer()
    house.send(b"GET %b/x HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    assert (house.statuses, house.desk.insecures) == ([200, 403], 1)
    assert house.desk.asked == [(b"GET", path, b"")]


@pytest.mark.parametrize(
    ("forwarded", "proto", "client", "secure"),
    [
        (b"203.0.113.9", b"https", "203.0.113.9", True),
        (b"198.51.100.1, 203.0.113.9, 127.0.0.2", b"http", "203.0.113.9", False),
        (b"evil, 203.0.113.9", b"HTTPS", "203.0.113.9", True),
        (b"evil", b"", "127.0.0.1", False),
        (b"", b"https", "127.0.0.1", True),
    ],
)
def test_trusted_proxy_says_who_asks(forwarded: bytes, proto: bytes, client: str, *, secure: bool) -> None:
    """The last address that no trusted proxy has; what stands before it anybody may have written."""
    house = House(trust=Trust(proxies=(ipaddress.ip_network("127.0.0.0/8"),)))
    house.send(
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n\r\n" % (forwarded, proto)
    )
    assert house.front.exchange is not None
    assert (house.front.exchange.client, house.front.exchange.secure) == (client, secure)


def test_stranger_says_nothing_of_who_asks() -> None:
    """Without trusted proxies X-Forwarded-For is a header like any other."""
    house = House()
    house.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\r\n")
    assert house.front.exchange is not None
    assert (house.front.exchange.client, house.front.exchange.secure) == ("127.0.0.1", False)


@pytest.mark.parametrize(("rate", "closed"), [(32 * 1024, True), (128 * 1024, False)])
def test_body_must_keep_its_rate(rate: int, *, closed: bool) -> None:
    """After 30 s a body must have come at 64 KB/s on average; one that does may take longer."""
    house = House()
    house.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n")
    for _ in range(100):
        house.loop.now += 1.0
        house.send(b"x" * rate)
        house.front.sweep(house.loop.now)
    assert (house.statuses == [408]) == closed
    assert house.transport.ended == closed
