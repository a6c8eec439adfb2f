"""How many gateways share the limits: whoever loses Redis, starts without it or ends, all give one plan at most."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from gateways import PRESENCE, GatewayOnRedis, Ledger, Server

from techstone.adapters.limits.connection import Address
from techstone.adapters.limits.roster import Roster
from techstone.core.errors import LimitsUnknown
from techstone.core.limits import Claim, Grant
from techstone.core.snapshot import Account, Key, Plan
from techstone.core.view import make_principal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis_server import RedisServer

_WHO = make_principal(
    Key("k1", "0" * 64, "a1", "n", "h"), Account("a1", "a@x", "p"), Plan("p", 60, 10**9, 10**6, "postpaid")
)


class Ways:
    """Ways of gateways to one server, each with a roster in a folder of its own, and cut by itself."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self._server = server
        self._folder = folder

    def mend(self, number: int) -> None:
        (self._folder / f"way-{number}").symlink_to(self._server.path)

    def cut(self, number: int, gateway: GatewayOnRedis) -> None:
        (self._folder / f"way-{number}").unlink()
        assert gateway.link.connection is not None
        gateway.link.connection.close("cut")

    def start(self, number: int, least: int = 1, remembered: float = 300) -> GatewayOnRedis:
        address = Address("", 0, path=str(self._folder / f"way-{number}"))
        way: Server = SimpleNamespace(address=address)
        roster = Roster(self._folder / f"roster-{number}", print, least)
        return GatewayOnRedis(way, f"g{number}", Ledger(), roster=roster, remembered=remembered)


@contextlib.asynccontextmanager
async def serving(ways: Ways, count: int, remembered: float = 300) -> AsyncIterator[list[GatewayOnRedis]]:
    for number in range(count):
        ways.mend(number)
    gateways = [ways.start(number, remembered=remembered) for number in range(count)]
    try:
        for gateway in gateways:
            await gateway.until(lambda gateway=gateway: gateway.link.counted and gateway.link.gateways == count)  # type: ignore[misc]
        yield gateways
    finally:
        for gateway in gateways:
            await gateway.close()


async def _give(gateway: GatewayOnRedis) -> int:
    """Return how many of a plan's requests a gateway admits."""
    found = [await gateway.ask(_WHO, b"%d" % number) for number in range(61)]
    return sum(isinstance(grant, Grant) for grant in found)


async def test_gateway_that_never_heard_redis_gives_nothing(redis: RedisServer, tmp_path: Path) -> None:
    """A roll-out in an outage, a wrong password: what its part is it does not know; it says so."""
    gateway = Ways(redis, tmp_path).start(0, least=4)
    try:
        await gateway.until(lambda: bool(gateway.told))
        with pytest.raises(LimitsUnknown):
            await gateway.ask(_WHO, b"1")
        with pytest.raises(LimitsUnknown):
            await gateway.limits.consider(Claim(b"1", _WHO, 1, 0))
        assert gateway.limits.problem is not None
        assert "how many gateways" in gateway.told[0]
    finally:
        await gateway.close()


async def test_gateways_that_start_without_redis_give_one_plan(redis: RedisServer, tmp_path: Path) -> None:
    """Each knows from its last life how many they are; configured workers are a bound from below."""
    ways = Ways(redis, tmp_path)
    async with serving(ways, 4) as gateways:
        for number, gateway in enumerate(gateways):
            ways.cut(number, gateway)
    again = [ways.start(number) for number in range(4)]
    try:
        assert sum([await _give(gateway) for gateway in again]) == 60
        assert [gateway.limits.problem for gateway in again] == [None] * 4
        more = ways.start(3, least=6)
        assert await _give(more) == 10
        await more.close()
    finally:
        for gateway in again:
            await gateway.close()


async def test_gateways_that_lose_redis_one_after_another_give_one_plan(redis: RedisServer, tmp_path: Path) -> None:
    """F-1: who has lost its way gives its part yet, so that nobody's part grows when it is not seen any more."""
    ways = Ways(redis, tmp_path)
    async with serving(ways, 3) as gateways:
        for number, gateway in enumerate(gateways):
            ways.cut(number, gateway)
            await asyncio.sleep(PRESENCE * 1.2)
        assert [gateway.link.gateways for gateway in gateways] == [3, 3, 3]
        assert sum([await _give(gateway) for gateway in gateways]) == 60


async def test_count_is_the_same_where_redis_forgot(redis: RedisServer, tmp_path: Path) -> None:
    """Who is not back yet is counted as before."""
    ways = Ways(redis, tmp_path)
    async with serving(ways, 3) as gateways:
        ways.cut(2, gateways[2])
        redis.ask("FLUSHALL")
        generation = gateways[0].link.generation
        await gateways[0].until(lambda: gateways[0].link.generation != generation)
        await asyncio.sleep(PRESENCE)
        assert gateways[0].link.gateways == 3


async def test_gateway_that_takes_its_leave_is_counted_no_more(redis: RedisServer, tmp_path: Path) -> None:
    """At once; also by one that starts then."""
    ways = Ways(redis, tmp_path)
    async with serving(ways, 3) as gateways:
        await gateways[2].link.leave()
        await gateways[2].close()
        await gateways[0].until(lambda: gateways[0].link.gateways == gateways[1].link.gateways == 2)
        ways.mend(3)
        later = ways.start(3)
        await later.connected()
        await gateways[0].until(lambda: gateways[0].link.gateways == later.link.gateways == 3)
        await later.close()


async def test_gateways_that_are_stopped_and_started_give_one_plan(redis: RedisServer, tmp_path: Path) -> None:
    """Each took its leave of the others, one after another, and Redis is away as they come again."""
    ways = Ways(redis, tmp_path)
    async with serving(ways, 3) as gateways:
        for number, gateway in enumerate(gateways):
            await gateway.until(lambda number=number, gateway=gateway: gateway.link.gateways == 3 - number)  # type: ignore[misc]
            await gateway.link.leave()
            ways.cut(number, gateway)
    again = [ways.start(number) for number in range(3)]
    try:
        assert sum([await _give(gateway) for gateway in again]) == 60
    finally:
        for gateway in again:
            await gateway.close()


async def test_gateway_that_was_killed_is_counted_for_some_minutes(redis: RedisServer, tmp_path: Path) -> None:
    """Nobody can tell it from one that has lost its way; here they are two seconds."""
    ways = Ways(redis, tmp_path)
    async with serving(ways, 2, remembered=2) as gateways:
        await gateways[1].close()
        await asyncio.sleep(PRESENCE * 1.2)
        assert gateways[0].link.gateways == 2
        await gateways[0].until(lambda: gateways[0].link.gateways == 1)
