"""The way to the control plane: who is asked, and who next."""

from __future__ import annotations

import asyncio

import pytest

from techstone.adapters.way import Choice, Way, over_socket
from techstone.core import passes
from techstone.core.snapshot import Timeouts
from techstone.gateway.ports import Call, Origin, RemoteAnswer, UpstreamProblem

ORIGINS = tuple(Origin("https", f"control-{number}", 8100) for number in (1, 2, 3))


REFUSED = UpstreamProblem("connect", "refused", sent=False)
SILENT = UpstreamProblem("timeout", "silent")


class _Upstreams:
    """Answers at the hosts that are `up`; others fail as `problem` says, once `answering` is set."""

    def __init__(self, *up: str, problem: UpstreamProblem = REFUSED) -> None:
        self.up = up
        self.problem = problem
        self.asked: list[str] = []
        self.calls: list[Call] = []
        self.answering: asyncio.Event | None = None

    async def open(self, call: Call) -> RemoteAnswer:
        self.asked.append(call.origin.host)
        self.calls.append(call)
        if call.origin.host not in self.up:
            if self.answering is not None:
                await self.answering.wait()
            raise self.problem
        return object()  # type: ignore[return-value] # the way hands it on as it is


HEAD = b"GET / HTTP/1.1\r\nhost: control"


def _ask(way: Way) -> RemoteAnswer:
    return asyncio.run(way.ask(HEAD, b"", Timeouts()))


def test_control_plane_that_is_away_gives_way_to_the_next() -> None:
    """Which is then asked first, so that a dead one costs its timeout once."""
    upstreams = _Upstreams("control-3")
    way = Way(upstreams, Choice(*ORIGINS))
    _ask(way)
    _ask(way)
    assert upstreams.asked == ["control-1", "control-2", "control-3", "control-3"]


def test_each_is_tried_once() -> None:
    """With all of them away the last one's problem is told."""
    upstreams = _Upstreams()
    with pytest.raises(UpstreamProblem, match="refused"):
        _ask(Way(upstreams, Choice(*ORIGINS)))
    assert upstreams.asked == ["control-1", "control-2", "control-3"]


def test_what_may_have_been_done_is_not_asked_again() -> None:
    """Only what was never connected is repeated; after anything else the next question goes to another."""
    upstreams = _Upstreams(problem=SILENT)
    way = Way(upstreams, Choice(*ORIGINS))
    for _ in range(2):
        with pytest.raises(UpstreamProblem, match="silent"):
            _ask(way)
    assert upstreams.asked == ["control-1", "control-2"]


def test_what_was_never_connected_is_asked_at_the_next() -> None:
    """A machine that is gone lets the connection time out; nothing was sent, as where it is refused."""
    upstreams = _Upstreams("control-2", problem=UpstreamProblem("timeout", "no connection in 2 s", sent=False))
    _ask(Way(upstreams, Choice(*ORIGINS[:2])))
    assert upstreams.asked == ["control-1", "control-2"]


@pytest.mark.parametrize("count", [2, 3, 20])
async def test_many_that_fail_at_once_turn_once(count: int) -> None:
    """Each knows whom it asked: the second failure at one does not lead away from the next, or back to the first."""
    upstreams = _Upstreams("control-2", problem=SILENT)
    upstreams.answering = asyncio.Event()
    way = Way(upstreams, Choice(*ORIGINS[:2]))
    asking = [asyncio.create_task(way.ask(HEAD, b"", Timeouts())) for _ in range(count)]
    await asyncio.sleep(0)
    upstreams.answering.set()
    assert await asyncio.gather(*asking, return_exceptions=True) == [SILENT] * count
    await way.ask(HEAD, b"", Timeouts())
    assert upstreams.asked == [*["control-1"] * count, "control-2"]


async def test_many_that_were_not_sent_all_come_to_the_next() -> None:
    """Each tries every one once, whoever turned meanwhile."""
    upstreams = _Upstreams("control-2")
    upstreams.answering = asyncio.Event()
    way = Way(upstreams, Choice(*ORIGINS[:2]))
    asking = [asyncio.create_task(way.ask(HEAD, b"", Timeouts())) for _ in range(5)]
    await asyncio.sleep(0)
    upstreams.answering.set()
    await asyncio.gather(*asking)
    assert upstreams.asked == [*["control-1"] * 5, *["control-2"] * 5]


def test_who_was_of_no_use_is_turned_from_once() -> None:
    """By whoever found it so, and only while it is the one that is asked."""
    upstreams = _Upstreams("control-1", "control-2", "control-3")
    way = Way(upstreams, Choice(*ORIGINS))
    assert way.turn(ORIGINS[0])
    assert way.turn(ORIGINS[0])
    _ask(way)
    assert upstreams.asked == ["control-2"]
    alone = Way(upstreams, Choice(*ORIGINS[:1]))
    assert not alone.turn(ORIGINS[0])


def test_what_one_way_finds_out_the_others_know() -> None:
    """A page does not wait for a control plane that the snapshot stream has turned from."""
    upstreams, choice = _Upstreams("control-2"), Choice(*ORIGINS)
    _ask(Way(upstreams, choice, b"seam"))
    _ask(Way(upstreams, choice, b"pages"))
    assert upstreams.asked == ["control-1", "control-2", "control-2"]


def test_pass_travels_over_tcp_alone() -> None:
    """A Unix socket is guarded by the file system."""
    upstreams = _Upstreams("control-1", "/run/s")
    _ask(Way(upstreams, Choice(*ORIGINS), passes.make(b"x" * 32, "seam")))
    _ask(over_socket(upstreams, "/run/s"))
    told = b"x-techstone-pass: " + passes.make(b"x" * 32, "seam")
    assert [told in call.head for call in upstreams.calls] == [True, False]
    assert [passes.HEADER in call.head for call in upstreams.calls] == [True, False]
