"""Admission in one decision: all or nothing, everything back exactly once, and no account beyond what is its own."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core import limits
from techstone.core.credit import Period, Spending
from techstone.core.leases import SECONDS
from techstone.core.limits import AccountBooks, Claim, Grant, KeyBooks, Refusal
from techstone.core.snapshot import Account, Key, Plan
from techstone.core.view import Principal, make_principal

_KEY = Key("k1", "0" * 64, "a1", "n", "h")
_ACCOUNT = Account("a1", "a@x", "p", granted=100)
_PLAN = Plan("p", 100, 1000, 50, "prepaid")
_POSTPAID = msgspec.structs.replace(_PLAN, billing="postpaid")


def who(plan: Plan = _PLAN, account: dict[str, int] | None = None, **key: int) -> Principal:
    return make_principal(
        msgspec.structs.replace(_KEY, **key), msgspec.structs.replace(_ACCOUNT, **account or {}), plan
    )


class Desk:
    """A key and its account with their books, and a time that a test moves."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.now = 0.0
        self.period = Period(20_000, 24_000)
        self.account = AccountBooks(0, Spending(self.period.month))
        self.key = KeyBooks(Spending(self.period.day), Spending(self.period.month))
        self._asked = 0

    def ask(self, tokens: int = 1, nano: int = 0) -> Grant | Refusal:
        self._asked += 1
        claim = Claim(b"%d" % self._asked, self.principal, tokens, nano)
        return limits.admit(claim, self.account, self.key, self.now, self.period)

    def grant(self, tokens: int = 1, nano: int = 0) -> Grant:
        found = self.ask(tokens, nano)
        assert isinstance(found, Grant)
        return found

    def refusal(self, tokens: int = 1, nano: int = 0) -> Refusal:
        found = self.ask(tokens, nano)
        assert isinstance(found, Refusal)
        return found

    def top_up(self, grant: Grant, tokens: int, nano: int = 0) -> Refusal | None:
        return limits.top_up(grant, tokens, nano, self.now, self.period)

    def settle(self, grant: Grant, tokens: int = 0, cost: int = 0) -> None:
        limits.settle(grant, tokens, cost, self.now, self.period)

    def figures(self) -> list[int]:
        """Return all that is counted now."""
        found = [self.account.spent, self.account.held]
        for books in (self.account, self.key):
            books.window.expire(self.now)
            found += [books.window.requests, books.window.tokens, books.leases.count(self.now)]
        for spending in (self.account.month, self.key.day, self.key.month):
            found += [spending.spent, spending.held]
        return found


_REFUSED = [
    (who(msgspec.structs.replace(_PLAN, rpm=1)), 1, 1, Refusal("requests", "account", 1, 1, 60.0)),
    (who(msgspec.structs.replace(_PLAN, tpm=100)), 41, 1, Refusal("tokens", "account", 100, 41, 60.0)),
    (who(), 1001, 1, Refusal("tokens", "account", 1000, 1001, None)),
    (who(msgspec.structs.replace(_PLAN, concurrent=1)), 1, 1, Refusal("concurrency", "account", 1, 1, 1.0)),
    (who(rpm=1), 1, 1, Refusal("requests", "key", 1, 1, 60.0)),
    (who(tpm=100), 41, 1, Refusal("tokens", "key", 100, 41, 60.0)),
    (who(concurrent=1), 1, 1, Refusal("concurrency", "key", 1, 1, 1.0)),
    (who(), 1, 61, Refusal("credit", "account", 60, 61, 1.0)),
    (who(_POSTPAID, {"monthly_cap": 50}), 1, 11, Refusal("monthly_cap", "account", 50, 11, 1.0)),
    (who(daily_cap=50), 1, 11, Refusal("daily_cap", "key", 50, 11, 1.0)),
    (who(monthly_cap=50), 1, 11, Refusal("monthly_cap", "key", 50, 11, 1.0)),
]
# What running requests hold would not be enough either.
_NEVER = [
    (who(), 1, 101, Refusal("credit", "account", 60, 101, None)),
    (who(_POSTPAID, {"monthly_cap": 50}), 1, 51, Refusal("monthly_cap", "account", 50, 51, None)),
    (who(daily_cap=50), 1, 51, Refusal("daily_cap", "key", 50, 51, None)),
    (who(monthly_cap=50), 1, 51, Refusal("monthly_cap", "key", 50, 51, None)),
    (who(daily_cap=50, monthly_cap=45), 1, 46, Refusal("monthly_cap", "key", 45, 46, None)),
]


@pytest.mark.parametrize(("principal", "tokens", "nano", "refusal"), [*_REFUSED, *_NEVER])
def test_refusal_says_which_limit_of_whom_and_takes_nothing(
    principal: Principal, tokens: int, nano: int, refusal: Refusal
) -> None:
    """Beside a request that holds 60 tokens and 40 nano-dollars: one axis refuses, and nothing is taken on any."""
    desk = Desk(principal)
    desk.grant(60, 40)
    before = desk.figures()
    assert desk.ask(tokens, nano) == refusal
    assert desk.figures() == before


@pytest.mark.parametrize(
    ("principal", "tokens", "nano", "axis"), [(*case, why.axis) for *case, why in _REFUSED if 1 < why.needed < 100]
)
def test_what_is_left_is_given_to_the_last_token_and_nano_dollar(
    principal: Principal, tokens: int, nano: int, axis: str
) -> None:
    """Beside the same request: with one less on the axis that refused it, the request is admitted."""
    desk = Desk(principal)
    desk.grant(60, 40)
    desk.grant(*(tokens - 1, nano) if axis == "tokens" else (tokens, nano - 1))


_ASKED = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 60), st.integers(0, 20)), min_size=1, max_size=30)


@given(_ASKED)
def test_requests_are_admitted_wholly_or_not_at_all(asked: list[tuple[float, int, int]]) -> None:
    """Under limits on every axis: a grant takes exactly what it asked for, a refusal nothing, and each says so."""
    plan = Plan("p", 6, 150, 4, "prepaid")
    desk = Desk(who(plan, {"granted": 90, "monthly_cap": 80}, rpm=5, tpm=120, concurrent=3, daily_cap=70))
    for pause, tokens, nano in asked:
        desk.now += pause
        before = desk.figures()
        found = desk.ask(tokens, nano)
        taken = [after - figure for after, figure in zip(desk.figures(), before, strict=True)]
        if isinstance(found, Grant):
            assert taken == [0, nano, 1, tokens, 1, 1, tokens, 1, 0, nano, 0, nano, 0, nano]
            assert max(desk.figures()[3], desk.figures()[6]) <= 120
        else:
            assert not any(taken)
            claim = Claim(b"again", desk.principal, tokens, nano)
            assert limits.refuse(claim, desk.account, desk.key, desk.now, desk.period) == found


@given(_ASKED, st.integers(1, 6), st.integers(60, 200), st.none() | st.integers(1, 6), st.none() | st.integers(60, 200))
def test_who_waits_what_he_was_told_is_admitted(
    asked: list[tuple[float, int, int]], rpm: int, tpm: int, key_rpm: int | None, key_tpm: int | None
) -> None:
    """The wait is that of the limit which lasts longest, of account and key; 60 s at most."""
    principal = who(Plan("p", rpm, tpm, 50, "postpaid"))
    key = msgspec.structs.replace(_KEY, rpm=key_rpm, tpm=key_tpm)
    desk = Desk(make_principal(key, principal.account, principal.plan))
    for pause, tokens, _ in asked:
        desk.now += pause
        found = desk.ask(tokens)
        if isinstance(found, Refusal):
            assert found.wait is not None
            assert found.wait <= 60 + 1e-9
            desk.now += math.ceil(found.wait * 1000) / 1000 + 1e-9  # as `retry-after-ms` tells it, rounding aside
            found = desk.ask(tokens)
        assert isinstance(found, Grant)
        desk.settle(found, tokens)


def test_reason_that_lasts_longest_is_told() -> None:
    """First credit that no waiting brings; then requests; then slots, and credit that only running requests hold."""
    desk = Desk(who(Plan("p", 1, 1000, 1, "prepaid"), rpm=1))
    running = desk.grant(1, 100)
    assert desk.refusal(1, 101).axis == "credit"
    assert desk.refusal(1, 1).axis == "requests"
    desk.now = SECONDS * 2
    running.account.leases.take(running.claim.request, desk.now)
    assert desk.refusal().axis == "concurrency"


def test_free_request_needs_no_credit() -> None:
    """What costs nothing is admitted with nothing left and beyond every cap."""
    desk = Desk(who(_PLAN, {"granted": 0, "monthly_cap": 0}, daily_cap=0))
    assert desk.refusal(1, 1).axis == "credit"
    desk.grant(1, 0)


@pytest.mark.parametrize(
    ("principal", "bounded"),
    [
        (who(), True),
        (who(_POSTPAID), False),
        (who(_POSTPAID, {"monthly_cap": 50}), True),
        (who(_POSTPAID, daily_cap=50), True),
        (who(_POSTPAID, monthly_cap=50), True),
    ],
)
def test_money_is_bounded_by_credit_and_by_each_cap(principal: Principal, bounded: bool) -> None:  # noqa: FBT001 - a fact of the table
    """Where it is not, a request of any price is admitted; where it is, one beyond the bound is refused."""
    assert principal.bounded == bounded
    assert isinstance(Desk(principal).ask(1, 10**12), Refusal) == bounded


def test_key_without_limits_of_its_own_is_not_counted() -> None:
    """Its books stay empty but for its money, which a cap may be set for later."""
    desk = Desk(who())
    desk.top_up(desk.grant(5, 5), 5, 5)
    assert (desk.key.window.tokens, desk.key.leases.count(0.0)) == (0, 0)
    assert (desk.key.day.held, desk.key.month.held) == (10, 10)


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 90), st.integers(0, 30)), min_size=1, max_size=4))
def test_settlement_gives_everything_back_once(reserved: list[tuple[float, int, int]]) -> None:
    """However it was topped up: settled at nothing only the request counts, and a second settlement changes nothing."""
    desk = Desk(who(_PLAN, tpm=900))
    (_, tokens, nano), *more = reserved
    grant = desk.grant(tokens, nano)
    for pause, tokens, nano in more:
        desk.now += pause
        desk.top_up(grant, tokens, nano)
    desk.settle(grant)
    recent = int(desk.now < SECONDS * 2)
    assert desk.figures() == [0, 0, recent, 0, 0, recent, 0, 0, *[0] * 6]
    desk.settle(grant, 50, 50)
    assert desk.figures() == [0, 0, recent, 0, 0, recent, 0, 0, *[0] * 6]


@given(st.integers(1, 300), st.lists(st.integers(0, 200), max_size=3), st.integers(0, 900))
def test_tokens_settled_lower_are_free_again(first: int, more: list[int], took: int) -> None:
    """And those that came beyond the reservation count: another request gets just what is left of the plan."""
    desk = Desk(who(tpm=1000))
    grant = desk.grant(first)
    for tokens in more:
        desk.now += 1
        assert desk.top_up(grant, tokens) is None
    desk.settle(grant, took)
    assert desk.account.window.tokens == desk.key.window.tokens == took
    assert desk.refusal(1000 - took + 1).axis == "tokens"
    desk.grant(1000 - took)


def test_tokens_are_given_back_where_they_were_taken() -> None:
    """The newest first: what was reserved at admission stays counted until that is 60 s old, what came later longer."""
    desk = Desk(who())
    grant = desk.grant(100)
    desk.now = 50.0
    desk.top_up(grant, 200)
    desk.settle(grant, 150)
    desk.now = 60.0
    assert desk.figures()[3] == 50
    desk.now = 110.0
    assert desk.figures()[3] == 0


def test_tokens_beyond_the_reservation_count_from_when_they_were_known() -> None:
    """Nobody was asked for them: they are in the window for 60 s from the settlement, the reserved ones from before."""
    desk = Desk(who())
    grant = desk.grant(10)
    desk.now = 30.0
    desk.settle(grant, 11)
    desk.now = 60.0
    assert desk.figures()[3] == 1
    desk.now = 90.0
    assert desk.figures()[3] == 0


def test_reservation_that_is_out_of_the_window_is_not_given_back_twice() -> None:
    """A stream of more than a minute: its first tokens are forgotten already, only the later ones come back."""
    desk = Desk(who())
    grant = desk.grant(100)
    desk.now = 50.0
    desk.top_up(grant, 200)
    desk.now = 65.0
    desk.grant(7)
    desk.settle(grant, 0)
    assert desk.figures()[3] == 7


@given(st.lists(st.tuples(st.floats(0, 0.02), st.integers(1, 99), st.integers(0, 99)), min_size=1, max_size=20))
def test_merged_requests_are_settled_each_for_itself(asked: list[tuple[float, int, int]]) -> None:
    """Above 5,000 requests a minute, where requests of the same 10 ms share an entry: the sums are exact."""
    desk = Desk(who(Plan("p", 10_000, 10**6, 100, "postpaid"), rpm=9000))
    running: list[Grant] = []
    for pause, tokens, _ in asked:
        desk.now += pause
        running.append(desk.grant(tokens))
    desk.now += 1
    for grant, (_, _, took) in zip(running, asked, strict=True):
        desk.settle(grant, took)
    requests, tokens = len(asked), sum(took for _, _, took in asked)
    assert desk.figures()[2:8] == [requests, tokens, 0, requests, tokens, 0]
    desk.now += SECONDS * 2
    assert desk.figures()[2:8] == [0] * 6


_STEPS = st.tuples(st.sampled_from(["admit", "top up", "settle"]), st.integers(0, 9), st.integers(0, 60))


@given(st.lists(_STEPS, max_size=40), st.integers(0, 150))
def test_prepaid_account_never_goes_below_zero(steps: list[tuple[str, int, int]], granted: int) -> None:
    """Whatever is admitted, topped up, covered and charged: what is spent and held stays within what was granted."""
    desk = Desk(who(_PLAN, {"granted": granted}))
    running: list[Grant] = []
    spent = 0
    for step, place, nano in steps:
        if step == "admit":
            found = desk.ask(1, nano)
            running += [found] if isinstance(found, Grant) else []
        elif running and step == "top up":
            desk.top_up(running[place % len(running)], 1, nano)
        elif running:
            grant = running.pop(place % len(running))
            cost = limits.cover(grant, nano, desk.period)
            assert cost <= nano
            desk.settle(grant, 1, cost)
            spent += cost
        held = sum(grant.claim.nano for grant in running)
        assert spent + held <= granted
        assert desk.figures()[:2] == [spent, held]
        assert desk.figures()[8:] == [spent, held] * 3


_SHORT = [
    (who(msgspec.structs.replace(_PLAN, tpm=70)), 11, 1, Refusal("tokens", "account", 70, 11, 60.0)),
    (who(msgspec.structs.replace(_PLAN, tpm=70)), 71, 1, Refusal("tokens", "account", 70, 71, None)),
    (who(tpm=70), 11, 1, Refusal("tokens", "key", 70, 11, 60.0)),
    (who(), 1, 61, Refusal("credit", "account", 60, 61, None)),
    (who(daily_cap=50), 1, 11, Refusal("daily_cap", "key", 50, 11, None)),
]


@pytest.mark.parametrize(("principal", "tokens", "nano", "refusal"), _SHORT)
def test_top_up_that_is_refused_takes_nothing(principal: Principal, tokens: int, nano: int, refusal: Refusal) -> None:
    """A running request keeps what it has; the step that does not fit takes neither tokens nor money."""
    desk = Desk(principal)
    grant = desk.grant(60, 40)
    before = desk.figures()
    assert desk.top_up(grant, tokens, nano) == refusal
    assert desk.figures() == before
    assert (grant.claim.tokens, grant.claim.nano) == (60, 40)


def test_top_up_may_wait_for_what_others_hold() -> None:
    """Not for what is held for itself, which it has until its end."""
    desk = Desk(who())
    grant = desk.grant(1, 40)
    desk.grant(1, 30)
    assert desk.top_up(grant, 1, 60) == Refusal("credit", "account", 30, 60, 1.0)
    assert desk.top_up(grant, 1, 61) == Refusal("credit", "account", 30, 61, None)


@pytest.mark.parametrize("principal", [who(msgspec.structs.replace(_PLAN, tpm=70)), who(tpm=70)])
def test_top_up_may_take_all_that_is_left(principal: Principal) -> None:
    """To the last token, and again all of the plan once a stream's own first tokens are 60 s old."""
    desk = Desk(principal)
    grant = desk.grant(60)
    assert desk.top_up(grant, 10) is None
    desk.now = 60.0
    assert desk.top_up(grant, 70) is None


def test_top_up_is_no_request() -> None:
    """It takes tokens and money at its own time, and neither a request nor a slot."""
    desk = Desk(who(rpm=1))
    grant = desk.grant(60, 40)
    desk.now = 20.0
    assert desk.top_up(grant, 10, 5) is None
    assert desk.figures() == [0, 45, 1, 70, 1, 1, 70, 1, 0, 45, 0, 45, 0, 45]
    desk.now = 60.0
    assert desk.figures()[2:4] == [0, 10]


@pytest.mark.parametrize(
    ("plan", "cost", "covered"),
    [(_PLAN, 40, 40), (_PLAN, 50, 50), (_PLAN, 70, 70), (_PLAN, 71, 70), (_POSTPAID, 10_000, 10_000)],
)
def test_cost_is_covered_as_far_as_credit_goes(plan: Plan, cost: int, covered: int) -> None:
    """Of 110, 10 spent, 50 held here, 30 by another: 20 more can be charged; who pays later covers everything."""
    desk = Desk(who(plan, {"granted": 110}))
    desk.settle(desk.grant(1, 10), 1, 10)
    grant, _ = desk.grant(1, 50), desk.grant(1, 30)
    assert limits.cover(grant, cost, desk.period) == covered
    assert desk.account.held == 30 + max(50, covered)
    assert limits.cover(grant, cost, desk.period) == covered, "asked again it is the same"
    desk.settle(grant, 1, covered)
    assert desk.figures()[:2] == [10 + covered, 30]


def test_slot_comes_back_with_the_settlement_and_without_the_holder() -> None:
    """Of account and key: at once when it is settled, after 30 s where nobody renews it."""
    desk = Desk(who(msgspec.structs.replace(_PLAN, concurrent=1), concurrent=1))
    desk.settle(desk.grant())
    desk.grant()
    assert desk.refusal().axis == "concurrency"
    desk.now = 30.0
    desk.grant()


def test_caps_begin_anew_with_their_period() -> None:
    """The day's at midnight UTC, the month's with the month."""
    desk = Desk(who(_POSTPAID, {"monthly_cap": 150}, daily_cap=100, monthly_cap=140))
    desk.settle(desk.grant(1, 90), 1, 90)
    assert desk.refusal(1, 20).axis == "daily_cap"
    desk.period = Period(20_001, 24_000)
    assert desk.refusal(1, 51) == Refusal("monthly_cap", "key", 140, 51, None)
    desk.settle(desk.grant(1, 50), 1, 50)
    desk.period = Period(20_002, 24_001)
    desk.grant(1, 100)


def test_cost_is_booked_in_the_period_in_which_a_request_began() -> None:
    """As the ledger has it: one from before midnight of the month's last day leaves the caps of the new ones whole."""
    desk = Desk(who(_POSTPAID))
    desk.settle(desk.grant(1, 40), 1, 40)
    late = desk.grant(1, 90)
    desk.period = Period(20_001, 24_001)
    desk.settle(late, 1, 80)
    assert desk.figures()[8:] == [0, 0] * 3
    assert desk.figures()[:2] == [120, 0]


def test_client_is_told_the_tighter_of_account_and_key() -> None:
    """On each axis by itself, by what is left and not by the limit."""
    plan = msgspec.structs.replace(_PLAN, rpm=12)
    wide, tight = who(plan, rpm=13, tpm=900), who(plan, rpm=11, tpm=1200)
    desk = Desk(wide)
    assert limits.describe(wide, desk.account, desk.key, 0.0) == limits.Standing(12, 12, 900, 900, 0.0)
    desk.settle(desk.grant(100), 100)
    assert limits.describe(wide, desk.account, desk.key, 15.0) == limits.Standing(12, 11, 900, 800, 45.0)
    assert limits.describe(tight, desk.account, desk.key, 15.0) == limits.Standing(11, 10, 1000, 900, 45.0)
    assert limits.describe(tight, desk.account, None, 15.0) == limits.Standing(12, 11, 1000, 900, 45.0)
    assert limits.describe(wide, desk.account, desk.key, 60.0) == limits.Standing(12, 12, 900, 900, 0.0)


def test_client_is_told_when_all_is_back() -> None:
    """The longer time of account and key: another key's request, later, keeps the account from being full."""
    desk = Desk(who(rpm=10))
    desk.settle(desk.grant(100), 100)
    desk.account.window.add(20.0, 1, 5)
    assert limits.describe(desk.principal, desk.account, desk.key, 20.0).reset == 60.0


def test_exact_settlement_does_not_put_off_when_all_is_back() -> None:
    """It is no new entry in the window."""
    desk = Desk(who())
    grant = desk.grant(100)
    desk.now = 15.0
    desk.settle(grant, 100)
    assert limits.describe(desk.principal, desk.account, None, 15.0).reset == 45.0


def test_what_is_left_is_never_below_zero() -> None:
    """An answer that took more than the plan leaves nothing."""
    desk = Desk(who(msgspec.structs.replace(_PLAN, rpm=1)))
    desk.settle(desk.grant(500), 1500)
    assert limits.describe(desk.principal, desk.account, desk.key, 0.0) == limits.Standing(1, 0, 1000, 0, 60.0)


def test_settlement_gives_back_its_own_tokens_only() -> None:
    """Above 5,000 requests a minute entries are shared: another request's 500 stay counted for their 60 s."""
    desk = Desk(who(Plan("e", 10_000, 20_000_000, 500, "postpaid")))
    first = desk.grant(100)
    desk.now = 10.0
    other = desk.grant(500)
    desk.now = 10.005
    assert desk.top_up(first, 1000) is None
    desk.now = 11.0
    desk.settle(first)
    assert desk.account.window.tokens == 500
    desk.settle(other)
    assert desk.account.window.tokens == 0


def test_stream_whose_tokens_are_reserved_is_not_refused_tokens() -> None:
    """Another answer took more than it had reserved; one that tops up money only asks for no token."""
    desk = Desk(who(Plan("p", 60, 100, 5, "prepaid"), {"granted": 1000}))
    stream, other = desk.grant(50, 1), desk.grant(50, 1)
    desk.settle(other, 51, 1)
    assert desk.top_up(stream, 0, 5) is None
    assert desk.top_up(stream, 1, 0) is not None


def test_cost_beyond_the_hold_passes_no_cap() -> None:
    """An upstream that counts more than was held: what a cap does not cover is ours to bear."""
    desk = Desk(who(_POSTPAID, {"monthly_cap": 150}, daily_cap=100))
    grant = desk.grant(1, 60)
    assert limits.cover(grant, 120, desk.period) == 100
    desk.settle(grant, 1, 100)
    assert desk.refusal(1, 1).axis == "daily_cap"


def test_request_that_is_over_takes_nothing_more() -> None:
    """A late chunk asks for room: nothing is held that nobody would give back."""
    desk = Desk(who(_PLAN, {"granted": 1000}))
    grant = desk.grant(10, 10)
    desk.settle(grant, 10, 10)
    before = desk.figures()
    assert desk.top_up(grant, 10, 10) is None
    assert limits.cover(grant, 99, desk.period) == 99
    assert desk.figures() == before
