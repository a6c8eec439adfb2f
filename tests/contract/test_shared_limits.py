"""Limits in a real Redis: rows L-1 to L-5, M-7, T-4 and F-1, with 1, 2 and 4 gateways on one account."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING

import msgspec
import pytest
from gateways import Clock, GatewayOnRedis, Ledger, drive, serve_gateways
from redis_server import RedisServer

from techstone.adapters.limits.connection import PATIENCE
from techstone.core.errors import LedgerUnavailable
from techstone.core.limits import Claim, Grant, Refusal
from techstone.core.snapshot import Account, Key, Plan
from techstone.core.view import make_principal

if TYPE_CHECKING:
    from techstone.core.view import Principal

_KEY = Key("k1", "0" * 64, "a1", "n", "h")


def principal(plan: Plan, *, granted: int = 0, key: Key = _KEY) -> Principal:
    return make_principal(key, Account("a1", "a@x", plan.name, granted=granted), plan)


def _most_in_any_minute(times: list[float]) -> int:
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - 60:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("sticky", [False, True])
async def test_any_minute_holds_the_plan_whoever_is_asked(redis: RedisServer, count: int, sticky: bool) -> None:  # noqa: FBT001
    """L-1 and L-3, 130 s of virtual time: the plan and not one more in any 60 s, with however many gateways."""
    clock, chance = Clock(), random.Random(count)
    who = principal(Plan("p", 60, 10**9, 10**6, "postpaid"))
    admitted: list[float] = []
    async with serve_gateways(redis, count, clock=clock) as gateways:
        for number in range(1200):
            clock.now += chance.expovariate(1200 / 130)
            place = number * count // 1200 if sticky else number % count
            found = await gateways[place].ask(who, b"%d" % number)
            if isinstance(found, Grant):
                admitted.append(clock.now)
                gateways[place].limits.settle(found, 1, 0)
    most = _most_in_any_minute(admitted)
    print(json.dumps({"id": "L-1", "gateways": count, "sticky": sticky, "max window": most}))
    assert most == 60


@pytest.mark.parametrize("count", [1, 2, 4])
async def test_tokens_of_any_minute_hold_the_plan(redis: RedisServer, count: int) -> None:
    """L-2: what was reserved, and settled at less since, never passes the plan."""
    clock, chance = Clock(), random.Random(count)
    who = principal(Plan("p", 5000, 150_000, 10**6, "postpaid"))
    running: list[tuple[GatewayOnRedis, Grant, list[float]]] = []
    counted: list[list[float]] = []
    most = 0.0
    async with serve_gateways(redis, count, clock=clock) as gateways:
        for number in range(800):
            clock.now += chance.expovariate(10)
            gateway, reserved = chance.choice(gateways), chance.randint(100, 20_000)
            found = await gateway.ask(who, b"%d" % number, reserved)
            if isinstance(found, Grant):
                counted.append([clock.now, reserved])
                running.append((gateway, found, counted[-1]))
            if running and chance.random() < 0.6:
                gateway, grant, entry = running.pop(chance.randrange(len(running)))
                entry[1] = chance.randint(0, grant.claim.tokens)
                gateway.limits.settle(grant, int(entry[1]), 0)
                await asyncio.sleep(0.001)
            most = max(most, sum(tokens for at, tokens in counted if at + 60 > clock.now))
    print(json.dumps({"id": "L-2", "gateways": count, "max window": most}))
    assert 140_000 < most <= 150_000


@pytest.mark.parametrize("count", [1, 2, 4])
async def test_slots_are_shared_and_free_at_once(redis: RedisServer, count: int) -> None:
    """L-4: never more at a time than the plan, and what one gateway gives back another may take at once."""
    who = principal(Plan("p", 10**4, 10**9, 5, "postpaid"))
    async with serve_gateways(redis, count) as gateways:
        found = await asyncio.gather(*(gateways[n % count].ask(who, b"%d" % n) for n in range(200)))
        granted = [(gateways[n % count], grant) for n, grant in enumerate(found) if isinstance(grant, Grant)]
        assert len(granted) == 5
        gateway, grant = granted[0]
        gateway.limits.settle(grant, 1, 0)
        await gateway.limits.look(who)  # its end is there, as what follows on the connection is answered
        assert isinstance(await gateways[-1].ask(who, b"next"), Grant)
        assert isinstance(await gateways[0].ask(who, b"one more"), Refusal)


async def test_slots_of_a_killed_gateway_come_back_within_a_lease(redis: RedisServer) -> None:
    """L-5: nobody renews them, so they end in 30 s; who is there keeps his for as long as he renews."""
    clock, who = Clock(), principal(Plan("p", 100, 10**9, 2, "postpaid"))
    async with serve_gateways(redis, 2, clock=clock) as (one, other):
        assert isinstance(await one.ask(who, b"1"), Grant)
        assert isinstance(await other.ask(who, b"2"), Grant)
        await one.close()
        for _ in range(2):
            clock.now += 10
            other.limits.sweep()
            assert isinstance(await other.ask(who, b"3"), Refusal)
        clock.now += 10
        other.limits.sweep()
        assert isinstance(await other.ask(who, b"3"), Grant)
        assert isinstance(await other.ask(who, b"4"), Refusal)


@pytest.mark.parametrize("count", [1, 2, 4])
async def test_credit_is_never_overdrawn(redis: RedisServer, count: int) -> None:
    """M-7: of 200 requests at once exactly as many are admitted as the balance pays for, on any number of gateways."""
    ledger, each, paid = Ledger(), 10, 37
    who = principal(Plan("p", 10**4, 10**9, 10**4, "prepaid"), granted=each * paid)
    async with serve_gateways(redis, count, ledger) as gateways:
        for gateway in gateways:
            await gateway.ready()
        found = await asyncio.gather(*(gateways[n % count].ask(who, b"%d" % n, 1, each) for n in range(200)))
        granted = [(gateways[n % count], grant) for n, grant in enumerate(found) if isinstance(grant, Grant)]
        print(json.dumps({"id": "M-7", "gateways": count, "admitted": len(granted), "overdraft": 0}))
        assert len(granted) == paid
        assert ledger.asked <= count
        for gateway, grant in granted[:10]:
            number = gateway.end(grant, 1, 4)
            ledger.book(gateway.journal, number, 4)
        for gateway in gateways:
            await gateway.limits.look(who)  # what it sent before is there
        assert await gateways[0].limits.credit(who) == 60
        more = await asyncio.gather(*(gateways[n % count].ask(who, b"m%d" % n, 1, each) for n in range(50)))
        assert sum(isinstance(grant, Grant) for grant in more) == 6


async def test_redis_that_forgot_is_closed_for_credit_until_all_have_said_their_part(redis: RedisServer) -> None:
    """F-1, FLUSHALL: what was settled and not booked, and what runs, counts again; nothing twice, nothing is missed."""
    ledger = Ledger()
    who = principal(Plan("p", 10**4, 10**9, 10**4, "prepaid"), granted=100)
    async with serve_gateways(redis, 2, ledger) as (one, other):
        await one.ready()
        await other.ready()
        grants = [
            grant
            for gateway, name in ((one, b"1"), (other, b"2"), (other, b"3"))
            if isinstance(grant := await gateway.ask(who, name, 1, 10), Grant)
        ]
        assert len(grants) == 3
        first = one.end(grants[0], 1, 7)
        other.end(grants[1], 1, 5)
        await other.limits.look(who)
        ledger.book(one.journal, first, 7)  # booked, but the gateway was not told yet
        assert await one.limits.credit(who) == 100 - 7 - 5 - 10
        redis.ask("FLUSHALL")
        await one.until(lambda: not one.link.ready)
        with pytest.raises(LedgerUnavailable):
            await one.ask(who, b"4", 1, 10)
        await one.ready()
        await other.ready()
        assert isinstance(await one.ask(who, b"5", 1, 10), Grant)
        assert await other.limits.credit(who) == 100 - 7 - 5 - 10 - 10
        other.end(grants[2], 1, 1)
        await other.limits.look(who)
        assert await one.limits.credit(who) == 100 - 7 - 5 - 1 - 10


async def test_hang_up_while_asked_leaks_nothing_and_reaches_nobody_else(redis: RedisServer) -> None:
    """T-4: who hangs up at any moment holds nothing afterwards, and every other hears the answer to his own call."""
    who = principal(Plan("p", 10**5, 10**9, 10**4, "postpaid"))
    chance = random.Random(4)
    async with serve_gateways(redis, 1) as (gateway,):
        asked = []
        for number in range(600):
            asked.append(gateway.begin(who, b"r%d" % number, number + 1))
            if chance.random() < 0.3:
                await asyncio.sleep(0)
            for _, request in asked[-3:]:
                if chance.random() < 0.2:
                    request.cancel()
        await gateway.limits.look(who)  # all before it is answered
        for number, (found, _) in enumerate(asked):
            for grant in found:
                assert isinstance(grant, Grant)
                assert (grant.claim.request, grant.claim.tokens) == (b"r%d" % number, number + 1)
                gateway.limits.settle(grant, 0, 0)
        seen = await gateway.limits.look(who)
        assert seen is not None
        assert sum(not found for found, _ in asked) > 50
        assert (seen.account_slots, seen.standing.tokens, gateway.limits.running) == (0, 0, 0)


async def test_stream_that_ends_while_it_asks_for_more_gives_all_back(redis: RedisServer) -> None:
    """The end waits for the answer, whose entry of the window it lowers."""
    who = principal(Plan("p", 100, 10_000, 5, "postpaid"))
    async with serve_gateways(redis, 1) as (gateway,):
        grant = await gateway.ask(who, b"1", 100)
        assert isinstance(grant, Grant)
        more = gateway.limits.top_up(grant, 1000, 0)
        gateway.limits.settle(grant, 30, 0)
        assert isinstance(more, asyncio.Future)
        assert await more is None
        seen = await gateway.limits.look(who)
        assert seen is not None
        assert (seen.standing.tokens, seen.account_slots) == (30, 0)


async def test_charge_does_not_wait_for_an_end_that_does(redis: RedisServer) -> None:
    """The end of a stream that asks for more waits; its charge is counted before those with higher numbers."""
    who = principal(Plan("p", 100, 10_000, 5, "prepaid"), granted=100)
    async with serve_gateways(redis, 1) as (gateway,):
        await gateway.ready()
        first, second = [await gateway.ask(who, name, 100, 10) for name in (b"1", b"2")]
        assert isinstance(first, Grant)
        assert isinstance(second, Grant)
        gateway.limits.top_up(first, 100, 5)
        gateway.end(first, 30, 7)
        gateway.end(second, 30, 4)
        await gateway.limits.look(who)
        assert await gateway.limits.credit(who) == 100 - 7 - 4
        assert gateway.limits.running == 0


async def test_each_gateway_gives_its_part_while_redis_is_dead(tmp_path_factory: pytest.TempPathFactory) -> None:
    """F-1, SIGKILL: half a plan each, credit refused, and what was given counts once Redis is back, new and empty."""
    server = RedisServer(tmp_path_factory.mktemp("mortal"))
    server.start()
    who = principal(Plan("p", 20, 10**9, 100, "postpaid"))
    prepaid = principal(Plan("q", 20, 10**9, 100, "prepaid"), granted=10**9)
    try:
        async with serve_gateways(server, 2) as gateways:
            server.kill()
            for place, gateway in enumerate(gateways):
                found = [await gateway.ask(who, b"%d-%d" % (place, number)) for number in range(20)]
                assert sum(isinstance(grant, Grant) for grant in found) == 10
                with pytest.raises(LedgerUnavailable):
                    await gateway.ask(prepaid, b"p%d" % place, 1, 5)
                assert len(gateway.told) == 1
                for grant in found[:5]:
                    assert isinstance(grant, Grant)
                    gateway.limits.settle(grant, 1, 0)
            server.start()
            began = asyncio.get_running_loop().time()
            for gateway in gateways:
                await gateway.connected()
            took = asyncio.get_running_loop().time() - began
            await gateways[0].until(lambda: all(gateway.link.gateways == 2 for gateway in gateways))
            seen = await gateways[0].limits.look(who)
            assert seen is not None
            assert (seen.standing.requests, seen.account_slots) == (20, 10)
            assert isinstance(await gateways[0].ask(who, b"last"), Refusal)
            print(json.dumps({"id": "F-1", "fault": "SIGKILL", "recovery seconds": round(took, 2)}))
            assert took <= 5
    finally:
        server.kill()


async def test_redis_that_hangs_costs_each_request_no_more_than_the_patience(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """F-1, SIGSTOP: calls that wait are decided here within 50 ms, all that follow at once; it returns by itself."""
    server = RedisServer(tmp_path_factory.mktemp("hanging"))
    server.start()
    who = principal(Plan("p", 1000, 10**9, 1000, "postpaid"))
    loop = asyncio.get_running_loop()
    try:
        async with serve_gateways(server, 1, patience=PATIENCE) as (gateway,):
            server.hang()
            began = loop.time()
            found = await asyncio.gather(*(gateway.ask(who, b"%d" % number) for number in range(50)))
            waited = loop.time() - began
            assert all(isinstance(grant, Grant) for grant in found)
            assert gateway.limits.degraded
            assert waited < 0.5, "50 ms, and what a busy machine adds"
            await asyncio.sleep(1.2)  # Redis is tried again meanwhile; requests do not wait for that
            assert isinstance(await gateway.ask(who, b"alone"), Grant)
            server.go_on()
            began = loop.time()
            await gateway.connected()
            back = loop.time() - began
            print(json.dumps({"id": "F-1", "fault": "SIGSTOP", "waited": round(waited, 3), "recovery": round(back, 2)}))
            assert back <= 5
            seen = await gateway.limits.look(who)
            assert seen is not None
            assert seen.account_slots == 51
    finally:
        server.go_on()
        server.kill()


async def test_key_with_limits_of_its_own_shares_them_too(redis: RedisServer) -> None:
    """The tighter of account and key decides, on every gateway, and is what the client is told."""
    key = msgspec.structs.replace(_KEY, id="k2", rpm=3)
    who = principal(Plan("p", 100, 10**6, 50, "postpaid"), key=key)
    async with serve_gateways(redis, 2) as gateways:
        found = [await gateways[number % 2].ask(who, b"%d" % number) for number in range(5)]
        assert [isinstance(grant, Grant) for grant in found] == [True, True, True, False, False]
        assert isinstance(found[3], Refusal)
        assert (found[3].axis, found[3].scope) == ("requests", "key")
        for gateway in gateways:
            standing = gateway.limits.standing(who)
            assert (standing.limit_requests, standing.remaining_requests) == (3, 0)
            told = await gateway.limits.survey(who)
            assert told.key is not None
            assert told.key.requests is not None
            assert (told.account.requests.used, told.key.requests.used) == (3, 3)


async def test_dry_run_takes_nothing(redis: RedisServer) -> None:
    """`consider` says what `admit` would, and leaves all as it was."""
    who = principal(Plan("p", 1, 10**6, 1, "postpaid"))
    async with serve_gateways(redis, 1) as (gateway,):
        for _ in range(3):
            assert await drive(gateway.limits.consider(Claim(b"c", who, 5, 0))) is None
        assert isinstance(await gateway.ask(who, b"1"), Grant)
        refusal = await drive(gateway.limits.consider(Claim(b"c", who, 5, 0)))
        assert refusal is not None
        assert refusal.axis == "requests"


@pytest.mark.parametrize("jump", [-3600.0, -30.0, 30.0, 3600.0])
async def test_clock_of_redis_that_jumps_locks_nobody_out_and_gives_one_plan_at_most(
    redis: RedisServer, jump: float
) -> None:
    """L-6: set back, what was admitted counts a minute from now on; set forward, it is over, once."""
    clock, who = Clock(10_000.0), principal(Plan("p", 20, 10**9, 10**6, "postpaid"))
    async with serve_gateways(redis, 1, clock=clock) as (gateway,):
        for number in range(20):
            assert isinstance(await gateway.ask(who, b"%d" % number), Grant)
            clock.now += 0.5
        clock.now += jump
        extra = 0
        while isinstance(found := await gateway.ask(who, b"x%d" % extra), Grant):
            extra += 1
        assert extra <= 20
        assert found.wait is not None
        assert found.wait <= 60
        clock.now += 60
        again = [await gateway.ask(who, b"y%d" % number) for number in range(21)]
        assert [isinstance(one, Grant) for one in again] == [True] * 20 + [False]
        print(json.dumps({"id": "L-6", "n": jump, "violations": 0, "figure": {"extra": extra}, "pass": True}))


async def test_slots_of_a_killed_gateway_come_back_also_where_the_clock_was_set_back(redis: RedisServer) -> None:
    """L-6: within a lease of what the clock says then, not an hour later."""
    clock, who = Clock(10_000.0), principal(Plan("p", 100, 10**9, 1, "postpaid"))
    async with serve_gateways(redis, 2, clock=clock) as (one, other):
        assert isinstance(await one.ask(who, b"1"), Grant)
        await one.close()
        clock.now -= 3600
        assert isinstance(await other.ask(who, b"2"), Refusal)
        clock.now += 30.1
        assert isinstance(await other.ask(who, b"2"), Grant)


async def test_way_that_comes_and_goes_gives_a_part_once_a_minute(tmp_path_factory: pytest.TempPathFactory) -> None:
    """F-1: what a gateway gave without Redis counts also the next time that it is without it."""
    server = RedisServer(tmp_path_factory.mktemp("flapping"))
    server.start()
    who = principal(Plan("p", 20, 10**9, 100, "postpaid"))
    try:
        async with serve_gateways(server, 2) as gateways:
            granted = 0
            for time in range(3):
                server.kill()
                found = [await gateways[0].ask(who, b"%d-%d" % (time, number)) for number in range(20)]
                granted += sum(isinstance(grant, Grant) for grant in found)
                server.start()
                for gateway in gateways:
                    await gateway.connected()
            assert granted == 10
    finally:
        server.kill()


async def test_part_is_no_larger_while_the_others_are_not_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    """F-1: the first one back at an empty Redis sees nobody else there, and still gives its half."""
    server = RedisServer(tmp_path_factory.mktemp("first"))
    server.start()
    who = principal(Plan("p", 20, 10**9, 100, "postpaid"))
    try:
        async with serve_gateways(server, 2) as (first, other):
            server.kill()
            await first.until(lambda: first.link.connection is None)
            await other.close()
            server.start()
            await first.connected()
            assert first.limits.degraded, "it waits for the other one"
            first.limits.sweep()
            found = [await first.ask(who, b"%d" % number) for number in range(20)]
            assert sum(isinstance(grant, Grant) for grant in found) == 10
    finally:
        server.kill()


async def test_what_was_given_alone_is_told_again_where_redis_dies_over_it(redis: RedisServer) -> None:
    """F-1: until Redis says that it has counted it, it has not."""
    who = principal(Plan("p", 20, 10**9, 100, "postpaid"))
    async with serve_gateways(redis, 1) as (gateway,):
        connection = gateway.link.connection
        assert connection is not None
        gateway.link.connection = None
        for number in range(5):
            assert isinstance(await gateway.ask(who, b"%d" % number), Grant)
        gateway.link.connection = connection
        gateway.link.tell(gateway.limits.give())
        connection.close("in the middle of it")
        await gateway.until(lambda: gateway.link.connection not in {None, connection})
        found = [await gateway.ask(who, b"more %d" % number) for number in range(20)]
        assert sum(isinstance(grant, Grant) for grant in found) == 15


async def test_redis_without_memory_decides_once_all_have_told_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """F-1: who is back first waits for the others, so that what they gave alone is not given again."""
    server = RedisServer(tmp_path_factory.mktemp("empty"))
    server.start()
    who = principal(Plan("p", 20, 10**9, 100, "postpaid"))
    try:
        async with serve_gateways(server, 2) as gateways:
            server.kill()
            for place, gateway in enumerate(gateways):
                found = [await gateway.ask(who, b"%d-%d" % (place, number)) for number in range(20)]
                assert sum(isinstance(grant, Grant) for grant in found) == 10
            server.start()
            number = 0
            while any(gateway.limits.degraded for gateway in gateways):
                for gateway in gateways:
                    number += 1
                    assert isinstance(await gateway.ask(who, b"more %d" % number), Refusal)
                await asyncio.sleep(0.005)
            assert isinstance(await gateways[0].ask(who, b"last"), Refusal)
            # One that does not come back is not waited for for long.
            server.kill()
            await gateways[1].close()
            server.start()
            await gateways[0].until(lambda: not gateways[0].limits.degraded, 5)
    finally:
        server.kill()
