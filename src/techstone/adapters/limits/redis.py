"""The limit store in Redis or Valkey: any number of gateways keep one plan, exactly, and one credit.

One script decides (`admission.lua`); this asks it, remembers what its own requests hold, and tells each request's end.
While Redis is away every gateway gives its part of the plans by itself (`alone`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from techstone.adapters.limits import script
from techstone.adapters.limits.beginnings import Beginnings
from techstone.adapters.limits.charges import Charge
from techstone.adapters.limits.grants import Held, Share, find_principal
from techstone.adapters.limits.mirrors import Mirrors
from techstone.adapters.limits.operations import Operations
from techstone.adapters.limits.script import Admitted
from techstone.adapters.limits.surveyor import Surveyor
from techstone.core import limits
from techstone.core.errors import LedgerUnavailable, LimitsUnknown
from techstone.core.leases import RENEWAL_SECONDS
from techstone.core.limits import Claim, Grant, Refusal, Standing
from techstone.gateway.trampoline import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from techstone.adapters.limits.alone import Alone, Given
    from techstone.adapters.limits.beginnings import Ledger
    from techstone.adapters.limits.charges import Charges
    from techstone.adapters.limits.connection import Reply
    from techstone.adapters.limits.link import Link
    from techstone.adapters.limits.script import Look, Operation, Writer
    from techstone.adapters.limits.telling import Call
    from techstone.core.usage import UsageRecord
    from techstone.core.view import Holder, Principal
    from techstone.gateway.soon import Soon
    from techstone.wire.limits import AccountView, Limits

# So many charges that are booked wait for a Redis that is away, 60 MB; with more the money of all accounts begins anew.
_MOST_UNTOLD = 200_000
# Requests of one key that one call renews: 3 µs each.
_RENEWED = 100


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
        self._clock = clock
        self._operations = Operations(link, writer)
        self._beginnings = Beginnings(link, self._operations, ledger, self._journal)
        self._mirrors = Mirrors(clock)
        self._surveyor = Surveyor(self.look, alone, clock)
        self._running: dict[bytes, Held | Share] = {}
        # Charges and ends with one, in the order of their numbers, while older ones are told; None: all are.
        self._queue: deque[tuple[int, Callable[[], Call]]] | None = None
        self._applied = 0
        link.owners.append(self)

    # Requests

    async def admit(self, claim: Claim) -> Grant | Refusal:
        """Decide; raise LedgerUnavailable where credit or caps count and are not known, or LimitsUnknown."""
        for _ in range(2):
            question = self._ask("admit", claim)
            try:
                await question
            except BaseException:  # its client hung up: what it is granted now is given back
                question.abandoned = claim
                if question.come:
                    self._give_back(claim, question.reply)
                raise
            if not isinstance(question.reply, bytes):
                return await self._admit_alone(claim)
            found = script.read(question.reply)
            if found is not None:
                return self._take(claim, found)
            await self._beginnings.begin(claim.principal)
        raise LedgerUnavailable

    async def _admit_alone(self, claim: Claim) -> Grant | Refusal:
        if not self._link.counted:
            raise LimitsUnknown
        self._alone.gateways = self._link.gateways
        found = await self._alone.admit(claim)
        if isinstance(found, Refusal):
            return found
        grant = self._running[claim.request] = Share(claim.principal, found)
        if self._link.gated and self._link.connection is not None:
            given = self._alone.hand_over_key(claim.principal.key.id)
            if given is not None:
                self._link.connection.send(*self._adopt(given))
            self._operations.send("renew", claim.principal, (claim.request, b"%d" % claim.nano), self._ignore)
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
                if not self._link.counted:
                    raise LimitsUnknown
                return await self._alone.consider(claim)
            found = script.read(question.reply)
            if found is not None:
                self._mirrors.take(claim.principal, found.standing)
                return None if isinstance(found, Admitted) else found.refusal
            await self._beginnings.begin(claim.principal)
        raise LedgerUnavailable

    def _ask(self, operation: Operation, claim: Claim) -> _Question:
        question = _Question(self._hear)
        words = (claim.request, script.pack_pair(claim.tokens, claim.nano))
        if self._link.gated or not self._operations.send(operation, claim.principal, words, question.take):
            question.come = True
        return question

    def _hear(self, question: _Question, reply: Reply) -> None:
        question.reply = self._link.check(reply)
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
            refusal = self._extend(grant, tokens, nano, self._link.check(reply))
            if not told.done():
                told.set_result(refusal)
            if grant.ending is not None and not grant.pending:
                self._end(grant, *grant.ending)

        if not self._operations.send("top_up", claim.principal, (claim.request, script.pack_pair(tokens, nano)), take):
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
            checked = self._link.check(reply)
            if isinstance(checked, bytes):
                claim.nano = script.read_amount(checked)
            if not told.done():
                told.set_result(min(cost, claim.nano))

        words = (claim.request, script.pack_pair(claim.nano, cost))
        return told if self._operations.send("cover", claim.principal, words, take) else claim.nano

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
        """Hear how far the ledger has followed this gateway's journal.

        What is booked may be forgotten once Redis knows it, too: accounts whose money had begun before it was booked
        do not have it by their figure.
        """
        self._applied = applied
        if self._link.connection is None and len(self._charges) > _MOST_UNTOLD:
            self._charges.shipped(applied)
            self._link.outdated = True
        else:
            self._charges.shipped(min(applied, self._link.told))

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
            checked = self._link.check(reply)
            if isinstance(checked, bytes):
                self._mirrors.take(principal, script.read_standing(checked))
                self._link.told = max(self._link.told, number)
            elif cost and not principal.bounded:
                ids = principal.account.id, principal.key.id
                self._charges.keep(Charge(number, *ids, cost, grant.period, bounded=False))

        # A lost end is not sent again: the slot ends by itself, and the charge is sent with all others.
        if number and self._queue is not None:
            self._queue.append((number, lambda: (self._operations.write("settle", principal, words), take)))
        elif not self._operations.send("settle", principal, words, take):
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
        if not self._operations.send(
            "look", principal, (), lambda reply: None if told.done() else told.set_result(reply)
        ):
            return None
        reply = self._link.check(await told)
        return script.read_look(reply) if isinstance(reply, bytes) else None

    def _charge(self, charge: Charge) -> None:
        if self._queue is not None:
            self._queue.append((charge.number, partial(self._write_charge, charge)))
        elif self._link.connection is not None:
            self._link.connection.send(*self._write_charge(charge))

    def _write_charge(self, charge: Charge) -> Call:
        def take(reply: Reply) -> None:
            if self._link.check(reply) is not None:
                self._link.told = max(self._link.told, charge.number)

        return self._operations.write_charge(charge, self._journal), take

    # As Redis goes and comes

    def _ignore(self, reply: Reply) -> None:
        self._link.check(reply)

    def give(self) -> Iterator[Call]:
        """Implement `Owner`: have Redis count what was given without it, as of now."""
        for given in self._alone.hand_over():
            yield self._adopt(given)

    def _adopt(self, given: Given) -> Call:
        words = (b"", script.pack_pair(len(given.times), sum(tokens for _, tokens in given.times)))

        def take(reply: Reply) -> None:
            # Where it is not known whether Redis counts it, it is told again: twice rather than never.
            if self._link.check(reply) is None:
                self._alone.take_back(given)

        return self._operations.write("adopt", given.principal, words), take

    def rise(self, *, anew: bool) -> Iterator[Call]:
        """Implement `Owner`: tell what runs, and what Redis does not know of this gateway's journal."""
        self._operations.forget()
        if anew:
            self._mirrors.forget()
            if self._link.young:
                self._charges.shipped(self._applied)  # all figures will have it
        told = self._link.told
        calls: dict[int, Callable[[], Call]] = {
            charge.number: partial(self._write_charge, charge) for charge in self._charges if charge.number > told
        }
        # Of a generation that ended amid its telling: the ends among it still have their turn.
        calls |= dict(self._queue or ())
        self._queue = deque(sorted(calls.items()))
        return self._tell_rest(self._queue)

    def _tell_rest(self, queue: deque[tuple[int, Callable[[], Call]]]) -> Iterator[Call]:
        yield from self._renew()
        while queue:
            _, write = queue.popleft()
            yield write()
        # What stood in it is sent in this very turn of the event loop, and so before all that is sent from now on.
        self._queue = None

    def fall(self) -> None:
        """Implement `Owner`: go on with books of one's own.

        They have what was given by them in the last minute: a way that comes and goes gives nobody a part each time.
        """
        self._alone.gateways = self._link.gateways
        queue, self._queue = self._queue, None
        for _, write in queue or ():  # what waits for its turn is lost as if it had been sent
            _, take = write()
            take(None)

    def _renew(self) -> Iterator[Call]:
        """Yield calls for what runs, as long as it does when they are asked for."""
        held: dict[str, tuple[Principal, list[bytes]]] = {}
        for request, grant in self._running.items():
            principal = find_principal(grant)
            held.setdefault(principal.key.id, (principal, []))[1].append(request)
        for principal, requests in held.values():
            for at in range(0, len(requests), _RENEWED):
                running = [(of, self._running[of]) for of in requests[at : at + _RENEWED] if of in self._running]
                words = [word for of, grant in running for word in (of, b"%d" % grant.claim.nano)]
                if words:
                    yield self._operations.write("renew", principal, tuple(words)), self._ignore

    def sweep(self) -> float:
        """Renew what runs and forget what is over; return the seconds until the next time."""
        self._alone.gateways = self._link.gateways
        self._alone.sweep()
        self._link.tell(self._renew())
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

    @property
    def problem(self) -> str | None:
        """Why nothing is admitted: a part of a plan is the plan divided by a number that was never heard."""
        if self._link.counted or not self.degraded:
            return None
        return "Redis was not heard yet, so that it is not known how many gateways share the limits"
