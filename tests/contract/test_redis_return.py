"""What gateways tell Redis as the way to it comes back: all, in portions, in order, and before anybody relies on it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from gateways import Clock, GatewayOnRedis, Ledger
from redis_server import RedisServer, serve_redis

from techstone.adapters.limits import redis as store
from techstone.adapters.limits.connection import Address
from techstone.core.errors import LedgerUnavailable
from techstone.core.limits import Grant, Refusal
from techstone.core.snapshot import Account, Key, Plan
from techstone.core.usage import UsageRecord
from techstone.core.view import make_principal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from techstone.core.view import Principal

_PLAN = Plan("p", 10**5, 10**9, 10**5, "prepaid")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with serve_redis(tmp_path) as server:
        yield server


class Way:
    """A gateway's own way to a server, which can be cut while the server lives."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self._server = server
        self._path = folder / "way"
        self.mend()

    @property
    def address(self) -> Address:
        return Address("", 0, path=str(self._path))

    def mend(self) -> None:
        self._path.symlink_to(self._server.path)

    def cut(self, gateway: GatewayOnRedis) -> None:
        self._path.unlink()
        assert gateway.link.connection is not None
        gateway.link.connection.close("cut")


def _principal(number: int = 1, granted: int = 10**12, plan: Plan = _PLAN) -> Principal:
    key = Key(f"k{number}", "0" * 64, f"a{number}", "n", "h")
    return make_principal(key, Account(f"a{number}", "a@x", "p", granted=granted), plan)


def _add_charges(gateway: GatewayOnRedis, count: int, cost: int, accounts: int = 1) -> None:
    """Have a gateway remember records that nobody has booked."""
    for _ in range(count):
        gateway.numbers += 1
        place = gateway.numbers % accounts + 1
        record = UsageRecord(
            f"r{gateway.numbers}", "settled", f"a{place}", f"k{place}", "m", "p", "m", 200, False,
            int(time.time() * 1000), 0, 0, 1, 0, 0, 0, cost, 0, 1, None, 1,
        )  # fmt: skip
        gateway.charges.add(gateway.numbers, record)


async def test_renewal_of_many_requests_keeps_the_way(redis: RedisServer) -> None:
    """Six thousand requests of as many keys are half a second of Redis's work, which nobody waits for."""
    gateway = GatewayOnRedis(redis, "g", Ledger())
    plan = Plan("p", 100, 10**9, 10, "postpaid")
    try:
        await gateway.connected()
        for first in range(0, 6000, 50):
            asked = [gateway.ask(_principal(number, plan=plan), b"%d" % number) for number in range(first, first + 50)]
            assert all(isinstance(grant, Grant) for grant in await asyncio.gather(*asked))
        connection = gateway.link.connection
        assert connection is not None
        connection.hurry(0.1)
        redis.ask("EVAL", "for _, k in ipairs(redis.call('KEYS', '*:l')) do redis.call('DEL', k) end", "0")
        gateway.limits.sweep()
        await asyncio.sleep(1.5)  # real seconds of a real Redis, in which nothing may happen
        assert gateway.told == []
        assert len(cast("list[bytes]", redis.ask("KEYS", "*:l"))) == 6000
    finally:
        await gateway.close()


async def test_long_journal_is_told_before_credit_opens(redis: RedisServer) -> None:
    """F-1, a restart: a gateway has 12,000 records that nobody has booked, in which an account's credit is used up.

    The other gateway waits until all of it was told, and the way of the first one holds meanwhile.
    """
    ledger = Ledger()
    gateways = [GatewayOnRedis(redis, name, ledger, patience=0.2) for name in ("g0", "g1")]
    first, other = gateways
    try:
        for gateway in gateways:
            await gateway.ready()
        _add_charges(first, 12_000, 1_000_000, accounts=6)
        who = _principal(granted=2000 * 1_000_000)
        redis.kill()
        for gateway in gateways:
            await gateway.until(lambda gateway=gateway: gateway.link.connection is None)  # type: ignore[misc]
        redis.start()
        generation = other.link.generation
        async with asyncio.timeout(8):
            while other.link.generation == generation or not other.link.ready:
                with contextlib.suppress(LedgerUnavailable):
                    assert not isinstance(await other.ask(who, b"x", 1, 10**9), Grant)
                await asyncio.sleep(0.05)
        assert other.link.connection is not None
        other.link.connection.hurry(5)
        assert isinstance(await other.ask(who, b"y", 1, 1), Refusal)
        assert await other.limits.credit(who) == 0
        assert len(first.told) <= 2, "away and back, once"
    finally:
        for gateway in gateways:
            await gateway.close()


@pytest.mark.parametrize("forgets", [False, True])
async def test_end_amid_a_long_journal_keeps_its_turn(redis: RedisServer, forgets: bool) -> None:  # noqa: FBT001
    """The numbers of an account only rise: what ends meanwhile waits until those before it are told.

    Also where Redis forgets amid them, and all of it is told anew.
    """
    gateway = GatewayOnRedis(redis, "g", Ledger())
    who = _principal(granted=10**9)
    try:
        await gateway.ready()
        running = [await gateway.ask(who, b"%d" % number, 1, 500) for number in range(2)]
        _add_charges(gateway, 3000, 1000)
        redis.kill()
        await gateway.until(lambda: gateway.link.connection is None)
        redis.start()
        await gateway.connected()
        for grant in running:
            assert isinstance(grant, Grant)
            gateway.end(grant, 1, 400)
        if forgets:
            generation = gateway.link.generation
            redis.ask("FLUSHALL")
            await gateway.until(lambda: gateway.link.generation != generation)
        await gateway.ready()
        assert isinstance(await gateway.ask(who, b"last", 1, 1), Grant)
        assert await gateway.limits.credit(who) == 10**9 - 3000 * 1000 - 2 * 400 - 1
        assert gateway.limits.running == 1
    finally:
        await gateway.close()


async def test_charge_that_is_booked_while_the_way_is_lost_counts(redis: RedisServer, tmp_path: Path) -> None:
    """Redis lives on, and an account's money began before it was booked: the figure of then has it not."""
    ledger, way = Ledger(), Way(redis, tmp_path)
    who = _principal(granted=100)
    one, other = GatewayOnRedis(way, "g0", ledger), GatewayOnRedis(redis, "g1", ledger)
    try:
        await one.ready()
        await other.ready()
        grant = await one.ask(who, b"1", 1, 30)
        assert isinstance(grant, Grant)
        way.cut(one)
        number = one.end(grant, 1, 20)
        ledger.book(one.journal, number, 20)
        one.limits.shipped(number)
        way.mend()
        await one.connected()
        await one.limits.look(who)
        seen = await other.limits.look(who)
        assert seen is not None
        assert seen.spent == 20
        one.limits.shipped(number)
        assert len(one.charges) == 0, "both know it"
    finally:
        for gateway in (one, other):
            await gateway.close()


async def test_money_begins_anew_where_redis_missed_too_much(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is booked is not remembered for ever for a Redis that is away: then the ledger tells all of it again."""
    monkeypatch.setattr(store, "_MOST_UNTOLD", 10)
    ledger, way = Ledger(), Way(redis, tmp_path)
    who = _principal(granted=1000)
    one = GatewayOnRedis(way, "g0", ledger)
    try:
        await one.ready()
        assert isinstance(await one.ask(who, b"1", 1, 1), Grant)
        generation = one.link.generation
        way.cut(one)
        _add_charges(one, 11, 20)
        for number in range(1, 12):
            ledger.book(one.journal, number, 20)
        one.limits.shipped(11)
        assert len(one.charges) == 0
        way.mend()
        await one.until(lambda: one.link.ready and one.link.generation != generation)
        assert isinstance(await one.ask(who, b"2", 1, 1), Grant)
        assert await one.limits.credit(who) == 1000 - 11 * 20 - 2
    finally:
        await one.close()


async def test_next_life_knows_how_far_the_last_one_told(redis: RedisServer) -> None:
    """A restart sends what Redis may not know, not the whole of the journal that is still there."""
    ledger = Ledger()
    first = GatewayOnRedis(redis, "g", ledger)
    await first.ready()
    grant = await first.ask(_principal(), b"1", 1, 30)
    assert isinstance(grant, Grant)
    number = first.end(grant, 1, 20)
    await first.until(lambda: first.link.told == number)
    await first.link.look()
    await first.close()
    again = GatewayOnRedis(redis, "g", ledger)
    try:
        await again.connected()
        assert again.link.told == number
        redis.ask("FLUSHALL")
        await again.until(lambda: again.link.told == 0)
    finally:
        await again.close()


async def test_refused_scripts_leave_no_connection_behind(redis: RedisServer) -> None:
    """A user who may not load them is tried again and again; each try ends its connection, and the line says why."""
    redis.ask("ACL", "SETUSER", "gw", "on", ">pw", "~*", "+@all", "-script")
    address = Address("", 0, path=redis.path, user="gw", password="pw")
    way = SimpleNamespace(address=address)
    gateway = GatewayOnRedis(way, "g", Ledger())
    try:
        await gateway.until(lambda: bool(gateway.told))
        await asyncio.sleep(1)  # two more tries, which a leak would show in
        assert len(cast("bytes", redis.ask("CLIENT", "LIST")).splitlines()) <= 2
        assert len(gateway.told) == 1
        assert "NOPERM" in gateway.told[0]
    finally:
        await gateway.close()


async def test_what_was_given_alone_grows_old_before_a_full_redis(redis: RedisServer) -> None:
    """F-1: a Redis that takes connections and no writes; what it could not count is over in its minute all the same."""
    clock = Clock()
    gateway = GatewayOnRedis(redis, "g", Ledger(), clock)
    who = _principal(plan=Plan("p", 60, 10**9, 1000, "postpaid"))
    try:
        await gateway.ready()
        redis.ask("CONFIG", "SET", "maxmemory", "1mb")
        granted = 0
        for step in range(30):
            for number in range(10):
                found = await gateway.ask(who, b"%d-%d" % (step, number))
                if isinstance(found, Grant):
                    granted += 1
                    gateway.limits.settle(found, 1, 0)
            await asyncio.sleep(0.1)
            gateway.limits.sweep()
            clock.now += 10
        redis.ask("CONFIG", "SET", "maxmemory", "0")
        await gateway.until(lambda: not gateway.limits.degraded)
        seen = await gateway.limits.look(who)
        assert seen is not None
        assert 0 < seen.standing.requests <= 60
        assert granted > 200
        assert len(gateway.told) <= 20
    finally:
        await gateway.close()
