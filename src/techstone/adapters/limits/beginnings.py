"""How accounts' money begins in Redis: by the ledger's figure of one moment, by one gateway at a time, in parts."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from techstone.adapters.limits import script
from techstone.adapters.limits.connection import Unreachable
from techstone.core.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from techstone.adapters.limits.connection import Reply
    from techstone.adapters.limits.link import Link
    from techstone.adapters.limits.operations import Operations
    from techstone.core.view import Principal
    from techstone.wire.figure import Figure

    Ledger = Callable[[str], Awaitable[Figure]]
    """Asks for an account's figure, of one moment; raises LedgerUnavailable."""

# Where another gateway begins an account's money it is asked so often whether it has; and all of it takes no longer.
_PAUSE = 0.02
_SECONDS = 10.0


class Beginnings:
    """One gateway's: of all requests that need an account's money, one begins it and the others wait."""

    def __init__(self, link: Link, operations: Operations, ledger: Ledger, journal: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._operations = operations
        self._ledger = ledger
        self._journal = journal
        self._running: dict[str, asyncio.Task[None]] = {}
        self._begun = itertools.count(1)

    async def begin(self, principal: Principal) -> None:
        """Begin an account's money, or wait for who does; raise LedgerUnavailable."""
        account = principal.account.id
        running = self._running.get(account)
        if running is None:
            running = self._running[account] = self._loop.create_task(self._begin(principal))
            running.add_done_callback(lambda _: self._running.pop(account, None))
        await asyncio.shield(running)

    async def _begin(self, principal: Principal) -> None:
        link = self._link
        generation = link.generation
        try:
            if not link.ready:
                raise LedgerUnavailable
            # Only what was asked for after Redis was seen to be the same is of its generation.
            await link.look()
            if link.generation != generation or not link.ready:
                raise LedgerUnavailable
            figure = await self._ledger(principal.account.id)
        except Unreachable as error:
            raise LedgerUnavailable from error
        latest = self._loop.time() + _SECONDS
        for words in script.list_parts(figure, b"%b:%d" % (self._journal, next(self._begun))):
            while (reply := await self._tell(generation, principal, words)) == script.TAKEN:
                if self._loop.time() > latest:
                    raise LedgerUnavailable
                await asyncio.sleep(_PAUSE)
            if reply == script.BEGUN:
                return
            if reply != script.MORE or self._loop.time() > latest:
                raise LedgerUnavailable

    async def _tell(self, generation: str, principal: Principal, words: tuple[bytes, ...]) -> Reply:
        """Ask for a part of a beginning; None where Redis is away, or another one by now."""
        told: asyncio.Future[Reply] = self._loop.create_future()
        if self._link.generation != generation or not self._operations.send("begin", principal, words, told.set_result):
            return None
        return self._link.check(await told)
