"""What every limit store does, in memory and in Redis: the same questions at the same times have the same answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from gateways import Clock, GatewayOnRedis, Ledger, drive

from techstone.adapters.limits.memory import MemoryLimits
from techstone.core.limits import Claim, Grant, Refusal
from techstone.core.snapshot import Account, Key, Plan, Snapshot
from techstone.core.view import View, make_principal
from techstone.gateway.soon import arrive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis_server import RedisServer

    from techstone.core.view import Principal

_KEY = Key("k1", "0" * 64, "a1", "n", "h")


class Store:
    """One store, with the ways in that the tests need. Its clock is moved."""

    def __init__(self, clock: Clock, gateway: GatewayOnRedis | None) -> None:
        self.clock = clock
        self._gateway = gateway
        self.limits = gateway.limits if gateway is not None else MemoryLimits(clock, clock.wall)
        if isinstance(self.limits, MemoryLimits):
            self.limits.anchor(View(Snapshot(1, as_of_day=20_000)), "j" * 16)

    async def ask(self, who: Principal, request: bytes, tokens: int = 1, nano: int = 0) -> Grant | Refusal:
        return await drive(self.limits.admit(Claim(request, who, tokens, nano)))

    async def grant(self, who: Principal, request: bytes, tokens: int = 1, nano: int = 0) -> Grant:
        found = await self.ask(who, request, tokens, nano)
        assert isinstance(found, Grant)
        return found

    async def refusal(self, who: Principal, request: bytes, tokens: int = 1, nano: int = 0) -> Refusal:
        found = await self.ask(who, request, tokens, nano)
        assert isinstance(found, Refusal)
        return found

    async def end(self, grant: Grant, tokens: int, cost: int = 0) -> None:
        """Settle, and wait until that is in force."""
        if self._gateway is None:
            self.limits.settle(grant, tokens, cost)
        else:
            self._gateway.end(grant, tokens, cost)
            await self._gateway.limits.look(grant.claim.principal)


@pytest.fixture(params=["memory", "Redis"])
async def store(request: pytest.FixtureRequest, redis: RedisServer) -> AsyncIterator[Store]:
    clock = Clock()
    if request.param == "memory":
        yield Store(clock, None)
        return
    gateway = GatewayOnRedis(redis, "g", Ledger(), clock)
    try:
        await gateway.ready()
        yield Store(clock, gateway)
    finally:
        await gateway.close()


def principal(plan: Plan, *, granted: int = 0, **key: int) -> Principal:
    account = Account("a1", "a@x", plan.name, granted=granted)
    return make_principal(msgspec.structs.replace(_KEY, **key), account, plan)


async def test_refusal_on_one_axis_takes_nothing_on_the_others(store: Store) -> None:
    """All or nothing: after refusals of every kind the next request finds all of the plan."""
    who = principal(Plan("p", 2, 100, 2, "prepaid"), granted=100, daily_cap=50)
    for tokens, nano, axis in ((101, 0, "tokens"), (10, 101, "credit"), (10, 51, "daily_cap")):
        assert (await store.refusal(who, b"r", tokens, nano)).axis == axis
    assert await arrive(store.limits.credit(who)) == 100
    assert store.limits.running == 0
    await store.grant(who, b"1", 100)
    standing = store.limits.standing(who)
    assert (standing.remaining_requests, standing.remaining_tokens) == (1, 0)


async def test_tighter_of_account_and_key_is_what_the_client_is_told(store: Store) -> None:
    """On each axis by itself."""
    who = principal(Plan("p", 60, 150_000, 5, "postpaid"), rpm=10)
    await store.grant(who, b"1", 100)
    standing = store.limits.standing(who)
    assert (standing.limit_requests, standing.remaining_requests) == (10, 9)
    assert (standing.limit_tokens, standing.remaining_tokens) == (150_000, 149_900)


async def test_what_was_reserved_and_not_taken_is_there_for_the_next(store: Store) -> None:
    """Also by a request whose end is told twice, or that took more than it had reserved."""
    who = principal(Plan("p", 60, 100, 5, "postpaid"))
    for request, took, left in ((b"1", 20, 80), (b"2", 0, 80), (b"3", 90, -10)):
        grant = await store.grant(who, request, 80)
        for _ in range(2):
            await store.end(grant, took)
        assert store.limits.standing(who).remaining_tokens == max(0, left)
    refusal = await store.refusal(who, b"4", 1)
    assert (refusal.axis, refusal.wait) == ("tokens", 60.0)
    store.clock.now += 60
    await store.grant(who, b"5", 100)


@pytest.mark.parametrize("rpm", [3, 6000])
async def test_wait_that_is_told_is_true(store: Store, rpm: int) -> None:
    """A moment before it is over the request is refused, then admitted; above 5,000 a minute as well."""
    who = principal(Plan("p", rpm, 30, 50, "postpaid"))
    for number in range(3):
        await store.end(await store.grant(who, b"%d" % number, 10), 10)
        store.clock.now += 5
    refusal = await store.refusal(who, b"r", 10)
    assert refusal.wait == 45.0
    store.clock.now += 44.999
    assert isinstance(await store.ask(who, b"r", 10), Refusal)
    store.clock.now += 0.001
    await store.grant(who, b"r", 10)


async def test_slots_come_back_with_the_end(store: Store) -> None:
    """The tighter of account and key; what is settled twice gives one slot back."""
    who = principal(Plan("p", 60, 1000, 5, "postpaid"), concurrent=2)
    first, _ = [await store.grant(who, name) for name in (b"1", b"2")]
    refusal = await store.refusal(who, b"3")
    assert (refusal.axis, refusal.scope, refusal.wait) == ("concurrency", "key", 1.0)
    for _ in range(2):
        await store.end(first, 1)
    await store.grant(who, b"3")
    assert isinstance(await store.ask(who, b"4"), Refusal)


async def test_cost_beyond_the_hold_is_charged_as_far_as_credit_goes(store: Store) -> None:
    """An upstream that counts more than was held cannot take an account below zero."""
    who = principal(Plan("p", 60, 1000, 5, "prepaid"), granted=100)
    first, second = await store.grant(who, b"1", 1, 50), await store.grant(who, b"2", 1, 30)
    assert await arrive(store.limits.cover(first, 90)) == 70, "50 held and the 20 that nobody holds"
    await store.end(first, 1, 70)
    assert await arrive(store.limits.cover(second, 10)) == 10
    await store.end(second, 1, 10)
    assert await arrive(store.limits.credit(who)) == 20


async def test_more_is_had_while_it_runs_or_refused(store: Store) -> None:
    """Tokens and credit together or neither; the end gives back what was had on the way, too."""
    who = principal(Plan("p", 60, 100, 5, "prepaid"), granted=100)
    grant = await store.grant(who, b"1", 40, 40)
    assert await arrive(store.limits.top_up(grant, 40, 40)) is None
    refusal = await arrive(store.limits.top_up(grant, 20, 40))
    assert refusal is not None
    assert refusal.axis == "credit"
    assert await arrive(store.limits.credit(who)) == 20
    await store.end(grant, 10, 10)
    assert await arrive(store.limits.credit(who)) == 90
    await store.grant(who, b"2", 90)


async def test_refusal_that_waiting_does_not_end_is_told_first(store: Store) -> None:
    """No credit and no requests left: a client that waited for the requests would only hear of the credit then."""
    who = principal(Plan("p", 1, 100, 5, "prepaid"), granted=10)
    grant = await store.grant(who, b"1", 1, 10)
    assert (await store.refusal(who, b"2", 1, 10)).axis == "requests", "the credit is only held"
    await store.end(grant, 1, 10)
    refusal = await store.refusal(who, b"3", 1, 10)
    assert (refusal.axis, refusal.wait) == ("credit", None)


async def test_credit_that_running_requests_hold_is_worth_waiting_for(store: Store) -> None:
    """They mostly cost less than is held for them; what not even that would cover is not."""
    who = principal(Plan("p", 60, 1000, 5, "prepaid"), granted=100)
    grant = await store.grant(who, b"1", 1, 90)
    assert [(await store.refusal(who, b"2", 1, nano)).wait for nano in (11, 100, 101)] == [1.0, 1.0, None]
    await store.end(grant, 1, 5)
    await store.grant(who, b"3", 1, 95)


async def test_daily_cap_begins_anew_at_midnight(store: Store) -> None:
    """UTC, by the store's own clock."""
    who = principal(Plan("p", 60, 1000, 5, "postpaid"), daily_cap=100)
    await store.end(await store.grant(who, b"1", 1, 95), 1, 95)
    assert (await store.refusal(who, b"2", 1, 10)).axis == "daily_cap"
    store.clock.now += 86_400
    await store.grant(who, b"2", 1, 10)
