"""Gateways that keep their limits in one Redis, in one process: each with connection, books and journal of its own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol, TypeVar

from techstone.adapters.limits.alone import Alone
from techstone.adapters.limits.charges import Charges
from techstone.adapters.limits.link import Link, Times
from techstone.adapters.limits.redis import RedisLimits
from techstone.adapters.limits.script import Writer, describe
from techstone.core.limits import Claim, Grant, Refusal
from techstone.core.usage import UsageRecord
from techstone.gateway.trampoline import Trampoline
from techstone.wire.figure import Figure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from redis_server import RedisServer

    from techstone.adapters.limits.connection import Address, Reply
    from techstone.adapters.limits.roster import Roster
    from techstone.adapters.limits.script import Operation
    from techstone.core.view import Principal


class Server(Protocol):
    """Where a gateway finds its Redis."""

    @property
    def address(self) -> Address: ...


_Result = TypeVar("_Result")
# So that no test waits for the seconds that it takes until everybody has been heard.
PRESENCE = 0.8
# A busy test machine may stop Redis for longer than 50 ms.
_CALM = 5.0


class Clock:
    """Monotonic and wall time that move together."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def wall(self) -> float:
        return 20_000 * 86_400 + self.now

    def __call__(self) -> float:
        return self.now


class Ledger:
    """What the control plane has booked of one account: `book` is its way from a journal."""

    def __init__(self) -> None:
        self.spent = 0
        self.applied: dict[str, int] = {}
        self.asked = 0

    def book(self, journal: str, number: int, cost: int) -> None:
        if number > self.applied.get(journal, 0):
            self.applied[journal] = number
            self.spent += cost

    async def tell(self, _: str) -> Figure:
        self.asked += 1
        await asyncio.sleep(0)
        return Figure(self.spent, self.spent, {}, dict(self.applied), 20_000)


class GatewayOnRedis:
    """One of them. Without a clock the time is Redis's."""

    def __init__(
        self,
        server: Server,
        name: str,
        ledger: Ledger,
        clock: Clock | None = None,
        patience: float = _CALM,
        *,
        roster: Roster | None = None,
        remembered: float = 300.0,
    ) -> None:
        own = clock or Clock()
        loop_time = own if clock is not None else asyncio.get_running_loop().time
        self.told: list[str] = []
        self.journal = name.ljust(16, "0")
        times = Times(PRESENCE, remembered, patience)
        self.link = Link(server.address, self.journal, self.told.append, roster, times)
        # As if Redis had been heard before: no test waits until a new one is judged.
        self.link.counted = self.link.counted or roster is None
        self.charges = Charges(self.journal)
        self.alone = Alone(loop_time, own.wall)
        self._writer = None if clock is None else Writer(clock.wall)
        self.limits = RedisLimits(self.link, self.alone, self.charges, ledger.tell, loop_time, self._writer)
        self._clock = own
        self.numbers = 0
        self._running = asyncio.create_task(self.link.run())

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is looked at has no event
                await asyncio.sleep(0.01)

    async def connected(self) -> None:
        await self.until(lambda: self.link.connection is not None)

    async def ready(self) -> None:
        await self.until(lambda: self.link.ready)

    async def ask(self, who: Principal, request: bytes, tokens: int = 1, nano: int = 0) -> Grant | Refusal:
        return await drive(self.limits.admit(Claim(request, who, tokens, nano)))

    def begin(self, who: Principal, request: bytes, tokens: int) -> tuple[list[Grant | Refusal], Trampoline]:
        """Ask without waiting; return where the answer comes, and what is cancelled to hang up."""
        found: list[Grant | Refusal] = []

        async def run() -> None:
            found.append(await self.limits.admit(Claim(request, who, tokens, 0)))

        trampoline = Trampoline(run(), lambda _: None)
        trampoline.advance()
        return found, trampoline

    def end(self, grant: Grant, tokens: int, cost: int, *, at: float | None = None, whole: bool = True) -> int:
        """Record and settle, of a broken answer the other way round, as a settlement does; return the number."""
        self.numbers += 1
        claim = grant.claim
        wall = self._clock.wall() if at is None else at
        who = claim.principal
        record = UsageRecord(
            claim.request.decode(), "settled", who.account.id, who.key.id, "m", "p", "m", 200, False, int(wall * 1000),
            0, 0, tokens, 0, 0, 0, cost, 0, 1, None, 1,
        )  # fmt: skip
        if not whole:
            self.limits.settle(grant, tokens, cost)
        self.limits.record(self.numbers, record)
        if whole:
            self.limits.settle(grant, tokens, cost)
        return self.numbers

    async def tell(self, operation: Operation, who: Principal, *words: bytes) -> Reply:
        """Call the script as this gateway does, and return what it says."""
        connection = self.link.connection
        assert connection is not None
        told: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        caller = describe(self.link.generation, who)
        connection.send((self._writer or Writer()).write(operation, caller, *words), told.set_result)
        return await told

    async def close(self) -> None:
        """Vanish as if killed: nothing is told to Redis."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


@contextlib.asynccontextmanager
async def serve_gateways(
    server: Server,
    count: int,
    ledger: Ledger | None = None,
    clock: Clock | None = None,
    patience: float = _CALM,
) -> AsyncIterator[list[GatewayOnRedis]]:
    """Yield so many that know of each other."""
    ledger = ledger or Ledger()
    gateways = [GatewayOnRedis(server, f"g{number}", ledger, clock, patience) for number in range(count)]
    try:
        for gateway in gateways:
            await gateway.connected()
        await gateways[0].until(lambda: all(gateway.link.gateways == count for gateway in gateways))
        yield gateways
    finally:
        for gateway in gateways:
            await gateway.close()


def let_pass(server: RedisServer, clock: Clock, seconds: float) -> None:
    """Move the script's clock, and with it what Redis itself forgets meanwhile."""
    clock.now += seconds
    keys = server.ask("KEYS", "techstone:{a1}*")
    assert isinstance(keys, list)
    for key in keys:
        left = server.ask("PTTL", key)
        assert isinstance(left, int)
        assert left > 0, "nothing of an account is kept for ever"
        server.ask("PEXPIRE", key, int(left - seconds * 1000))  # what is over by then it deletes


def drive(coroutine: Coroutine[object, object, _Result]) -> asyncio.Future[_Result]:
    """Run as a request runs, at once."""
    done: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        result = await coroutine
        if not done.done():
            done.set_result(result)

    def ended(error: Exception | None) -> None:
        if error is not None and not done.done():
            done.set_exception(error)

    Trampoline(run(), ended).advance()
    return done
