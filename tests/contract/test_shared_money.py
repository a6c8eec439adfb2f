"""Money in a real Redis: what is held comes back, what was spent counts against later bounds, and how it begins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from gateways import Clock, GatewayOnRedis, Ledger, let_pass, serve_gateways
from redis_server import Client, RedisServer

from techstone.adapters.limits import script
from techstone.adapters.limits.anew import begin_anew
from techstone.adapters.limits.charges import Charge
from techstone.core.credit import Period
from techstone.core.limits import Grant, Refusal
from techstone.core.snapshot import Account, Key, Plan
from techstone.core.view import make_principal

if TYPE_CHECKING:
    from techstone.core.view import Principal
    from techstone.wire.figure import Figure

_KEY = Key("k1", "0" * 64, "a1", "n", "h")
_OTHER = Key("k2", "1" * 64, "a1", "n", "h")
_ACCOUNT = Account("a1", "a@x", "p")
_PREPAID = Plan("p", 10**4, 10**9, 10**3, "prepaid")
_POSTPAID = Plan("p", 10**4, 10**9, 10**3, "postpaid")
_DAY = 20_000


def prepaid(granted: int) -> Principal:
    return make_principal(_KEY, msgspec.structs.replace(_ACCOUNT, granted=granted), _PREPAID)


async def spend(gateway: GatewayOnRedis, ledger: Ledger, who: Principal, most: int, each: int = 1) -> int:
    """Have requests answered and booked until one is refused, or so many were; return how many were."""
    for number in range(most):
        found = await gateway.ask(who, b"%d-%d" % (id(who), number), 1, each)
        if isinstance(found, Refusal):
            return number
        ledger.book(gateway.journal, gateway.end(found, 1, each), each)
    return most


@pytest.mark.parametrize("quiet", [31.0, 125.0, 86_400.0])
async def test_credit_that_a_killed_gateway_held_comes_back(redis: RedisServer, quiet: float) -> None:
    """Its lease is over in 30 s; it comes back also where nobody asks for longer than Redis keeps windows."""
    clock, who = Clock(), prepaid(100)
    async with serve_gateways(redis, 2, clock=clock) as (one, other):
        await one.ready()
        await other.ready()
        assert isinstance(await one.ask(who, b"1", 1, 40), Grant)
        await one.close()
        assert isinstance(await other.ask(who, b"2", 1, 70), Refusal)
        let_pass(redis, clock, quiet)
        assert await other.limits.credit(who) == 100, "who looks is told so, too"
        assert isinstance(await other.ask(who, b"3", 1, 70), Grant)


async def test_credit_comes_back_where_others_of_the_account_have_no_bound(redis: RedisServer) -> None:
    """A key without a cap leaves leases as well, and must not have Redis forget those by which money is held."""
    clock, ledger = Clock(), Ledger()
    capped = make_principal(msgspec.structs.replace(_KEY, daily_cap=100), _ACCOUNT, _POSTPAID)
    free = make_principal(_OTHER, _ACCOUNT, _POSTPAID)
    async with serve_gateways(redis, 2, ledger, clock) as (one, other):
        await one.ready()
        await other.ready()
        assert isinstance(await one.ask(capped, b"1", 1, 40), Grant)
        for number in range(3):
            let_pass(redis, clock, 40)
            assert isinstance(await one.ask(free, b"f%d" % number, 1, 40), Grant)
        await one.close()
        let_pass(redis, clock, 125)
        assert isinstance(await other.ask(capped, b"2", 1, 70), Grant)


async def test_credit_of_an_end_that_was_lost_comes_back(redis: RedisServer) -> None:
    """A request that ends while the way to Redis is away tells its charge later; what it held is nobody's then."""
    clock, ledger, who = Clock(), Ledger(), prepaid(100)
    async with serve_gateways(redis, 1, ledger, clock) as (gateway,):
        await gateway.ready()
        grant = await gateway.ask(who, b"1", 1, 40)
        assert isinstance(grant, Grant)
        connection = gateway.link.connection
        assert connection is not None
        connection.close("a blip")
        ledger.book(gateway.journal, gateway.end(grant, 1, 1), 1)
        await gateway.connected()
        let_pass(redis, clock, 125)
        assert isinstance(await gateway.ask(who, b"2", 1, 99), Grant)


async def test_hold_without_a_lease_is_nobodys(redis: RedisServer) -> None:
    """One who was paused for longer than a lease, then held more and was killed, locks no credit."""
    clock, who = Clock(), prepaid(100)
    async with serve_gateways(redis, 2, clock=clock) as (one, other):
        await other.ready()
        grant = await one.ask(who, b"1", 1, 40)
        assert isinstance(grant, Grant)
        clock.now += 31
        assert isinstance(await other.ask(who, b"2", 1, 70), Grant)
        more = one.limits.top_up(grant, 0, 10)
        assert isinstance(more, asyncio.Future)
        assert await more is None
        await one.close()
        assert isinstance(await other.ask(who, b"3", 1, 30), Grant)


async def test_cap_that_is_set_later_knows_what_was_spent_without_one(redis: RedisServer) -> None:
    """Another key had a cap, so the account's money is in Redis: what this key spent counts there, too."""
    ledger = Ledger()
    capped = make_principal(msgspec.structs.replace(_KEY, daily_cap=10**6), _ACCOUNT, _POSTPAID)
    free = make_principal(_OTHER, _ACCOUNT, _POSTPAID)
    async with serve_gateways(redis, 1, ledger) as (gateway,):
        await gateway.ready()
        assert await spend(gateway, ledger, capped, 1) == 1
        assert await spend(gateway, ledger, free, 50) == 50
        both = make_principal(_OTHER, msgspec.structs.replace(_ACCOUNT, monthly_cap=60), _POSTPAID)
        assert await spend(gateway, ledger, both, 100) == 9
        own = make_principal(msgspec.structs.replace(_OTHER, monthly_cap=60), _ACCOUNT, _POSTPAID)
        assert await spend(gateway, ledger, own, 100) == 1
        assert ledger.asked == 1


async def test_credit_knows_what_was_spent_while_the_plan_was_postpaid(redis: RedisServer) -> None:
    """Prepaid, postpaid, prepaid again: nobody spends a credit that is spent."""
    ledger = Ledger()
    before = prepaid(20)
    meanwhile = make_principal(_KEY, before.account, _POSTPAID)
    async with serve_gateways(redis, 1, ledger) as (gateway,):
        await gateway.ready()
        assert await spend(gateway, ledger, before, 1) == 1
        assert await spend(gateway, ledger, meanwhile, 15) == 15
        assert await spend(gateway, ledger, before, 100) == 4


@pytest.mark.parametrize("whole", [True, False])
async def test_what_is_spent_without_a_bound_while_redis_is_away_counts_once(redis: RedisServer, whole: bool) -> None:  # noqa: FBT001
    """Its end is lost, so its charge is told when Redis is back, and in the order of numbers."""
    ledger = Ledger()
    before = prepaid(100)
    free = make_principal(_OTHER, before.account, _POSTPAID)
    async with serve_gateways(redis, 1, ledger) as (gateway,):
        await gateway.ready()
        grants = [await gateway.ask(who, b"%d" % n, 1, 10) for n, who in enumerate((before, free, before, free, free))]
        assert all(isinstance(grant, Grant) for grant in grants)
        connection = gateway.link.connection
        assert connection is not None
        for place, grant in enumerate(grants[:4]):
            assert isinstance(grant, Grant)
            gateway.end(grant, 1, 10, whole=whole)
            if place == 0:
                await gateway.limits.look(before)
            if place == 1:
                connection.close("a blip")
        await gateway.connected()
        assert isinstance(grants[4], Grant)
        gateway.end(grants[4], 1, 10, whole=whole)
        seen = await gateway.limits.look(before)
        assert seen is not None
        assert seen.spent == 50
        numbers = [charge.number for charge in gateway.charges]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("whole", [True, False])
async def test_account_without_a_bound_has_nothing_waiting_in_redis(redis: RedisServer, whole: bool) -> None:  # noqa: FBT001
    """Nobody would ever count it; also of streams that broke, whose record comes after their end."""
    ledger, who = Ledger(), make_principal(_KEY, _ACCOUNT, _POSTPAID)
    async with serve_gateways(redis, 1, ledger) as (gateway,):
        for number in range(20):
            grant = await gateway.ask(who, b"%d" % number, 1, 10)
            assert isinstance(grant, Grant)
            gateway.end(grant, 1, 10, whole=whole)
        seen = await gateway.limits.look(who)
        assert seen is not None
        assert (seen.account_slots, gateway.limits.running, len(gateway.charges)) == (0, 0, 0)
        assert redis.ask("KEYS", "techstone:{a1}:[mhp]") == []


async def test_usage_of_a_gateway_that_is_no_more_counts_once_it_is_booked(redis: RedisServer) -> None:
    """It had lost Redis, and never told it: the money begins anew, with all that others have and nobody booked."""
    ledger, who = Ledger(), prepaid(100)
    async with serve_gateways(redis, 2, ledger) as (one, gone):
        await one.ready()
        await gone.ready()
        grants = [await gateway.ask(who, name, 1, 10) for gateway, name in ((one, b"1"), (one, b"2"), (gone, b"3"))]
        assert all(isinstance(grant, Grant) for grant in grants)
        first, second, third = grants
        assert isinstance(first, Grant)
        assert isinstance(second, Grant)
        assert isinstance(third, Grant)
        connection = gone.link.connection
        assert connection is not None
        connection.close("for good")
        number = gone.end(third, 1, 9)
        await gone.close()
        one.end(first, 1, 7)
        ledger.book(gone.journal, number, 9)
        generation = one.link.generation
        await begin_anew(redis.address)
        await one.until(lambda: one.link.generation != generation)
        await one.ready()
        assert isinstance(await one.ask(who, b"4", 1, 10), Grant)
        seen = await one.limits.look(who)
        assert seen is not None
        # What the dead one held goes with its lease.
        assert (seen.spent, seen.held) == (9 + 7, 10 + 10 + 10)


class ManyKeys(Ledger):
    """An account of many keys, each with something spent."""

    def __init__(self, keys: int, applied: int) -> None:
        super().__init__()
        self.spent = keys
        self.keys = {f"key{number}": (1, 1) for number in range(keys)}
        self.applied = {"other": applied}

    async def tell(self, account: str) -> Figure:
        return msgspec.structs.replace(await super().tell(account), keys=self.keys)


def wait_with(server: RedisServer, numbers: range) -> None:
    """Have charges of another journal wait for the account's money, as `charge` does where it is not there."""
    writer = script.Writer(Clock().wall)
    caller = script.describe_charge("another", "a1", "key1", bounded=True)
    with Client(server.path) as client:
        for number in numbers:
            charge = Charge(number, "a1", "key1", 1, Period(_DAY, 0))
            client.send(writer.write("charge", caller, b"other", script.pack_charge(charge)))


@pytest.mark.parametrize("count", [1, 2])
async def test_large_account_begins_in_parts_and_to_the_last_charge(redis: RedisServer, count: int) -> None:
    """1,000 keys and 1,100 waiting charges, of which 100 are booked: begun once, in scripts that are short."""
    clock, ledger = Clock(), ManyKeys(1_000, 100)
    who = prepaid(10**6)
    async with serve_gateways(redis, count, ledger, clock) as gateways:
        for gateway in gateways:
            await gateway.ready()
        wait_with(redis, range(1, 1101))
        found = await asyncio.gather(*(gateway.ask(who, gateway.journal.encode(), 1, 10) for gateway in gateways))
        assert all(isinstance(grant, Grant) for grant in found)
        one = make_principal(msgspec.structs.replace(_KEY, id="key1"), who.account, _PREPAID)
        seen = await gateways[-1].limits.look(one)
        assert seen is not None
        assert (seen.spent, seen.held, seen.key_day) == (1_000 + 1_000, 10 * count, (_DAY, 1 + 1_000))
        assert redis.ask("EXISTS", "techstone:{a1}:p") == 0


async def test_charge_that_comes_while_the_money_begins_waits_with_the_rest(redis: RedisServer) -> None:
    """Between two parts everything that is settled waits, also what has no bound; what is held then is held."""
    clock, ledger = Clock(), ManyKeys(500, 0)
    who, free = prepaid(10**6), make_principal(_OTHER, _ACCOUNT, _POSTPAID)
    async with serve_gateways(redis, 1, ledger, clock) as (gateway,):
        await gateway.ready()
        grant = await gateway.ask(free, b"f", 1, 10)
        assert isinstance(grant, Grant)
        parts = script.list_parts(await ledger.tell("a1"), b"t")
        for _ in range(2):
            assert await gateway.tell("begin", who, *next(parts)) == script.MORE
        gateway.end(grant, 1, 7)
        seen = await gateway.limits.look(who)
        assert seen is not None
        assert not seen.known
        assert await gateway.tell("begin", who, *next(parts)) == script.BEGUN
        assert await gateway.limits.credit(who) == 10**6 - 500 - 7


async def test_who_dies_while_he_begins_holds_nobody_up_for_long(redis: RedisServer) -> None:
    """Another gateway waits for 5 s and begins anew; the first one, if it comes back, does not go on with his part."""
    clock, ledger = Clock(), ManyKeys(500, 0)
    who = prepaid(10**6)
    async with serve_gateways(redis, 1, ledger, clock) as (gateway,):
        await gateway.ready()
        figure = await ledger.tell("a1")
        dead, mine = (script.list_parts(figure, token) for token in (b"dead", b"mine"))
        assert await gateway.tell("begin", who, *next(dead)) == script.MORE
        first = next(mine)
        assert await gateway.tell("begin", who, *first) == script.TAKEN
        clock.now += 5
        assert await gateway.tell("begin", who, *first) == script.MORE
        assert await gateway.tell("begin", who, *next(dead)) == script.TAKEN
        assert await gateway.tell("begin", who, *next(mine)) == script.MORE
        assert await gateway.tell("begin", who, *next(mine)) == script.BEGUN
        assert await gateway.limits.credit(who) == 10**6 - 500
