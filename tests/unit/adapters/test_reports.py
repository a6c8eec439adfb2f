"""Reports: routes as they are now, and a control plane that is away loses no refusal that there is room for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import msgspec

from techstone.adapters.errand import Line
from techstone.adapters.reports import Watch, measure_memory, report
from techstone.adapters.way import over_socket
from techstone.core.breaker import FAILURES, Breaker
from techstone.gateway.ports import UpstreamProblem
from techstone.wire.report import GatewayState, JournalState, LimitState, RefusalNote, Report, SnapshotState

if TYPE_CHECKING:
    import pytest

    from techstone.gateway.blotter import Blotter
    from techstone.gateway.ports import Answer, Call, Upstreams

STATE = GatewayState(
    "a" * 16, "1", 0.0, 0, 0, 0, (), JournalState(0, 0.0, 0, 1), LimitState("memory"), SnapshotState(1, 0.0)
)
NOTE = RefusalNote("req_1", 1, 404, "model_not_found", "acct_a", "key_a")


def test_route_is_told_with_breaker_error_and_recent_time() -> None:
    """The mean is of what came since the oldest look that is kept, not since the start."""
    watch, breaker = Watch(reports=2), Breaker()
    breakers = {("m", "p", "u", 0): breaker}
    (route,) = watch.describe(breakers, {("m", "p"): (10, 1.0)}, 50.0)
    assert (route.breaker, route.error, route.requests, route.first_byte_ms) == ("closed", "", 10, 100.0)
    for _ in range(FAILURES):
        breaker.remember("status 503", 50.0)
        breaker.fail(50.0)
    watch.describe(breakers, {("m", "p"): (10, 1.0)}, 51.0)
    (route,) = watch.describe(breakers, {("m", "p"): (12, 1.5)}, 52.0)
    assert (route.breaker, route.error, route.error_age) == ("open", "status 503", 2.0)
    assert (route.requests, route.first_byte_ms) == (2, 250.0)
    (route,) = watch.describe({("x", "p", "u", 0): Breaker()}, {}, 53.0)
    assert (route.requests, route.first_byte_ms) == (0, 0.0)


class _Answer:
    status = 200

    async def read(self, _: int) -> bytes:
        return b"{}"


class _Control:
    """A control plane that is away for the first call."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def open(self, call: Call) -> Answer:
        self.bodies.append(call.body)
        if len(self.bodies) == 1:
            raise UpstreamProblem("connect", "away")
        return cast("Answer", _Answer())


class _Blotter:
    def __init__(self) -> None:
        self.waiting: tuple[RefusalNote, ...] = (NOTE,)

    def take(self) -> tuple[tuple[RefusalNote, ...], int]:
        taken, self.waiting = self.waiting, ()
        return taken, 0

    def put_back(self, notes: tuple[RefusalNote, ...], dropped: int) -> None:
        self.waiting = notes
        assert dropped == 0


async def test_refusals_wait_for_a_control_plane_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each report is of the state as it is then."""
    monkeypatch.setattr("techstone.adapters.reports.PACE_SECONDS", 0.001)
    control = _Control()
    reporter = report(Line(over_socket(cast("Upstreams", control), "/s")), lambda: STATE, cast("Blotter", _Blotter()))
    reporter.start()
    while len(control.bodies) < 3:  # noqa: ASYNC110 - the reporter keeps no event for it
        await asyncio.sleep(0.001)
    reporter.stop()
    sent = [msgspec.json.decode(body, type=Report) for body in control.bodies[:3]]
    assert [one.refusals for one in sent] == [(NOTE,), (NOTE,), ()]
    assert sent[0].gateway == STATE


def test_memory_is_measured() -> None:
    """Of this very process."""
    assert measure_memory() > 10_000_000
