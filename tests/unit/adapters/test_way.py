"""The way to the control plane: who is asked, and who next."""

from __future__ import annotations

import asyncio

import pytest

from techstone.adapters.way import Way, over_socket
from techstone.core import passes
from techstone.core.snapshot import Timeouts
from techstone.gateway.ports import Answer, Call, Origin, UpstreamProblem

ORIGINS = tuple(Origin("https", f"control-{number}", 8100) for number in (1, 2, 3))


class _Upstreams:
    """Answers at the hosts that are `up`; others fail as `problem` says."""

    def __init__(self, *up: str, problem: UpstreamProblem | None = None) -> None:
        self.up = up
        self.problem = problem or UpstreamProblem("connect", "refused")
        self.asked: list[str] = []
        self.calls: list[Call] = []

    async def open(self, call: Call) -> Answer:
        self.asked.append(call.origin.host)
        self.calls.append(call)
        if call.origin.host not in self.up:
            raise self.problem
        return object()  # type: ignore[return-value] # the way hands it on as it is


def _ask(way: Way) -> Answer:
    return asyncio.run(way.ask(b"GET / HTTP/1.1\r\nhost: control", b"", Timeouts()))


def test_control_plane_that_is_away_gives_way_to_the_next() -> None:
    """Which is then asked first, so that a dead one costs its timeout once."""
    upstreams = _Upstreams("control-3")
    way = Way(upstreams, ORIGINS)
    _ask(way)
    _ask(way)
    assert upstreams.asked == ["control-1", "control-2", "control-3", "control-3"]


def test_each_is_tried_once() -> None:
    """With all of them away the last one's problem is told."""
    upstreams = _Upstreams()
    with pytest.raises(UpstreamProblem, match="refused"):
        _ask(Way(upstreams, ORIGINS))
    assert upstreams.asked == ["control-1", "control-2", "control-3"]


def test_what_may_have_been_done_is_not_asked_again() -> None:
    """Only what was never connected is repeated; after anything else the next question goes to another."""
    upstreams = _Upstreams(problem=UpstreamProblem("timeout", "silent"))
    way = Way(upstreams, ORIGINS)
    for _ in range(2):
        with pytest.raises(UpstreamProblem, match="silent"):
            _ask(way)
    assert upstreams.asked == ["control-1", "control-2"]


def test_pass_travels_over_tcp_alone() -> None:
    """A Unix socket is guarded by the file system."""
    upstreams = _Upstreams("control-1", "/run/s")
    _ask(Way(upstreams, ORIGINS, passes.make(b"x" * 32, "seam")))
    _ask(over_socket(upstreams, "/run/s"))
    told = b"x-techstone-pass: " + passes.make(b"x" * 32, "seam")
    assert [told in call.head for call in upstreams.calls] == [True, False]
    assert [passes.HEADER in call.head for call in upstreams.calls] == [True, False]
