"""What a client is told when a limit refuses: which limit, of whom, and how long it really lasts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core.errors import QuotaExceeded, RateLimited
from techstone.core.limits import Refusal
from techstone.core.money import NANO
from techstone.core.refusals import explain

if TYPE_CHECKING:
    from techstone.wire.limits import Axis, Scope

_AXES: st.SearchStrategy[Axis] = st.sampled_from(["requests", "tokens", "concurrency"])
_SCOPES: st.SearchStrategy[Scope] = st.sampled_from(["account", "key"])


@given(_AXES, _SCOPES, st.integers(2, 10**9), st.floats(0, 60, exclude_min=True))
def test_wait_that_is_told_is_the_true_one(axis: Axis, scope: Scope, limit: int, wait: float) -> None:
    """In the message rounded up to whole seconds, as in `Retry-After`; for the client's clock to the millisecond."""
    error = explain(Refusal(axis, scope, limit, 1, wait))
    seconds = math.ceil(wait)
    assert isinstance(error, RateLimited)
    assert f" of your {scope}, {limit:,} " in error.message
    assert error.message.endswith(f"retry after {seconds} second{'' if seconds == 1 else 's'}.")
    assert error.retry_after == wait
    assert dict(error.headers())[b"retry-after"] == b"%d" % seconds
    assert error.should_retry is None, "status and wait say all; SDKs retry by themselves"


@pytest.mark.parametrize(
    ("axis", "named"),
    [
        ("requests", "10,000 requests per minute"),
        ("tokens", "10,000 tokens per minute"),
        ("concurrency", "10,000 concurrent requests"),
    ],
)
def test_limit_is_named(axis: Axis, named: str) -> None:
    """As the plans name it, with its number."""
    assert explain(Refusal(axis, "key", 10_000, 1, 2.0)).message == (
        f"You have exceeded the rate limit of your key, {named}. Please retry after 2 seconds."
    )


def test_request_that_never_fits_is_not_to_be_sent_again() -> None:
    """No wait is told, and SDKs are told not to retry."""
    error = explain(Refusal("tokens", "account", 150_000, 200_000, None))
    assert isinstance(error, RateLimited)
    assert (error.retry_after, error.should_retry) == (None, False)
    assert error.headers() == [(b"x-should-retry", b"false")]
    assert "may take 200,000 tokens" in error.message
    assert "your account (150,000 tokens per minute)" in error.message
    assert "retry" not in error.message


def test_missing_credit_is_told_with_what_is_left() -> None:
    """The amount that would be held and the one that is there, exact to the nano-dollar; no wait is promised."""
    error = explain(Refusal("credit", "account", NANO // 2, NANO + 1, None))
    assert isinstance(error, QuotaExceeded)
    assert "up to $1.000000001 must be held for it and $0.50 is left" in error.message
    assert (error.retry_after, error.should_retry) == (None, False)


@pytest.mark.parametrize("axis", ["credit", "daily_cap"])
def test_money_that_running_requests_hold_is_worth_waiting_for(axis: Axis) -> None:
    """An SDK tries again by itself: there is a time, and no word against it."""
    error = explain(Refusal(axis, "account", NANO, 2 * NANO, 1.0))
    assert isinstance(error, QuotaExceeded)
    assert error.message.endswith("now, as your running requests hold the rest. Please retry after 1 second.")
    assert (error.retry_after, error.should_retry) == (1.0, None)


@pytest.mark.parametrize(
    ("axis", "scope", "named"),
    [
        ("monthly_cap", "account", "monthly spending cap of your account ($5.00)"),
        ("monthly_cap", "key", "monthly spending cap of your key ($5.00)"),
        ("daily_cap", "key", "daily spending cap of your key ($5.00)"),
    ],
)
def test_cap_is_named_with_whose_it_is(axis: Axis, scope: Scope, named: str) -> None:
    """A cap is no rate limit: its code is `insufficient_quota`, its text has the cap and what would be held."""
    error = explain(Refusal(axis, scope, 5 * NANO, 2 * NANO, None))
    assert isinstance(error, QuotaExceeded)
    assert error.code == "insufficient_quota"
    assert error.message == f"The {named} does not cover this request, for which up to $2.00 must be held."


def test_flood_is_told_as_what_it_is() -> None:
    """No limit of the plan, but ten times it; the wait is true here, too."""
    error = explain(Refusal("flood", "account", 600, 1, 0.1))
    assert isinstance(error, RateLimited)
    assert error.message == (
        "You have sent more than 600 requests per minute, 10 times your plan. Please retry after 1 second."
    )
    assert (error.retry_after, error.should_retry) == (0.1, None)


def test_limit_of_one_is_singular() -> None:
    """One request, one token, one at a time."""
    assert "1 request per minute" in explain(Refusal("requests", "key", 1, 1, 5.0)).message
    assert "1 concurrent request." in explain(Refusal("concurrency", "key", 1, 1, 1.0)).message
