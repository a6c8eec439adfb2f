"""Who was refused lately: the newest refusals of an account, for an hour, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core import refusals
from techstone.core.limits import Refusal
from techstone.core.refused import ACCOUNTS, KEPT, SECONDS, Refused
from techstone.core.snapshot import Account, Key, Plan
from techstone.core.view import Principal, make_principal
from techstone.wire.limits import RefusedRequest

if TYPE_CHECKING:
    from techstone.wire.limits import Axis

_PLAN = Plan("p", 60, 1000, 5, "prepaid")
_REFUSAL = Refusal("requests", "account", 60, 1, 12.3)


def _who(number: int = 1) -> Principal:
    account = f"a{number}"
    return make_principal(Key(f"k{number}", "0" * 64, account, "n", f"h{number}"), Account(account, "a@x", "p"), _PLAN)


_TIMES = st.lists(st.sampled_from([0.0, 0.5]) | st.floats(0, 1000), max_size=60)


@given(_TIMES, st.floats(0, 5000))
def test_newest_twenty_of_the_last_hour_are_told_newest_first(pauses: list[float], later: float) -> None:
    """However many there were, and whether or not the store was swept meanwhile."""
    refused, now, noted = Refused(), 1.8e9, list[tuple[float, str]]()
    for number, pause in enumerate(pauses):
        now += pause
        refused.note(_who(), _REFUSAL, f"m{number}", now)
        noted.append((now, f"m{number}"))
        if number % 3 == 0:
            refused.expire(now)
    now += later
    expected = [(at, model) for at, model in reversed(noted[-KEPT:]) if now - at < SECONDS]
    assert [(found.at, found.model) for found in refused.recall("a1", now)] == expected
    refused.expire(now)
    assert [(found.at, found.model) for found in refused.recall("a1", now)] == expected


def test_refusal_is_told_with_its_limit_and_key() -> None:
    """When, which limit, whose, by which key and for which model."""
    refused = Refused()
    refused.note(_who(7), Refusal("tokens", "key", 100, 200, 3.2), "gpt-4o", 1.8e9)
    refused.note(_who(7), Refusal("flood", "account", 600, 1, 0.1), None, 1.8e9 + 1)
    assert refused.recall("a7", 1.8e9 + 2) == [
        RefusedRequest(1.8e9 + 1, "flood", "account", "h7", None, 1),
        RefusedRequest(1.8e9, "tokens", "key", "h7", "gpt-4o", 4),
    ]


@pytest.mark.parametrize("axis", ["requests", "tokens", "concurrency"])
@given(st.floats(0, 60) | st.none())
def test_wait_is_the_one_that_the_client_was_told(axis: Axis, wait: float | None) -> None:
    """The number of `Retry-After`; none where there was no such header."""
    refused, refusal = Refused(), Refusal(axis, "account", 60, 100, wait)
    refused.note(_who(), refusal, None, 0.0)
    told = dict(refusals.explain(refusal).headers()).get(b"retry-after")
    assert refused.recall("a1", 0.0)[0].retry_after == (None if told is None else int(told))


def test_one_account_takes_no_place_of_another() -> None:
    """A client gone wild drives out its own older refusals only."""
    refused = Refused()
    refused.note(_who(1), _REFUSAL, "m", 0.0)
    for _ in range(10 * ACCOUNTS):
        refused.note(_who(2), _REFUSAL, "m", 1.0)
    assert len(refused.recall("a1", 1.0)) == 1
    assert len(refused.recall("a2", 1.0)) == KEPT
    assert refused.recall("a3", 1.0) == []


def test_account_that_was_refused_longest_ago_gives_its_place() -> None:
    """10,000 accounts are kept: one more costs the oldest its refusals, not one that was refused again since."""
    refused = Refused()
    for number in range(ACCOUNTS):
        refused.note(_who(number), _REFUSAL, "m", 0.0)
    refused.note(_who(0), _REFUSAL, "m", 1.0)
    refused.note(_who(ACCOUNTS), _REFUSAL, "m", 2.0)
    assert [len(refused.recall(f"a{number}", 2.0)) for number in (0, 1, 2, ACCOUNTS)] == [2, 0, 1, 1]
    assert len(refused) == ACCOUNTS


def test_account_is_forgotten_an_hour_after_its_last_refusal() -> None:
    """Its memory is given back, not only hidden; others keep theirs."""
    refused = Refused()
    for number, at in enumerate((0.0, 10.0, 20.0)):
        refused.note(_who(number), _REFUSAL, "m", at)
    refused.note(_who(0), _REFUSAL, "m", 30.0)
    for now, kept in ((SECONDS, 3), (SECONDS + 10, 2), (SECONDS + 20, 1), (SECONDS + 29, 1), (SECONDS + 30, 0)):
        refused.expire(now)
        assert len(refused) == kept
