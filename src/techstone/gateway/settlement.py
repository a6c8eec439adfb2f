"""The end of every chat request, by success, error or hang-up: one record of what it was and what it took.

Recorded exactly once, and durably before the client has the last byte of a whole answer. What it held is given back
right after. Streams that run are recorded every 2 s as far as they were delivered, so that a crash loses no more.
"""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING

import msgspec

from techstone.core import money, pricing
from techstone.core.errors import JournalUnwritable
from techstone.core.limits import Grant
from techstone.core.pricing import Price
from techstone.core.tally import Tally
from techstone.core.usage import UsageRecord
from techstone.gateway.dispatch import Attempt
from techstone.gateway.exchange import Exchange
from techstone.gateway.ports import SettlementFailed
from techstone.wire.usage import BilledUsage, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.core.usage import State
    from techstone.gateway.ports import Journal, LimitStore, StoredAnswer
    from techstone.gateway.soon import Soon

# What nginx writes for a client that hung up; nobody is sent it.
HUNG_UP = 499
CHECKPOINT_SECONDS = 2.0
_MICROSECONDS = 1_000_000


class Account(msgspec.Struct, gc=False):
    """A request under way, as its settlement needs it. Starts as a hang-up, which is what an unforeseen end is."""

    exchange: Exchange
    model: str
    stream: bool
    grant: Grant
    price: Price
    tally: Tally
    attempt: Attempt
    at: int  # unix milliseconds
    status: int = HUNG_UP
    error_code: str | None = "client_closed"
    first_byte: float = 0.0
    delivered: int = 0  # our count at the last checkpoint

    def fail(self, status: int, error_code: str) -> None:
        """Hear how it failed."""
        self.status = status
        self.error_code = error_code


class Bill(msgspec.Struct, gc=False):
    """What a whole answer took: for the client and for the books."""

    usage: Usage
    cost: int

    @property
    def shown(self) -> BilledUsage:
        """The usage with its cost, as it is sent."""
        return BilledUsage.of(self.usage, money.show(self.cost))


class Settlement:
    """Records and gives back. `clock` is the event loop's."""

    def __init__(self, clock: Callable[[], float], limits: LimitStore, journal: Journal) -> None:
        self._clock = clock
        self._limits = limits
        self._journal = journal
        self._running: set[int] = set()
        self._streams: dict[int, Account] = {}

    def require(self) -> None:
        """Raise JournalUnwritable where what is admitted could not be recorded."""
        if self._journal.problem is not None:
            raise JournalUnwritable

    def price(self, account: Account) -> Soon[Bill]:
        """Return what the answer that is now whole takes; credit that it needs beyond its hold is held."""
        usage = account.tally.settled()
        cost = _cost(account.price, usage)
        if cost <= account.grant.claim.nano:
            return Bill(usage, cost)
        covered = self._limits.cover(account.grant, cost)
        if not isinstance(covered, Future):
            return Bill(usage, covered)
        told: Future[Bill] = covered.get_loop().create_future()
        covered.add_done_callback(lambda done: None if told.done() else told.set_result(Bill(usage, done.result())))
        return told

    async def settle(self, account: Account, bill: Bill, answer: StoredAnswer | None = None) -> None:
        """Record a whole answer durably; raise JournalUnwritable, and then nothing is owed."""
        usage = bill.usage
        account.status = 200
        account.error_code = None
        record = self._record(account, "settled", usage, bill.cost)
        account.exchange.record = record
        try:
            await self._journal.commit(record, answer)
        except SettlementFailed as failed:
            account.exchange.record = None
            account.fail(503, "journal_unwritable")
            if not account.stream:
                account.first_byte = 0.0  # nothing of a whole answer has left
            raise JournalUnwritable from failed
        except BaseException:
            # The client hung up while its record was being written: it is billed, as the answer was whole.
            self._limits.settle(account.grant, usage.total_tokens, bill.cost)
            raise
        self._limits.settle(account.grant, usage.total_tokens, bill.cost)

    def close(self, account: Account) -> None:
        """Record what did not come to its whole end: billed for what was delivered, nothing if nothing was."""
        exchange = account.exchange
        self._streams.pop(id(account), None)
        if exchange.record is not None:
            return
        usage = account.tally.counted() if account.first_byte else None
        if usage is None or not usage.completion_tokens:
            exchange.record = record = self._record(account, "void", None, 0)
            self._limits.settle(account.grant, 0, 0)
        else:
            covered = self._limits.cover(account.grant, _cost(account.price, usage))
            # Nobody waits any more; what is held is sure.
            cost = account.grant.claim.nano if isinstance(covered, Future) else covered
            exchange.record = record = self._record(account, "settled", usage, cost)
            self._limits.settle(account.grant, usage.total_tokens, cost)
        self._journal.append(record)

    def begin(self, account: Account) -> None:
        """Hear that a stream's first byte left: from now on it is recorded every 2 s."""
        self._streams[id(account)] = account

    def end(self, account: Account) -> None:
        """Hear that a stream is over."""
        self._streams.pop(id(account), None)

    def checkpoint(self) -> float:
        """Record how far each running stream was delivered; return the seconds until the next time."""
        for account in self._streams.values():
            usage = account.tally.counted()
            if usage.completion_tokens > account.delivered:
                account.delivered = usage.completion_tokens
                cost = min(_cost(account.price, usage), account.grant.claim.nano)
                self._journal.append(self._record(account, "open", usage, cost))
        return CHECKPOINT_SECONDS

    @property
    def streams(self) -> int:
        """How many streams run."""
        return len(self._streams)

    def _record(self, account: Account, state: State, usage: Usage | None, cost: int) -> UsageRecord:
        exchange, attempt, claim = account.exchange, account.attempt, account.grant.claim
        cached = reasoning = 0
        if usage is not None:
            if usage.prompt_tokens_details is not None:
                cached = usage.prompt_tokens_details.cached_tokens or 0
            if usage.completion_tokens_details is not None:
                reasoning = usage.completion_tokens_details.reasoning_tokens or 0
        started, first_byte = exchange.started, account.first_byte
        return UsageRecord(
            exchange.request_id.decode(),
            state,
            claim.principal.account.id,
            claim.principal.key.id,
            account.model,
            attempt.provider,
            attempt.model,
            account.status,
            account.stream,
            account.at,
            int((first_byte - started) * _MICROSECONDS) + 1 if first_byte else 0,
            int((self._clock() - started) * _MICROSECONDS),
            usage.prompt_tokens if usage else 0,
            cached,
            usage.completion_tokens if usage else 0,
            reasoning,
            cost,
            claim.nano if state == "open" else 0,
            account.price.version,
            account.error_code if state != "open" else None,
            attempt.count,
        )


def _cost(price: Price, usage: Usage) -> int:
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return pricing.cost(
        price,
        usage.prompt_tokens,
        (prompt.cached_tokens or 0) if prompt is not None else 0,
        usage.completion_tokens,
        (completion.reasoning_tokens or 0) if completion is not None else 0,
    )
