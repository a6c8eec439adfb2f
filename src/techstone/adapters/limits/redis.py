"""The limit store in Redis or Valkey: any number of gateways keep one plan, exactly, and one credit.

One script decides (`admission.lua`); this asks it, remembers what its own requests hold, and tells each request's end.
While Redis is away every gateway gives its part of the plans by itself (`alone`).
"""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import TYPE_CHECKING

import hiredis

from techstone.adapters.limits import script
from techstone.adapters.limits.charges import Charge
from techstone.adapters.limits.connection import Unreachable
from techstone.adapters.limits.grants import Held, Share, find_principal
from techstone.adapters.limits.mirrors import Mirrors
from techstone.adapters.limits.script import Admitted, Writer, describe_charge
from techstone.adapters.limits.surveyor import Surveyor
from techstone.core import limits
from techstone.core.errors import LedgerUnavailable
from techstone.core.leases import RENEWAL_SECONDS
from techstone.core.limits import Claim, Grant, Refusal, Standing
from techstone.gateway.trampoline import Signal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from techstone.adapters.limits.alone import Alone
    from techstone.adapters.limits.charges import Charges
    from techstone.adapters.limits.connection import Reply
    from techstone.adapters.limits.link import Link
    from techstone.adapters.limits.script import Caller, Look, Operation
    from techstone.core.snapshot import Holder, Principal
    from techstone.core.usage import UsageRecord
    from techstone.gateway.soon import Soon
    from techstone.wire.figure import Figure
    from techstone.wire.limits import AccountView, Limits

    Ledger = Callable[[str], Awaitable[Figure]]
    """Asks for an account's figure, of one moment; raises LedgerUnavailable."""

# Where another gateway begins an account's money it is asked so often whether it has; and all of it takes no longer.
_BEGIN_PAUSE = 0.02
_BEGIN_SECONDS = 10.0


class _Question(Signal):
    """A call that a request waits for; the reply wakes it in the same stack, so that it sees this very verdict."""

    __slots__ = ("_hear", "abandoned", "reply")

    def __init__(self, hear: Callable[[_Question, Reply], None]) -> None:
        super().__init__()
        self._hear = hear
        self.reply: Reply = None
        self.abandoned: Claim | None = None  # its request hung up: what it is granted is nobody's

    def take(self, reply: Reply) -> None:
        self._hear(self, reply)
        self.give()


class RedisLimits:
    """Implements `LimitStore`. `clock` is monotonic; only tests give a writer, with a clock of its own."""

    def __init__(
        self,
        link: Link,
        alone: Alone,
        charges: Charges,
        ledger: Ledger,
        clock: Callable[[], float],
        writer: Writer | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._alone = alone
        self._charges = charges
        self._journal = charges.journal.encode()
        self._ledger = ledger
        self._clock = clock
        self._writer = writer or Writer()
        self._callers: dict[str, Caller] = {}
        self._mirrors = Mirrors(clock)
        self._surveyor = Surveyor(self.look, alone, clock)
        self._running: dict[bytes, Held | Share] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._begun = itertools.count(1)
        link.owners.append(self)

    # Requests

    async def admit(self, claim: Claim) -> Grant | Refusal:
        """Decide; raise LedgerUnavailable where credit or caps count and are not known."""
        for _ in range(2):
            question = self._ask("admit", claim)
            try:
                await question
            except BaseException:
                question.abandoned = claim
                if question.come:
                    self._give_back(claim, question.reply)
                raise
            if not isinstance(question.reply, bytes):
                return await self._admit_alone(claim)
            found = script.read(question.reply)
            if found is not None:
                return self._take(claim, found)
            await self._open_account(claim.principal)
        raise LedgerUnavailable

    async def _admit_alone(self, claim: Claim) -> Grant | Refusal:
        found = await self._alone.admit(claim)
        if isinstance(found, Refusal):
            return found
        grant = self._running[claim.request] = Share(claim.principal, found)
        if self._link.gated:
            self._hand_over()
            self._send("renew", claim.principal, (claim.request, b"%d" % claim.nano), self._ignore)
        return grant

    def _take(self, claim: Claim, found: Admitted | script.Refused) -> Grant | Refusal:
        account, key = self._mirrors.take(claim.principal, found.standing)
        if not isinstance(found, Admitted):
            return found.refusal
        grant = Held(claim, account, key, found.period)
        grant.taken.append((found.entry, claim.tokens))
        if claim.principal.key_limited:
            grant.key_taken.append((found.key_entry, claim.tokens))
        self._running[claim.request] = grant
        return grant

    def _give_back(self, claim: Claim, reply: Reply) -> None:
        """Settle what was admitted for one who hung up meanwhile: it counts as a request, and takes nothing."""
        found = script.read(reply) if isinstance(reply, bytes) else None
        if isinstance(found, Admitted):
            grant = self._take(claim, found)
            if isinstance(grant, Grant):
                self.settle(grant, 0, 0)

    async def consider(self, claim: Claim) -> Refusal | None:
        """Say how `admit` would decide, and take nothing."""
        for _ in range(2):
            question = self._ask("consider", claim)
            await question
            if not isinstance(question.reply, bytes):
                return await self._alone.consider(claim)
            found = script.read(question.reply)
            if found is not None:
                self._mirrors.take(claim.principal, found.standing)
                return None if isinstance(found, Admitted) else found.refusal
            await self._open_account(claim.principal)
        raise LedgerUnavailable

    def _ask(self, operation: Operation, claim: Claim) -> _Question:
        question = _Question(self._hear)
        words = (claim.request, script.pack_pair(claim.tokens, claim.nano))
        if self._link.gated or not self._send(operation, claim.principal, words, question.take):
            question.come = True
        return question

    def _hear(self, question: _Question, reply: Reply) -> None:
        question.reply = self._check(reply)
        if question.abandoned is not None:
            self._give_back(question.abandoned, question.reply)

    # While it runs

    def top_up(self, grant: Grant, tokens: int, nano: int) -> Soon[Refusal | None]:
        """Reserve and hold more for a request that runs, or say why not.

        While Redis is away it runs on: what it took is counted at its end, and what is not covered is ours to bear.
        """
        claim = grant.claim
        if grant.settled or not isinstance(grant, Held):
            return None
        told: asyncio.Future[Refusal | None] = self._loop.create_future()

        def take(reply: Reply) -> None:
            grant.pending -= 1
            refusal = self._extend(grant, tokens, nano, self._check(reply))
            if not told.done():
                told.set_result(refusal)
            if grant.ending is not None and not grant.pending:
                self._end(grant, *grant.ending)

        if not self._send("top_up", claim.principal, (claim.request, script.pack_pair(tokens, nano)), take):
            return None
        grant.pending += 1
        return told

    def _extend(self, grant: Held, tokens: int, nano: int, reply: Reply) -> Refusal | None:
        found = script.read(reply) if isinstance(reply, bytes) else None
        if found is None:
            return None  # away, or the account's money is: this one runs on
        claim = grant.claim
        self._mirrors.take(claim.principal, found.standing)
        if not isinstance(found, Admitted):
            return found.refusal
        claim.nano += nano
        claim.tokens += tokens
        if tokens:
            grant.taken.append((found.entry, tokens))
            if claim.principal.key_limited:
                grant.key_taken.append((found.key_entry, tokens))
        return None

    def cover(self, grant: Grant, cost: int) -> Soon[int]:
        """Return what of a cost can be charged, and hold it; while Redis is away no more than is held."""
        claim = grant.claim
        if cost <= claim.nano or not claim.principal.bounded:
            return cost
        if not isinstance(grant, Held):
            return claim.nano
        told: asyncio.Future[int] = self._loop.create_future()

        def take(reply: Reply) -> None:
            checked = self._check(reply)
            if isinstance(checked, bytes):
                claim.nano = script.read_amount(checked)
            if not told.done():
                told.set_result(min(cost, claim.nano))

        words = (claim.request, script.pack_pair(claim.nano, cost))
        return told if self._send("cover", claim.principal, words, take) else claim.nano

    def settle(self, grant: Grant, tokens: int, cost: int) -> None:
        """Give back what was reserved and held, but what it came to.

        What costs waits for its record's number (`record`), by which it counts once. That is so without a bound, too:
        the account may have money in Redis all the same (a cap of another key), which a later bound goes by.
        """
        if grant.settled or cost:
            return
        self._finish(grant, tokens, 0, 0)

    def recover(self, records: Iterable[tuple[int, UsageRecord]]) -> None:
        """Take what the journal still holds, each record with its number, oldest first."""
        for number, record in records:
            self._charges.add(number, record)

    def shipped(self, applied: int) -> None:
        """Hear how far the ledger has followed this gateway's journal."""
        self._charges.shipped(applied)

    def record(self, number: int, record: UsageRecord) -> None:
        """Hear that a record of this gateway's journal is durable; in the order of their numbers."""
        if record.state == "open" or not record.cost:
            return
        grant = self._running.get(record.id.encode())
        bounded = grant is None or grant.claim.principal.bounded
        pending = isinstance(grant, Held) and grant.pending
        # What is not told by the end of its request. Without a bound that will do, unless it is lost on its way.
        charge = self._charges.add(number, record, bounded=bounded) if bounded or pending else None
        tokens = record.prompt_tokens + record.completion_tokens
        if charge is not None and (grant is None or pending):
            # An end may wait; the charge does not, as the numbers must rise.
            self._charge(charge)
        if grant is not None:
            self._finish(grant, tokens, *((0, 0) if pending else (record.cost, number)))

    def _finish(self, grant: Grant, tokens: int, cost: int, number: int) -> None:
        grant.settled = True
        if isinstance(grant, Held):
            if grant.pending:
                grant.ending = (tokens, cost, number)
            else:
                self._end(grant, tokens, cost, number)
        elif isinstance(grant, Share):
            self._alone.books.settle(grant.own, tokens, cost)
            self._tell_end(grant, 0, cost, number, ((), ()))

    def _end(self, grant: Held, tokens: int, cost: int, number: int) -> None:
        self._tell_end(grant, tokens - grant.claim.tokens, cost, number, (grant.taken, grant.key_taken))

    def _tell_end(
        self,
        grant: Grant,
        change: int,
        cost: int,
        number: int,
        entries: tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]],
    ) -> None:
        claim = grant.claim
        principal = find_principal(grant)
        self._running.pop(claim.request, None)
        taken, key_taken = entries
        words = (
            claim.request,
            script.pack_end(change, cost, grant.period, number),
            self._journal,
            script.pack_taken(taken),
            script.pack_taken(key_taken),
        )

        def take(reply: Reply) -> None:
            checked = self._check(reply)
            if isinstance(checked, bytes):
                self._mirrors.take(principal, script.read_standing(checked))
            elif cost and not principal.bounded:
                ids = principal.account.id, principal.key.id
                self._charges.keep(Charge(number, *ids, cost, grant.period, bounded=False))

        # A lost end is not sent again: the slot ends by itself, and the charge is sent with all others.
        if not self._send("settle", principal, words, take):
            take(None)

    # What is told

    def standing(self, principal: Principal) -> Standing:
        """Return where account and key stood at their newest verdict, with what is over since."""
        if self.degraded:
            return self._alone.standing(principal)
        account, key = self._mirrors.open(principal)
        return limits.describe(principal, account, key, self._clock())

    def flood(self, principal: Principal) -> float:
        """Let a request through to its body and return 0.0, or return the seconds until the next one would be."""
        return self._alone.flood(principal)

    def refused(self, principal: Principal, refusal: Refusal, model: str | None) -> None:
        """Remember a refusal that a client of this gateway is told."""
        self._alone.books.refused(principal, refusal, model)

    def credit(self, principal: Principal) -> asyncio.Future[int]:
        """Return what an account may still spend, nano-dollars."""
        return self._loop.create_task(self._surveyor.credit(principal))

    def survey(self, principal: Principal) -> asyncio.Future[Limits]:
        """Return all that an account and a key have left, and who was refused lately by this gateway."""
        return self._loop.create_task(self._surveyor.survey(principal))

    def oversee(self, holder: Holder) -> asyncio.Future[AccountView]:
        """Return all that an account and each of its keys have left."""
        return self._loop.create_task(self._surveyor.oversee(holder))

    async def look(self, principal: Principal) -> Look | None:
        """Return what Redis has counted by now, after all that this gateway sent before; None while it is away."""
        told: asyncio.Future[Reply] = self._loop.create_future()
        if not self._send("look", principal, (), lambda reply: None if told.done() else told.set_result(reply)):
            return None
        reply = self._check(await told)
        return script.read_look(reply) if isinstance(reply, bytes) else None

    # Money

    async def _open_account(self, principal: Principal) -> None:
        """Begin an account's money, or wait for who does; raise LedgerUnavailable."""
        account = principal.account.id
        opening = self._opening.get(account)
        if opening is None:
            opening = self._opening[account] = self._loop.create_task(self._begin(principal))
            opening.add_done_callback(lambda _: self._opening.pop(account, None))
        await asyncio.shield(opening)

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
        latest = self._loop.time() + _BEGIN_SECONDS
        for words in script.list_parts(figure, b"%b:%d" % (self._journal, next(self._begun))):
            while (reply := await self._tell(generation, principal, words)) == script.TAKEN:
                if self._loop.time() > latest:
                    raise LedgerUnavailable
                await asyncio.sleep(_BEGIN_PAUSE)
            if reply == script.BEGUN:
                return
            if reply != script.MORE or self._loop.time() > latest:
                raise LedgerUnavailable

    async def _tell(self, generation: str, principal: Principal, words: tuple[bytes, ...]) -> Reply:
        """Ask for a part of a beginning; None where Redis is away, or another one by now."""
        told: asyncio.Future[Reply] = self._loop.create_future()
        if self._link.generation != generation or not self._send("begin", principal, words, told.set_result):
            return None
        return self._check(await told)

    def _charge(self, charge: Charge) -> None:
        connection = self._link.connection
        if connection is not None:
            caller = describe_charge(self._link.generation, charge.account, charge.key, bounded=charge.bounded)
            words = (self._journal, script.pack_charge(charge))
            connection.send(self._writer.write("charge", caller, *words), self._ignore)

    # The way to Redis

    def _send(
        self, operation: Operation, principal: Principal, words: tuple[bytes, ...], take: Callable[[Reply], None]
    ) -> bool:
        connection = self._link.connection
        if connection is None:
            return False
        caller = self._callers.get(principal.key.id)
        if caller is None or caller.principal is not principal:
            caller = script.describe(self._link.generation, principal)
            self._callers[principal.key.id] = caller
        connection.send(self._writer.write(operation, caller, *words), take)
        return True

    def _check(self, reply: Reply) -> Reply:
        """Return a reply; an error (Redis that lost the script, is full or read-only) ends the connection."""
        if isinstance(reply, hiredis.ReplyError):
            connection = self._link.connection
            if connection is not None:
                connection.close(str(reply))
            return None
        return reply

    def _ignore(self, reply: Reply) -> None:
        self._check(reply)

    def rise(self, *, anew: bool) -> None:
        """Implement `Owner`: tell Redis what it may not know."""
        self._callers.clear()
        if anew:
            self._mirrors.forget()
        self._hand_over()
        self._renew()
        for charge in self._charges:
            self._charge(charge)

    def fall(self) -> None:
        """Implement `Owner`: go on with books of one's own.

        They have what was given by them in the last minute: a way that comes and goes gives nobody a part each time.
        """
        self._alone.gateways = self._link.gateways

    def _hand_over(self) -> None:
        """Have Redis count what was given without it."""
        for principal, requests, tokens in self._alone.hand_over():
            back = partial(self._alone.take_back, principal, requests, tokens)
            if not self._send("adopt", principal, (b"", script.pack_pair(requests, tokens)), partial(self._keep, back)):
                back()

    def _keep(self, back: Callable[[], None], reply: Reply) -> None:
        """Hear whether Redis counts it; where that is not known it is told again: twice rather than never."""
        if self._check(reply) is None:
            back()

    def _renew(self) -> None:
        held: dict[str, tuple[Principal, list[bytes]]] = {}
        for request, grant in self._running.items():
            principal = find_principal(grant)
            _, words = held.setdefault(principal.key.id, (principal, []))
            words += (request, b"%d" % grant.claim.nano)
        for principal, words in held.values():
            self._send("renew", principal, tuple(words), self._ignore)

    def sweep(self) -> float:
        """Renew what runs and forget what is over; return the seconds until the next time."""
        self._alone.gateways = self._link.gateways
        self._alone.sweep()
        if self._link.connection is not None:
            self._renew()
        self._mirrors.sweep()
        return RENEWAL_SECONDS

    @property
    def running(self) -> int:
        """How many requests hold a slot."""
        return len(self._running)

    @property
    def degraded(self) -> bool:
        """Whether Redis is away, or does not know enough yet."""
        return self._link.connection is None or self._link.gated
