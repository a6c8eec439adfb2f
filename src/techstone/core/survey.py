"""Where an account and a key stand on everything that limits them, as GET /v1/limits tells it.

Read from the books that `core.limits` decides by, in its terms; nothing is taken. The clock and the UTC period come in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from techstone.core import limits, money
from techstone.wire.limits import (
    AccountLimits,
    ConcurrentLimit,
    KeyLimits,
    KeyView,
    Limits,
    MinuteLimit,
    SpendingCap,
)

if TYPE_CHECKING:
    from techstone.core.credit import Period
    from techstone.core.leases import Leases
    from techstone.core.limits import AccountBooks, KeyBooks
    from techstone.core.view import Principal


def describe(
    principal: Principal, books: tuple[AccountBooks, KeyBooks], now: float, period: Period, *, known: bool
) -> Limits:
    """Return all that an account and a key have left; who was refused is another's to say."""
    account, key = books
    credit, caps = list_money(principal, account, key, period, known=known)
    counted = count_account(principal, account, now)
    return Limits(principal.plan.name, counted, count_key(principal, key, now), credit, caps, [])


def describe_key(
    principal: Principal, books: tuple[AccountBooks, KeyBooks], now: float, period: Period, *, known: bool
) -> KeyView | None:
    """Return what a key has left of its own; None: it has no limits and no caps."""
    own = principal.key
    if not principal.key_limited and own.daily_cap is None and own.monthly_cap is None:
        return None
    account, key = books
    _, caps = list_money(principal, account, key, period, known=known)
    return KeyView(own.id, count_key(principal, key, now), [cap for cap in caps if cap.scope == "key"])


def count_account(principal: Principal, books: AccountBooks, now: float) -> AccountLimits:
    """Return what counts over all keys of the account."""
    allowed, window = principal.limits, books.window
    window.expire(now)
    reset = window.reset(now)
    return AccountLimits(
        _count(allowed.rpm, window.requests, reset),
        _count(allowed.tpm, window.tokens, reset),
        _count_slots(allowed.concurrent, books.leases, now),
    )


def count_key(principal: Principal, books: KeyBooks, now: float) -> KeyLimits | None:
    """Return what counts for the key alone; None: it has no limits of its own."""
    if not principal.key_limited:
        return None
    own, window = principal.key, books.window
    window.expire(now)
    reset = window.reset(now)
    return KeyLimits(
        None if own.rpm is None else _count(own.rpm, window.requests, reset),
        None if own.tpm is None else _count(own.tpm, window.tokens, reset),
        None if own.concurrent is None else _count_slots(own.concurrent, books.leases, now),
    )


def _count(limit: int, used: int, reset: float) -> MinuteLimit:
    return MinuteLimit(limit, used, max(0, limit - used), math.ceil(reset * 1000) / 1000)


def _count_slots(limit: int, leases: Leases, now: float) -> ConcurrentLimit:
    return ConcurrentLimit(limit, leases.count(now))


def list_money(
    principal: Principal, account: AccountBooks, key: KeyBooks, period: Period, *, known: bool
) -> tuple[str | None, list[SpendingCap]]:
    """Return the credit that is left, None where there is no such bound, and the caps.

    Not `known`: what was spent before is not, so that only the caps themselves can be told.
    """
    credit: str | None = None
    caps: list[SpendingCap] = []
    for left, _, axis, scope, limit in limits.room(principal, account, key, period):
        if axis == "credit":
            credit = money.show(limit) if known else None
        else:
            caps.append(
                SpendingCap(
                    scope,
                    "day" if axis == "daily_cap" else "month",
                    money.show(limit),
                    money.show(limit - left) if known else None,
                    money.show(max(0, left)) if known else None,
                )
            )
    return credit, caps
