"""Where an account and a key stand: what is told to be left is what the next request gets; telling takes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core import limits, survey
from techstone.core.credit import Period, Spending
from techstone.core.limits import AccountBooks, Claim, Grant, KeyBooks
from techstone.core.snapshot import Account, Key, Plan
from techstone.core.view import Principal, make_principal
from techstone.wire.limits import AccountLimits, ConcurrentLimit, KeyLimits, MinuteLimit, SpendingCap

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = Key("k1", "0" * 64, "a1", "n", "h")
_ACCOUNT = Account("a1", "a@x", "p")
_PLAN = Plan("p", 100, 1000, 50, "postpaid")
_DOLLAR = 10**9


def who(
    plan: Plan = _PLAN, account: Mapping[str, int] | None = None, key: Mapping[str, int | None] | None = None
) -> Principal:
    return make_principal(
        msgspec.structs.replace(_KEY, **key or {}), msgspec.structs.replace(_ACCOUNT, **account or {}), plan
    )


class Desk:
    """A key and its account with their books, and a time that a test moves."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.now = 1000.0
        self.period = Period(20_000, 24_000)
        self.account = AccountBooks(0, Spending(self.period.month))
        self.key = KeyBooks(Spending(self.period.day), Spending(self.period.month))

    def claim(self, request: int, tokens: int, nano: int = 0) -> Claim:
        return Claim(b"%d" % request, self.principal, tokens, nano)

    def grant(self, request: int, tokens: int, nano: int = 0) -> Grant:
        found = limits.admit(self.claim(request, tokens, nano), self.account, self.key, self.now, self.period)
        assert isinstance(found, Grant)
        return found

    def settle(self, grant: Grant, tokens: int, cost: int = 0) -> None:
        limits.settle(grant, tokens, cost, self.now, self.period)

    def count(self) -> tuple[AccountLimits, KeyLimits | None]:
        return (
            survey.count_account(self.principal, self.account, self.now),
            survey.count_key(self.principal, self.key, self.now),
        )

    def money(self, *, known: bool = True) -> tuple[str | None, list[SpendingCap]]:
        return survey.list_money(self.principal, self.account, self.key, self.period, known=known)


_PLANS = st.builds(
    Plan, st.just("p"), st.integers(1, 6), st.integers(60, 160), st.integers(1, 4), billing=st.just("postpaid")
)
_FEW = st.none() | st.integers(1, 5)
_LIMITS = st.fixed_dictionaries({"rpm": _FEW, "tpm": st.none() | st.integers(50, 150), "concurrent": _FEW})
_STEPS = st.lists(st.tuples(st.floats(0, 25), st.integers(1, 80), st.booleans()), min_size=1, max_size=25)


@given(_STEPS, _PLANS, _LIMITS)
def test_request_is_admitted_just_where_every_limit_has_something_left(
    steps: list[tuple[float, int, bool]], plan: Plan, own: dict[str, int | None]
) -> None:
    """Of account and key; asking twice changes no figure, and no decision."""
    desk = Desk(who(plan, key=own))
    for number, (pause, tokens, ends) in enumerate(steps):
        desk.now += pause
        told = desk.count()
        assert desk.count() == told
        room = True
        for of in told:
            for limit, needed in ((of.requests, 1), (of.tokens, tokens)) if of else ():
                room &= limit is None or limit.remaining >= needed
            room &= of is None or of.concurrent is None or of.concurrent.used < of.concurrent.limit
        found = limits.admit(desk.claim(number, tokens), desk.account, desk.key, desk.now, desk.period)
        assert isinstance(found, Grant) == room
        if isinstance(found, Grant) and ends:
            desk.settle(found, tokens // 2)


def test_account_is_told_what_it_used_and_when_it_is_back() -> None:
    """A running request counts with what it reserves, one that ended with what it took; both for 60 s."""
    desk = Desk(who())
    ended = desk.grant(1, 100)
    desk.now += 20
    desk.grant(2, 300)
    desk.settle(ended, 40)
    desk.now += 0.9994
    account, key = desk.count()
    assert account == AccountLimits(
        MinuteLimit(100, 2, 98, 59.001), MinuteLimit(1000, 340, 660, 59.001), ConcurrentLimit(50, 1)
    )
    assert key is None
    desk.now += 60
    assert desk.count()[0] == AccountLimits(
        MinuteLimit(100, 0, 100, 0.0), MinuteLimit(1000, 0, 1000, 0.0), ConcurrentLimit(50, 0)
    )


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, None),
        ({"daily_cap": 5}, None),
        ({"rpm": 3}, KeyLimits(MinuteLimit(3, 1, 2, 60.0), None, None)),
        ({"tpm": 90}, KeyLimits(None, MinuteLimit(90, 10, 80, 60.0), None)),
        ({"concurrent": 2}, KeyLimits(None, None, ConcurrentLimit(2, 1))),
    ],
)
def test_key_is_told_the_limits_that_it_has(own: dict[str, int], expected: KeyLimits | None) -> None:
    """Null each where it has none, and null altogether where it has none at all; a cap is no such limit."""
    desk = Desk(who(key=own))
    desk.grant(1, 10)
    assert desk.count()[1] == expected


def test_plan_that_was_lowered_leaves_nothing_and_no_less() -> None:
    """More may have been used than is allowed now: `used` says so, `remaining` is not below zero."""
    desk = Desk(who())
    for number in range(3):
        desk.grant(number, 100)
    desk.principal = who(Plan("p", 2, 150, 1, "postpaid"))
    assert desk.count()[0] == AccountLimits(
        MinuteLimit(2, 3, 0, 60.0), MinuteLimit(150, 300, 0, 60.0), ConcurrentLimit(1, 3)
    )


def test_credit_is_what_may_still_be_spent() -> None:
    """Granted less spent less held; none where the account pays afterwards, and never below zero."""
    prepaid = Plan("p", 100, 1000, 50, "prepaid")
    desk = Desk(who(prepaid, {"granted": 10 * _DOLLAR}))
    desk.settle(desk.grant(1, 1, 4 * _DOLLAR), 1, 3 * _DOLLAR)
    desk.grant(2, 1, _DOLLAR // 2)
    assert desk.money() == ("6.50", [])
    desk.principal = who(prepaid, {"granted": 2 * _DOLLAR})
    assert desk.money() == ("0.00", [])
    desk.principal = who()
    assert desk.money() == (None, [])


def test_caps_are_told_with_what_counts_against_them() -> None:
    """Of account and key; what is held counts as spent, and a new day begins at nothing."""
    desk = Desk(who(_PLAN, {"monthly_cap": 9 * _DOLLAR}, {"daily_cap": 2 * _DOLLAR, "monthly_cap": 5 * _DOLLAR}))
    desk.settle(desk.grant(1, 1, _DOLLAR), 1, _DOLLAR)
    desk.grant(2, 1, _DOLLAR // 4)
    assert desk.money() == (
        None,
        [
            SpendingCap("account", "month", "9.00", "1.25", "7.75"),
            SpendingCap("key", "day", "2.00", "1.25", "0.75"),
            SpendingCap("key", "month", "5.00", "1.25", "3.75"),
        ],
    )
    desk.period = Period(20_001, 24_000)
    desk.principal = who(key={"daily_cap": _DOLLAR // 8})
    assert desk.money() == (None, [SpendingCap("key", "day", "0.125", "0.25", "0.00")])


def test_nothing_is_said_of_money_that_is_not_known() -> None:
    """The caps are the key's and the account's own; what was spent of them is the ledger's to say."""
    desk = Desk(who(Plan("p", 100, 1000, 50, "prepaid"), {"granted": _DOLLAR, "monthly_cap": _DOLLAR}))
    assert desk.money(known=False) == (None, [SpendingCap("account", "month", "1.00", None, None)])
