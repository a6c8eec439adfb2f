"""The limit store in memory, on a clock that is moved: rows L-1, L-2, L-4, L-5 and what a start must remember."""

from __future__ import annotations

import asyncio
import json
import math
import random
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from techstone.adapters.limits.memory import MemoryLimits
from techstone.core.errors import LedgerUnavailable
from techstone.core.limits import Claim, Grant, Refusal
from techstone.core.snapshot import Account, Key, Plan, Snapshot
from techstone.core.usage import UsageRecord
from techstone.core.view import View, make_principal
from techstone.wire.limits import KeyLimits, MinuteLimit, RefusedRequest, SpendingCap

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.core.view import Principal

_DAY = 20_000
_JOURNAL = "j" * 16
_KEY = Key("k1", "0" * 64, "a1", "n", "h")
_PLAN = Plan("p", 60, 150_000, 5, "prepaid")


class Clock:
    """Monotonic and wall time that move together."""

    def __init__(self) -> None:
        self.now = 1000.0

    def wall(self) -> float:
        return _DAY * 86_400 + self.now

    def __call__(self) -> float:
        return self.now


def principal(plan: Plan = _PLAN, *, key: Key = _KEY, **account: object) -> Principal:
    return make_principal(key, msgspec.structs.replace(Account("a1", "a@x", plan.name), **account), plan)


def ask(limits: MemoryLimits, who: Principal, request: bytes, tokens: int = 1, nano: int = 0) -> Grant | Refusal:
    """Admit without an event loop: the store in memory never waits."""
    coroutine = limits.admit(Claim(request, who, tokens, nano))
    try:
        coroutine.send(None)
    except StopIteration as done:
        found: Grant | Refusal = done.value
        return found
    raise AssertionError("it waited")


def _open_store(clock: Clock, who: Principal | None = None, **snapshot: object) -> MemoryLimits:
    limits = MemoryLimits(clock, clock.wall)
    accounts = (who.account,) if who else ()
    keys = (who.key,) if who else ()
    whole = msgspec.structs.replace(Snapshot(1, accounts=accounts, keys=keys, as_of_day=_DAY), **snapshot)
    limits.anchor(View(whole), _JOURNAL)
    return limits


def _burst(now: float, _: random.Random) -> float:
    return now + (0.0 if int(now * 1000) % 7 else 0.2)


_PATTERNS: dict[str, Callable[[float, random.Random], float]] = {
    "burst": _burst,
    "even": lambda now, _: now + 0.25,
    "minute edge": lambda now, _: now + (0.01 if now % 60 > 55 or now % 60 < 5 else 1.0),
    "random": lambda now, chance: now + chance.expovariate(5),
}


@pytest.mark.parametrize("keys", [1, 5, 20])
@pytest.mark.parametrize("pattern", _PATTERNS)
@pytest.mark.parametrize("rpm", [60, 500])
def test_any_minute_holds_the_plan_and_ample_demand_gets_it(rpm: int, pattern: str, keys: int) -> None:
    """L-1, 130 s of virtual time: never more than the plan in any 60 s, at least 98 % of it where more is asked for."""
    clock, chance = Clock(), random.Random(rpm * keys)
    plan = Plan("p", rpm, 10**9, 10**6, "postpaid")
    holders = [principal(plan, key=msgspec.structs.replace(_KEY, id=f"k{number}")) for number in range(keys)]
    limits = _open_store(clock)
    admitted: list[float] = []
    asked: list[float] = []
    while clock.now < 1130:
        clock.now = _PATTERNS[pattern](clock.now, chance)
        if pattern == "burst" and len(asked) % 1500 == 1499:
            clock.now += 10
        asked.append(clock.now)
        found = ask(limits, chance.choice(holders), b"%d" % len(asked))
        if isinstance(found, Grant):
            admitted.append(clock.now)
            limits.settle(found, 1, 0)
    most = _most_in_any_minute(admitted)
    print(
        json.dumps({"id": "L-1", "pattern": pattern, "rpm": rpm, "keys": keys, "max window": most, "asked": len(asked)})
    )
    assert most <= rpm
    ample = sum(1060 <= at < 1120 for at in asked) > rpm * 1.5 and pattern == "random"
    if ample:
        assert sum(1060 <= at < 1120 for at in admitted) >= rpm * 0.98


def _most_in_any_minute(times: list[float]) -> int:
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - 60:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_tokens_of_any_minute_hold_the_plan() -> None:
    """L-2: what was reserved, and later settled at less, is never more than the plan in any 60 s."""
    clock, chance = Clock(), random.Random(2)
    limits, who = _open_store(clock), principal(Plan("p", 5000, 150_000, 10**6, "postpaid"))
    running: list[tuple[Grant, float, int]] = []
    counted: list[list[float]] = []
    for number in range(6000):
        clock.now += chance.expovariate(30)
        reserved = chance.randint(100, 20_000)
        found = ask(limits, who, b"%d" % number, reserved)
        if isinstance(found, Grant):
            counted.append([clock.now, reserved])
            running.append((found, clock.now + chance.random() * 5, len(counted) - 1))
        while running and running[0][1] <= clock.now:
            grant, _, place = running.pop(0)
            took = chance.randint(1, int(counted[place][1]))
            limits.settle(grant, took, 0)
            counted[place][1] = took
        window = sum(tokens for at, tokens in counted if at > clock.now - 60)
        assert window <= 150_000
        assert limits.standing(who).remaining_tokens == 150_000 - window


def test_slots_never_exceed_the_plan_and_come_back_however_a_request_ends() -> None:
    """L-4 and L-5: 10,000 requests, settled once, twice, late or by a hang-up: at the end no slot is held."""
    clock, chance = Clock(), random.Random(4)
    plan = Plan("p", 10**6, 10**9, 50, "postpaid")
    who = principal(plan, key=msgspec.structs.replace(_KEY, concurrent=20))
    limits = _open_store(clock)
    running: list[Grant] = []
    for number in range(10_000):
        clock.now += 0.001
        found = ask(limits, who, b"%d" % number)
        if isinstance(found, Grant):
            running.append(found)
        else:
            assert (found.axis, found.scope) == ("concurrency", "key")
        assert len(running) <= 20
        while len(running) > chance.randint(0, 20):
            grant = running.pop(chance.randrange(len(running)))
            limits.settle(grant, chance.choice([0, 1, 5]), 0)
            limits.settle(grant, 99, 99)
    for grant in running:
        limits.settle(grant, 0, 0)
    assert limits.running == 0
    assert all(isinstance(ask(limits, who, b"x%d" % number), Grant) for number in range(20))


def test_slot_of_a_holder_that_vanished_comes_back_within_30_seconds() -> None:
    """A lease that is not renewed ends; one that is renewed does not."""
    clock = Clock()
    limits, who = _open_store(clock), principal(Plan("p", 1000, 10**6, 1, "postpaid"))
    kept = ask(limits, who, b"kept")
    assert isinstance(kept, Grant)
    for _ in range(6):
        clock.now += limits.sweep()
        assert isinstance(ask(limits, who, b"other"), Refusal)
    limits._running.clear()  # its task is gone, nobody renews
    clock.now += 30.1
    assert isinstance(ask(limits, who, b"other"), Grant)


def test_refusal_on_one_axis_takes_nothing_on_the_others() -> None:
    """All or nothing: after refusals of every kind the books are as they were."""
    clock = Clock()
    plan = Plan("p", 2, 100, 2, "prepaid")
    who = principal(plan, key=msgspec.structs.replace(_KEY, daily_cap=50), granted=100)
    limits = _open_store(clock, who)
    for tokens, nano, axis in ((101, 0, "tokens"), (10, 101, "credit"), (10, 51, "daily_cap")):
        found = ask(limits, who, b"r", tokens, nano)
        assert isinstance(found, Refusal)
        assert found.axis == axis
    assert limits.standing(who).remaining_requests == 2
    assert limits.standing(who).remaining_tokens == 100
    assert limits.credit(who) == 100
    assert limits.running == 0


def test_tighter_of_account_and_key_is_what_the_client_is_told() -> None:
    """On each axis by itself."""
    clock = Clock()
    who = principal(key=msgspec.structs.replace(_KEY, rpm=10))
    limits = _open_store(clock)
    ask(limits, who, b"1", 100)
    standing = limits.standing(who)
    assert (standing.limit_requests, standing.remaining_requests) == (10, 9)
    assert (standing.limit_tokens, standing.remaining_tokens) == (150_000, 149_900)


def _record(number: int, cost: int, age: float, clock: Clock) -> UsageRecord:
    at = int((clock.wall() - age) * 1000)
    tokens = (10, 0, 5, 0)
    return UsageRecord(f"r{number}", "settled", "a1", "k1", "m", "up", "x", 200, False, at, 0, 0, *tokens, cost, 0, 1)


def test_start_remembers_the_last_minute_and_what_the_ledger_has_not_booked() -> None:
    """A restart gives nobody a second plan, nor his credit twice."""
    clock = Clock()
    who = principal(granted=1000, spent=300, spent_month=200)
    limits = MemoryLimits(clock, clock.wall)
    ages = (300.0, 50.0, 40.0, 30.0)
    limits.recover((number, _record(number, 10, age, clock)) for number, age in enumerate(ages, 1))
    snapshot = Snapshot(1, accounts=(who.account,), keys=(who.key,), applied={_JOURNAL: 2}, as_of_day=_DAY)
    with pytest.raises(LedgerUnavailable):
        ask(limits, who, b"early", 1, 1)
    limits.anchor(View(snapshot), _JOURNAL)
    standing = limits.standing(who)
    assert (standing.remaining_requests, standing.remaining_tokens) == (57, 150_000 - 45)
    assert limits.credit(who) == 1000 - 300 - 2 * 10, "two of the four records were booked already"


def test_start_knows_what_somebody_spent_whose_last_record_is_older_than_a_minute() -> None:
    """Not booked yet, for the control plane was away: it adds to what was spent before, and does not stand for it."""
    clock = Clock()
    who = principal(granted=1000, spent=300, spent_month=200)
    limits = MemoryLimits(clock, clock.wall)
    limits.recover([(7, _record(7, 10, 300.0, clock))])
    limits.anchor(View(Snapshot(1, accounts=(who.account,), keys=(who.key,), as_of_day=_DAY)), _JOURNAL)
    assert limits.credit(who) == 1000 - 300 - 10


def test_what_is_spent_before_control_is_heard_is_counted() -> None:
    """Without credit or caps nothing waits for the control plane; what is spent meanwhile adds to what it tells."""
    clock = Clock()
    who = principal(Plan("p", 60, 10**6, 5, "postpaid"), spent=300, spent_month=200)
    limits = MemoryLimits(clock, clock.wall)
    grant = ask(limits, who, b"1", 1, 50)
    assert isinstance(grant, Grant)
    limits.settle(grant, 1, 40)
    capped = msgspec.structs.replace(who.account, monthly_cap=250)
    limits.anchor(View(Snapshot(1, accounts=(capped,), keys=(who.key,), as_of_day=_DAY)), _JOURNAL)
    later = make_principal(who.key, capped, who.plan)
    assert isinstance(ask(limits, later, b"2", 1, 10), Grant)
    assert isinstance(ask(limits, later, b"3", 1, 1), Refusal), "200, 40 and 10 of 250"


def test_later_snapshots_do_not_count_spending_twice() -> None:
    """The store counts by itself from its anchor on; the ledger follows, and its figures are of the past."""
    clock = Clock()
    who = principal(granted=1000)
    limits = _open_store(clock, who)
    grant = ask(limits, who, b"1", 1, 100)
    assert isinstance(grant, Grant)
    assert limits.credit(who) == 900
    limits.settle(grant, 1, 60)
    assert limits.credit(who) == 940
    booked = msgspec.structs.replace(who.account, spent=60)
    limits.anchor(View(Snapshot(2, accounts=(booked,), as_of_day=_DAY)), _JOURNAL)
    assert limits.credit(who) == 940


def test_credit_that_is_not_known_yet_is_not_told() -> None:
    """Until the control plane was heard: the limits are told all the same, and of caps only how high they are."""
    clock = Clock()
    who = principal(key=msgspec.structs.replace(_KEY, daily_cap=10**9, rpm=9), granted=10**10, spent=10**9)
    limits = MemoryLimits(clock, clock.wall)
    told = limits.survey(who)
    assert (told.credit, told.caps) == (None, [SpendingCap("key", "day", "1.00", None, None)])
    assert told.account.requests == MinuteLimit(60, 0, 60, 0.0)
    limits.anchor(View(Snapshot(1, accounts=(who.account,), keys=(who.key,), as_of_day=_DAY)), _JOURNAL)
    told = limits.survey(who)
    assert (told.credit, told.caps) == ("9.00", [SpendingCap("key", "day", "1.00", "0.00", "1.00")])
    assert told.key == KeyLimits(MinuteLimit(9, 0, 9, 0.0), None, None)


def test_refusals_are_forgotten_after_an_hour() -> None:
    """Neither are they told any more, nor does the store keep them."""
    clock = Clock()
    limits, who = _open_store(clock), principal(Plan("p", 1, 100, 1, "postpaid"))
    assert isinstance(ask(limits, who, b"1"), Grant)
    found = ask(limits, who, b"2")
    assert isinstance(found, Refusal)
    assert limits.survey(who).refused == [], "nobody was told yet"
    limits.refused(who, found, "gpt-4o")
    at = clock.wall()
    for later, told in ((0.0, 1), (3599.0, 1), (1.0, 0)):
        clock.now += later
        limits.sweep()
        assert limits.survey(who).refused == [RefusedRequest(at, "requests", "account", "h", "gpt-4o", 60)] * told
    assert len(limits._refused) == 0


def test_caps_begin_anew_with_their_period() -> None:
    """A daily cap at midnight UTC, a monthly one with the month."""
    clock = Clock()
    who = principal(
        Plan("p", 1000, 10**6, 5, "postpaid"), key=msgspec.structs.replace(_KEY, daily_cap=100, spent_day=95)
    )
    limits = _open_store(clock, who)
    found = ask(limits, who, b"1", 1, 10)
    assert isinstance(found, Refusal)
    assert found.axis == "daily_cap"
    clock.now += 86_400
    assert isinstance(ask(limits, who, b"1", 1, 10), Grant)


def test_cost_beyond_the_hold_is_charged_as_far_as_credit_goes() -> None:
    """An upstream that counts more than was held cannot take an account below zero."""
    clock = Clock()
    who = principal(granted=100)
    limits = _open_store(clock, who)
    first, second = ask(limits, who, b"1", 1, 50), ask(limits, who, b"2", 1, 30)
    assert isinstance(first, Grant)
    assert isinstance(second, Grant)
    assert limits.cover(first, 90) == 70, "50 held and the 20 that nobody holds"
    limits.settle(first, 1, 70)
    assert limits.cover(second, 10) == 10
    limits.settle(second, 1, 10)
    assert limits.credit(who) == 20


def test_store_never_waits() -> None:
    """Its coroutine ends in its first step, so that a request costs no turn of the loop."""
    clock = Clock()
    limits, who = _open_store(clock), principal()
    assert isinstance(asyncio.run(limits.admit(Claim(b"1", who, 1, 0))), Grant)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.001, 20), st.integers(1, 60)), min_size=1, max_size=40),
    st.integers(1, 8),
    st.integers(60, 200),
    st.one_of(st.none(), st.integers(1, 8)),
    st.one_of(st.none(), st.integers(60, 200)),
)
def test_who_waits_what_he_was_told_is_admitted(
    asked: list[tuple[float, int]], rpm: int, tpm: int, key_rpm: int | None, key_tpm: int | None
) -> None:
    """The wait of a refusal is that of the axis which lasts longest, of account and key; it is 60 s at most."""
    clock = Clock()
    who = principal(Plan("p", rpm, tpm, 50, "postpaid"), key=msgspec.structs.replace(_KEY, rpm=key_rpm, tpm=key_tpm))
    limits = _open_store(clock)
    for number, (pause, tokens) in enumerate(asked):
        clock.now += pause
        found = ask(limits, who, b"%d" % number, tokens)
        if isinstance(found, Refusal):
            assert found.wait is not None
            assert found.wait <= 60
            clock.now += math.ceil(found.wait * 1000) / 1000 + 1e-9  # as `retry-after-ms` tells it, rounding aside
            found = ask(limits, who, b"%d" % number, tokens)
        assert isinstance(found, Grant)
        limits.settle(found, tokens, 0)


def test_refusal_that_waiting_does_not_end_is_told_first() -> None:
    """No credit and no requests left: a client that waited for the requests would only hear of the credit then."""
    clock = Clock()
    who = principal(Plan("p", 1, 100, 5, "prepaid"), granted=10)
    limits = _open_store(clock, who)
    grant = ask(limits, who, b"1", 1, 10)
    assert isinstance(grant, Grant)
    found = ask(limits, who, b"2", 1, 10)
    assert isinstance(found, Refusal)
    assert (found.axis, found.wait) == ("requests", 60.0), "the credit is only held"
    limits.settle(grant, 1, 10)
    found = ask(limits, who, b"3", 1, 10)
    assert isinstance(found, Refusal)
    assert (found.axis, found.wait) == ("credit", None)
