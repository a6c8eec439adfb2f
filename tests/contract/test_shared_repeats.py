"""Idempotency-Keys in a real Redis: a key is claimed by one of 2 gateways, and what it answered the other one has."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from gateways import GatewayOnRedis, Ledger, drive
from journals import read_back
from usage import make_record

from techstone.adapters.journal.writer import JournalWriter
from techstone.adapters.limits.repeats import RedisRepeats
from techstone.core.errors import (
    IdempotencyConflict,
    IdempotencyMismatch,
    IdempotencyTooLarge,
    IdempotencyUnavailable,
)
from techstone.gateway.idempotency import Claimed, Idempotency
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis_server import RedisServer

    from techstone.gateway.ports import StoredAnswer

_PLENTY = 1 << 26


class Keeper:
    """A gateway with journal, answers and the keys of all; `answers` counts what it made."""

    def __init__(self, server: RedisServer, folder: Path, most: int = _PLENTY) -> None:
        folder.mkdir(exist_ok=True)
        self.writer = JournalWriter(asyncio.get_running_loop(), folder, read_back(folder))
        self.gateway = GatewayOnRedis(server, folder.name, Ledger())
        self.repeats = RedisRepeats(self.gateway.link, self.gateway.journal, self.writer.answers, time.time, most)
        self.writer.answered = self._hear
        self.keys = Idempotency(self.writer.answers, self.repeats)
        self.made = 0

    def _hear(self, answer: StoredAnswer, stored: bool) -> None:  # noqa: FBT001 - as the journal calls it
        if stored:
            self.repeats.keep(answer)
        else:
            self.repeats.release(answer.account, answer.key)

    async def claim(self, key: str, body: bytes = b"{}") -> Claimed | StoredAnswer | None:
        exchange = cast("Any", SimpleNamespace(headers={b"idempotency-key": key.encode()}, body=body))
        return await drive(self.keys.claim(exchange, "a1", int(time.time() * 1000)))

    async def settle(self, claimed: Claimed, payload: bytes = b'{"id": 1}') -> None:
        self.made += 1
        at = int(time.time() * 1000)
        answer = claimed.store(f"r{self.made}", payload, stream=False, at=at, cost=7)
        await drive(self.writer.commit(make_record(self.made), answer))
        self.keys.release(claimed)

    async def ask(self, key: str, body: bytes = b"{}", payload: bytes = b'{"id": 1}') -> StoredAnswer | None:
        """Answer anew (None), or return the stored answer."""
        found = await self.claim(key, body)
        if isinstance(found, Claimed):
            await self.settle(found, payload)
            return None
        return found

    async def told(self) -> None:
        """Return once Redis has heard all that was said."""
        assert self.gateway.link.connection is not None
        await self.gateway.link.connection.ask(b"PING")

    async def vanish(self) -> None:
        self.writer.close()
        await self.gateway.close()


@contextlib.asynccontextmanager
async def keeping(
    server: RedisServer, folder: Path, count: int = 2, most: int = _PLENTY
) -> AsyncIterator[list[Keeper]]:
    keepers = [Keeper(server, folder / f"g{number}", most) for number in range(count)]
    try:
        for keeper in keepers:
            await keeper.gateway.connected()
        yield keepers
    finally:
        for keeper in keepers:
            await keeper.vanish()


async def test_key_is_answered_once_by_whichever_gateway_is_asked(redis: RedisServer, tmp_path: Path) -> None:
    """M-5: 50 at once on 2 gateways; all but one wait, and get that one's bytes."""
    async with keeping(redis, tmp_path) as keepers:

        async def insist(keeper: Keeper) -> StoredAnswer | None:
            while True:
                with contextlib.suppress(IdempotencyConflict):
                    return await keeper.ask("k", payload=b"of one")
                await asyncio.sleep(0.01)

        found = await asyncio.gather(*(insist(keepers[number % 2]) for number in range(50)))
        assert sum(keeper.made for keeper in keepers) == 1
        assert found.count(None) == 1
        assert {(answer.payload, answer.request_id, answer.cost) for answer in found if answer} == {
            (b"of one", "r1", 7)
        }


async def test_other_gateway_answers_as_the_first_one_would(redis: RedisServer, tmp_path: Path) -> None:
    """While it runs 409, another body 400, also when it is answered; too large 409."""
    async with keeping(redis, tmp_path) as (first, second):
        claimed = await first.claim("k")
        assert isinstance(claimed, Claimed)
        with pytest.raises(IdempotencyConflict):
            await second.claim("k")
        with pytest.raises(IdempotencyMismatch):
            await second.claim("k", b"[]")
        await first.settle(claimed)
        with pytest.raises(IdempotencyMismatch):
            await second.claim("k", b"[]")
        assert await first.ask("large", payload=bytes(2**20 + 1)) is None
        with pytest.raises(IdempotencyTooLarge):
            await second.claim("large")
        assert isinstance(await second.claim("k2"), Claimed), "another key is another request"


async def test_failed_request_leaves_its_key_free_for_all(redis: RedisServer, tmp_path: Path) -> None:
    """Its retry is a new try, wherever it arrives."""
    async with keeping(redis, tmp_path) as (first, second):
        claimed = await first.claim("k")
        assert isinstance(claimed, Claimed)
        first.keys.release(claimed)
        await first.told()
        assert await second.ask("k") is None


async def test_key_of_who_hangs_up_while_it_is_claimed_is_free(redis: RedisServer, tmp_path: Path) -> None:
    """The claim goes to Redis, and its end right behind it."""
    async with keeping(redis, tmp_path) as (first, second):
        exchange = cast("Any", SimpleNamespace(headers={b"idempotency-key": b"k"}, body=b"{}"))

        async def claim() -> None:
            await first.keys.claim(exchange, "a1", 0)

        asking = Trampoline(claim(), lambda _: None)
        asking.advance()
        asking.cancel()
        await first.told()
        assert redis.ask("DBSIZE") == redis.ask("EVAL", "return #redis.call('KEYS', '*gateways*')", "0")
        assert await second.ask("k") is None


async def test_killed_gateway_frees_its_keys_with_their_lease(redis: RedisServer, tmp_path: Path) -> None:
    """At once where it is asked itself after a restart: a claim of its own is of a life that is over."""
    async with keeping(redis, tmp_path) as (first, second):
        assert isinstance(await first.claim("k"), Claimed)
        assert isinstance(await first.claim("own"), Claimed)
        await first.vanish()
        with pytest.raises(IdempotencyConflict):
            await second.claim("k")
        name = _list_names(redis)[0]
        assert 0 < cast("int", redis.ask("TTL", name)) <= 30
        again = Keeper(redis, tmp_path / "g0")
        await again.gateway.connected()
        assert await again.ask("own") is None
        for name in _list_names(redis):
            if cast("int", redis.ask("TTL", name)) <= 30:
                redis.ask("PEXPIRE", name, 1)
        await asyncio.sleep(0.01)
        assert await second.ask("k") is None
        await again.vanish()


def _list_names(redis: RedisServer) -> list[bytes]:
    return cast("list[bytes]", redis.ask("KEYS", "techstone:{a1}:i:*"))


async def test_answer_outlives_the_gateway_that_made_it(redis: RedisServer, tmp_path: Path) -> None:
    """For a day; it is told with its settlement."""
    async with keeping(redis, tmp_path) as (first, second):
        assert await first.ask("k", payload=b"kept") is None
        await first.vanish()
        found = await second.ask("k")
        assert found is not None
        assert (found.payload, second.made) == (b"kept", 0)
        assert 86_000 < cast("int", redis.ask("TTL", _list_names(redis)[0])) <= 86_400


async def test_claim_is_renewed_while_it_runs(redis: RedisServer, tmp_path: Path) -> None:
    """A stream may take longer than a lease."""
    async with keeping(redis, tmp_path) as (first, second):
        assert isinstance(await first.claim("k"), Claimed)
        redis.ask("EXPIRE", _list_names(redis)[0], 5)
        first.repeats.sweep()
        await first.told()
        assert cast("int", redis.ask("TTL", _list_names(redis)[0])) > 25
        with pytest.raises(IdempotencyConflict):
            await second.claim("k")


async def test_crash_before_redis_was_told_is_made_good_by_the_restart(redis: RedisServer, tmp_path: Path) -> None:
    """What is durable on the gateway's disk is told as it starts, so that the other one gets it, too."""
    async with keeping(redis, tmp_path) as (first, second):
        first.writer.answered = None  # killed between the two
        claimed = await first.claim("k")
        assert isinstance(claimed, Claimed)
        await drive(first.writer.commit(make_record(1), claimed.store("r1", b"kept", stream=False, at=_now(), cost=7)))
        await first.vanish()
        with pytest.raises(IdempotencyConflict):
            await second.claim("k")
        again = Keeper(redis, tmp_path / "g0")
        await again.gateway.connected()
        await again.told()
        for keeper in (again, second):
            found = await keeper.ask("k")
            assert found is not None
            assert (found.payload, keeper.made) == (b"kept", 0)
        await again.vanish()


def _now() -> int:
    return int(time.time() * 1000)


async def test_new_keys_wait_while_redis_is_away(redis: RedisServer, tmp_path: Path) -> None:
    """503: another gateway may have answered. What this one answered it replays; what it finished it tells later."""
    async with keeping(redis, tmp_path) as (first, second):
        assert await first.ask("before") is None
        running = await first.claim("during")
        assert isinstance(running, Claimed)
        redis.kill()
        await first.gateway.until(lambda: first.gateway.link.connection is None)
        assert await first.ask("before") is not None
        with pytest.raises(IdempotencyUnavailable):
            await first.claim("after")
        await first.settle(running)
        redis.start()
        for keeper in (first, second):
            await keeper.gateway.until(lambda keeper=keeper: keeper.gateway.link.connection is not None)  # type: ignore[misc]
            await keeper.gateway.until(lambda keeper=keeper: not keeper.gateway.link.gated)  # type: ignore[misc]
        await first.told()
        # It forgot all, and was told both again.
        assert await second.ask("before") is not None
        assert await second.ask("during") is not None
        assert await first.ask("after") is None, "nothing of the refused try is left"


async def test_all_that_was_answered_while_redis_was_away_is_told(redis: RedisServer, tmp_path: Path) -> None:
    """However many they are: what was claimed before goes on, and each other gateway has its answer afterwards."""
    async with keeping(redis, tmp_path) as (first, second):
        running = [await first.claim(f"k{number}") for number in range(500)]
        redis.kill()
        await first.gateway.until(lambda: first.gateway.link.connection is None)
        for claimed in running:
            assert isinstance(claimed, Claimed)
            await first.settle(claimed, hashlib.shake_128(b"%d" % first.made).digest(20_000))
        redis.start()
        await first.gateway.until(lambda: not first.repeats.waiting)
        await second.gateway.until(lambda: second.gateway.link.connection is not None and not second.gateway.link.gated)
        for number in (0, 1, 250, 499):
            found = await second.ask(f"k{number}")
            assert found is not None, number
        assert second.made == 0


async def test_answers_of_a_gateway_take_so_much_of_redis(redis: RedisServer, tmp_path: Path) -> None:
    """The oldest go, also those of its last life; its own disk has them yet."""
    async with keeping(redis, tmp_path, most=3000) as (first, second):
        for number in range(10):
            assert await first.ask(f"k{number}", payload=hashlib.shake_128(b"%d" % number).digest(500)) is None
        await first.told()
        kept = len(_list_names(redis))
        assert 3 <= kept <= 5
        assert await first.ask("k0") is not None
        assert await second.ask("k9") is not None
        await first.vanish()
        again = Keeper(redis, tmp_path / "g0", most=3000)
        await again.gateway.connected()
        await again.ask("new", payload=bytes(10))
        await again.told()
        assert len(_list_names(redis)) <= kept + 1
        await again.vanish()
