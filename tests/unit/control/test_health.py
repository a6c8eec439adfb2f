"""What an operator is told: good, attention or danger, each by its own rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from msgspec.structs import replace

from techstone.control.ports import Checked, StoreFacts
from techstone.control.reports import health, judgement
from techstone.control.reports.records import Condition, Heard, Newest, ReplicaHealth
from techstone.wire.report import (
    GatewayState,
    JournalState,
    LimitState,
    ReplicaState,
    Report,
    RouteState,
    SnapshotState,
)

if TYPE_CHECKING:
    from rooms import House

NOW = 1000.0
JOURNAL = JournalState(0, 0.0, 0, 64_000_000)
SNAPSHOT = SnapshotState(4, 0.5)
GATEWAY = GatewayState("ab" * 8, "1.0", 900.0, 1, 2, 3, (), JOURNAL, LimitState("memory"), SNAPSHOT)
ROUTE = RouteState("m", "p", "u", "closed")


def judge(heard: Heard, newest: int) -> dict[str, str]:
    known = Newest(newest, NOW - (newest - 4) * 3)
    return {finding.what: finding.state for finding in judgement.judge_gateway(heard, known, NOW)}


@pytest.mark.parametrize(
    ("heard", "newest", "what", "state"),
    [
        (Heard(GATEWAY, NOW - 1), 4, "Report", "good"),
        (Heard(GATEWAY, NOW - 6), 4, "Report", "attention"),
        (Heard(GATEWAY, NOW - 60), 4, "Report", "danger"),
        (Heard(replace(GATEWAY, journal=replace(JOURNAL, oldest=20.0, waiting=3)), NOW), 4, "Journal", "attention"),
        (Heard(replace(GATEWAY, journal=replace(JOURNAL, oldest=90.0, waiting=3)), NOW), 4, "Journal", "danger"),
        (Heard(replace(GATEWAY, journal=replace(JOURNAL, bytes=40_000_000)), NOW), 4, "Journal", "danger"),
        (Heard(replace(GATEWAY, journal=replace(JOURNAL, problem="full")), NOW), 4, "Journal", "danger"),
        (Heard(replace(GATEWAY, limits=LimitState("redis", degraded=True)), NOW), 4, "Limit store", "attention"),
        (
            Heard(replace(GATEWAY, limits=LimitState("redis", degraded=True, problem="x")), NOW),
            4,
            "Limit store",
            "danger",
        ),
        (Heard(GATEWAY, NOW), 5, "Snapshot", "good"),
        (Heard(GATEWAY, NOW), 6, "Snapshot", "attention"),
        (Heard(replace(GATEWAY, snapshot=replace(SNAPSHOT, age=20.0)), NOW), 4, "Snapshot", "danger"),
        (Heard(replace(GATEWAY, snapshot=replace(SNAPSHOT, problem="gone")), NOW), 4, "Snapshot", "danger"),
    ],
)
def test_state_follows_from_the_report(heard: Heard, newest: int, what: str, state: str) -> None:
    """That of one thing alone: the others stay good."""
    found = judge(heard, newest)
    assert found.pop(what) == state
    assert set(found.values()) == {"good"}


@pytest.mark.parametrize(
    ("route", "state"),
    [
        (ROUTE, "good"),
        (replace(ROUTE, error="status 503", error_age=400.0), "good"),
        (replace(ROUTE, error="status 503", error_age=4.0), "attention"),
        (replace(ROUTE, breaker="half-open"), "attention"),
        (replace(ROUTE, breaker="open"), "danger"),
    ],
)
def test_route_is_as_its_breaker_and_last_error(route: RouteState, state: str) -> None:
    """An error counts for five minutes."""
    assert judgement.judge_route(route) == state


@pytest.mark.parametrize(
    ("said", "state"), [("up", "good"), ("unknown", "idle"), (None, "idle"), ("down", "attention")]
)
def test_replica_is_as_its_checks(said: Literal["unknown", "up", "down"] | None, state: str) -> None:
    """One that is down is for an operator to see to; that nobody answers any more is its route's danger."""
    assert judgement.judge_replica(ReplicaState("p", "http://gpu:8000/v1", 1, said)) == state


def test_replica_is_told_in_a_line() -> None:
    """What its checks and the engine itself say, for who reads lines; what was not told is left out."""
    told = ReplicaState("gpu", "http://a:8000/v1", 2, "up", 3, 4, 1, 0.25)
    other = ReplicaState("llama", "http://b:8080/v1", in_flight=1)
    replicas = tuple(ReplicaHealth("g", one, judgement.judge_replica(one)) for one in (told, other))
    first, second = health.list_findings(Condition((), (), "good", replicas))
    assert first.what == "replica 2 of gpu, http://a:8000/v1"
    assert first.detail == "up, 3 in flight; it tells 4 running, 1 waiting, cache 25% full"
    assert (second.what, second.detail) == ("replica 1 of llama, http://b:8080/v1", "not checked, 1 in flight")


@pytest.mark.parametrize(
    ("checked", "state"),
    [
        (None, "idle"),
        (Checked(NOW - 10, 0.0, 0), "good"),
        (Checked(NOW - 400, NOW - 500, 0), "attention"),
        (Checked(NOW - 10, 0.0, 1), "danger"),
        (Checked(NOW - 10, 0.0, 0, "locked"), "danger"),
    ],
)
def test_check_of_the_ledger_is_told(checked: Checked | None, state: str) -> None:
    """What it found, and that it is made at all."""
    assert judgement.judge_check(checked, NOW)[0] == state


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "less than 1 s"), (59, "59 s"), (150, "2 min"), (7300, "2 h"), (2 * 86_400, "2 d")]
)
def test_span_is_told_in_its_largest_unit(seconds: float, words: str) -> None:
    """Whole ones."""
    assert judgement.span(seconds) == words


@pytest.mark.parametrize(("kind", "state"), [("sqlite", "danger"), ("postgresql", "idle")])
async def test_silence_is_no_danger_where_others_may_hear(house: House, kind: str, state: str) -> None:
    """Of several control planes on one server the gateways prefer one; with a file there is no other."""
    looked = house.services.health
    looked._looked = health._Looked(NOW, StoreFacts(kind, "x", "0016", durable=True, size=1))
    found = {finding.group: finding.state for finding in (await looked.look()).findings}
    assert found["Gateways"] == state


async def test_so_many_gateways_as_are_planned_are_remembered(house: House) -> None:
    """Each of 554 (docs/scale.md)."""
    for number in range(554):
        await house.services.reports.take(Report(replace(GATEWAY, id=f"{number:016x}")))
    assert len(house.services.reports.gateways()) == 554
