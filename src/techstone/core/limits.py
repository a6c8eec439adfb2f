"""Admission in one decision: all that an account and a key may, all or nothing.

Requests and tokens in any 60 s, requests at a time, credit and caps: a request that is refused on one axis consumes
nothing on the others.

The books are the state, `admit` is the rule; the clock (monotonic seconds) and the UTC period come in. Whoever holds
the books (`adapters/limits`) calls it; the numbers that the client is told are read right after, from the same books.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from techstone.core.flood import Flood
from techstone.core.leases import Leases
from techstone.core.view import Principal
from techstone.core.window import Window
from techstone.wire.limits import Axis, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techstone.core.credit import Period, Spending
    from techstone.core.snapshot import Key, Limits
    from techstone.core.window import Entry

# What running requests have, a slot or money, has no natural end; this is the shortest honest hint.
RUNNING_WAIT = 1.0


class AccountBooks:
    """What is counted of an account. `spent` is its charges ever, nano-dollars; `held` is what is held besides."""

    __slots__ = ("flood", "held", "leases", "month", "spent", "window")

    def __init__(self, spent: int, month: Spending) -> None:
        self.window = Window()
        self.leases = Leases()
        self.flood = Flood()
        self.spent = spent
        self.held = 0
        self.month = month


class KeyBooks:
    """What is counted of a key."""

    __slots__ = ("day", "leases", "month", "window")

    def __init__(self, day: Spending, month: Spending) -> None:
        self.window = Window()
        self.leases = Leases()
        self.day = day
        self.month = month


class Claim(msgspec.Struct, gc=False):
    """What a request asks for: tokens to reserve, and nano-dollars to hold (0: free of charge)."""

    request: bytes
    principal: Principal
    tokens: int
    nano: int


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Why not: which limit of whom. `wait` is in seconds, None where waiting does not help."""

    axis: Axis
    scope: Scope
    limit: int
    needed: int
    wait: float | None


class Grant:
    """What an admitted request holds, until it is settled: tokens at entries of the windows, which others may share.

    Its cost belongs to the period of its admission, as the ledger has it.
    """

    __slots__ = ("account", "claim", "entries", "key", "key_entries", "period", "settled")

    def __init__(self, claim: Claim, account: AccountBooks, key: KeyBooks, period: Period) -> None:
        self.claim = claim
        self.account = account
        self.key = key
        self.period = period
        self.entries: list[tuple[Entry, int]] = []
        self.key_entries: list[tuple[Entry, int]] = []
        self.settled = False


def refuse(claim: Claim, account: AccountBooks, key: KeyBooks, now: float, period: Period) -> Refusal | None:
    """Decide on a request: why it may not be admitted now, or None. Takes nothing.

    Of several reasons the one that lasts longest is told: who waits for it is not refused again for another.
    """
    principal = claim.principal
    limits = principal.limits
    window = account.window
    window.expire(now)
    if (
        window.requests < limits.rpm
        and window.tokens + claim.tokens <= limits.tpm
        and account.leases.room(now, limits.concurrent)
        and not (principal.key_limited and any(_refuse_key(claim, key, now)))
    ):
        if not principal.bounded or not claim.nano:
            return None
        return _refuse_money(claim.nano, principal, account, key, period)
    refusals = [*_refuse_within("account", limits, account, claim.tokens, now)]
    if principal.key_limited:
        refusals += _refuse_key(claim, key, now)
    if claim.nano and (money := _refuse_money(claim.nano, principal, account, key, period)):
        refusals.append(money)
    return max(refusals, key=_last)


def admit(claim: Claim, account: AccountBooks, key: KeyBooks, now: float, period: Period) -> Grant | Refusal:
    """Decide on a request and, if it may, take everything that it asks for."""
    refusal = refuse(claim, account, key, now, period)
    if refusal is not None:
        return refusal
    principal, tokens = claim.principal, claim.tokens
    grant = Grant(claim, account, key, period)
    _take_tokens(grant, now, 1, tokens)
    account.leases.take(claim.request, now)
    if principal.key_limited:
        key.leases.take(claim.request, now)
    if claim.nano:
        _hold(grant, claim.nano)
    return grant


def _refuse_key(claim: Claim, key: KeyBooks, now: float) -> Iterator[Refusal]:
    key.window.expire(now)
    return _refuse_within("key", claim.principal.key, key, claim.tokens, now)


def _refuse_within(
    scope: Scope, limits: Limits | Key, books: AccountBooks | KeyBooks, tokens: int, now: float
) -> Iterator[Refusal]:
    """Yield why the limits of an account or a key refuse a request, on each axis that does."""
    window = books.window
    if limits.rpm is not None and window.requests >= limits.rpm:
        yield Refusal("requests", scope, limits.rpm, 1, window.wait_for_request(now, limits.rpm))
    if limits.tpm is not None and window.tokens + tokens > limits.tpm:
        yield Refusal("tokens", scope, limits.tpm, tokens, window.wait_for_tokens(now, limits.tpm, tokens))
    if limits.concurrent is not None and not books.leases.room(now, limits.concurrent):
        yield Refusal("concurrency", scope, limits.concurrent, 1, RUNNING_WAIT)


def _last(refusal: Refusal) -> float:
    """Return how long a refusal lasts, for ever included."""
    return math.inf if refusal.wait is None else refusal.wait


def _refuse_money(
    nano: int, principal: Principal, account: AccountBooks, key: KeyBooks, period: Period, own: int = 0
) -> Refusal | None:
    """Refuse what credit or a cap does not cover; `own` is what is held for the asking request itself.

    Waiting helps where only what other requests hold is missing: they mostly cost less than is held for them. Of
    several bounds one that waiting does not help goes first.
    """
    passing = None
    for left, held, axis, scope, limit in room(principal, account, key, period):
        if left + held - own < nano:
            return Refusal(axis, scope, limit, nano, None)
        if left < nano and passing is None:
            passing = Refusal(axis, scope, limit, nano, RUNNING_WAIT)
    return passing


def room(
    principal: Principal, account: AccountBooks, key: KeyBooks, period: Period
) -> Iterator[tuple[int, int, Axis, Scope, int]]:
    """Yield what each bound to the money leaves, what is held of it, and what is told: of credit that, else the cap."""
    who, own = principal.account, principal.key
    if principal.plan.billing == "prepaid":
        left = who.granted - account.spent - account.held
        yield left, account.held, "credit", "account", max(0, left)
    if who.monthly_cap is not None:
        account.month.turn(period.month)
        yield account.month.room(who.monthly_cap), account.month.held, "monthly_cap", "account", who.monthly_cap
    if own.daily_cap is not None:
        key.day.turn(period.day)
        yield key.day.room(own.daily_cap), key.day.held, "daily_cap", "key", own.daily_cap
    if own.monthly_cap is not None:
        key.month.turn(period.month)
        yield key.month.room(own.monthly_cap), key.month.held, "monthly_cap", "key", own.monthly_cap


def _take_tokens(grant: Grant, now: float, requests: int, tokens: int) -> None:
    principal = grant.claim.principal
    grant.entries.append((grant.account.window.add(now, requests, tokens, principal.limits.rpm), tokens))
    if principal.key_limited:
        grant.key_entries.append((grant.key.window.add(now, requests, tokens, principal.key.rpm or 0), tokens))


def _hold(grant: Grant, nano: int) -> None:
    grant.account.held += nano
    grant.account.month.held += nano
    grant.key.day.held += nano
    grant.key.month.held += nano


def top_up(grant: Grant, tokens: int, nano: int, now: float, period: Period) -> Refusal | None:
    """Reserve and hold more for a request that runs, or say why not: all or nothing. One that is over gets none."""
    if grant.settled:
        return None
    claim = grant.claim
    principal = claim.principal
    if tokens:
        refusal = _refuse_tokens(grant, tokens, now)
        if refusal is not None:
            return refusal
    if nano:
        refusal = _refuse_money(nano, principal, grant.account, grant.key, period, claim.nano)
        if refusal is not None:
            return refusal
        _hold(grant, nano)
        claim.nano += nano
    if tokens:
        _take_tokens(grant, now, 0, tokens)
        claim.tokens += tokens
    return None


def _refuse_tokens(grant: Grant, tokens: int, now: float) -> Refusal | None:
    """Refuse what does not fit beside all that the windows have, too much of an earlier answer included."""
    principal = grant.claim.principal
    window, limit = grant.account.window, principal.limits.tpm
    window.expire(now)
    if window.tokens + tokens > limit:
        return Refusal("tokens", "account", limit, tokens, window.wait_for_tokens(now, limit, tokens))
    if principal.key_limited and principal.key.tpm is not None:
        window, limit = grant.key.window, principal.key.tpm
        window.expire(now)
        if window.tokens + tokens > limit:
            return Refusal("tokens", "key", limit, tokens, window.wait_for_tokens(now, limit, tokens))
    return None


def cover(grant: Grant, cost: int, period: Period) -> int:
    """Return what of a cost may be charged, and hold it: no credit goes below zero, no cap is passed.

    An upstream may count more than was held (hidden reasoning, another tokenizer); what credit and caps do not cover
    is ours to bear.
    """
    excess = cost - grant.claim.nano
    if excess <= 0 or grant.settled:
        return cost
    excess = max(
        0, min([excess, *(left for left, *_ in room(grant.claim.principal, grant.account, grant.key, period))])
    )
    _hold(grant, excess)
    grant.claim.nano += excess
    return grant.claim.nano


def settle(grant: Grant, tokens: int, cost: int, now: float, period: Period) -> None:
    """Give everything back but what it came to; nothing the second time."""
    if grant.settled:
        return
    grant.settled = True
    claim, account, key = grant.claim, grant.account, grant.key
    account.leases.give(claim.request)
    if claim.principal.key_limited:
        key.leases.give(claim.request)
    _correct(account.window, grant.entries, tokens - claim.tokens, now)
    if grant.key_entries:
        _correct(key.window, grant.key_entries, tokens - claim.tokens, now)
    held = claim.nano
    if held or cost:
        began = grant.period
        account.held -= held
        account.spent += cost
        account.month.settle(period.month, began.month, held, cost)
        key.day.settle(period.day, began.day, held, cost)
        key.month.settle(period.month, began.month, held, cost)


def _correct(window: Window, entries: list[tuple[Entry, int]], change: int, now: float) -> None:
    """Lower the reservation to the true figure, the newest first; where more came than was reserved, count that too.

    More cannot be refused any more, but what follows must wait for it: the window tells the truth.
    """
    if change > 0:
        window.add(now, 0, change)
        return
    for entry, taken in reversed(entries):
        if change == 0:
            return
        lowered = max(change, -taken)
        window.change(entry, lowered)
        change -= lowered


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What a client is told on every answer: of requests and of tokens the limit, what is left, seconds to full."""

    limit_requests: int
    remaining_requests: int
    limit_tokens: int
    remaining_tokens: int
    reset: float


def describe(principal: Principal, account: AccountBooks, key: KeyBooks | None, now: float) -> Standing:
    """Return where account and key stand; on each axis the tighter of the two."""
    limits = principal.limits
    window = account.window
    window.expire(now)
    requests, left = limits.rpm, limits.rpm - window.requests
    tokens, tokens_left = limits.tpm, limits.tpm - window.tokens
    reset = window.reset(now)
    if key is not None and principal.key_limited:
        own = principal.key
        key.window.expire(now)
        reset = max(reset, key.window.reset(now))
        if own.rpm is not None and own.rpm - key.window.requests < left:
            requests, left = own.rpm, own.rpm - key.window.requests
        if own.tpm is not None and own.tpm - key.window.tokens < tokens_left:
            tokens, tokens_left = own.tpm, own.tpm - key.window.tokens
    return Standing(requests, max(0, left), tokens, max(0, tokens_left), reset)
