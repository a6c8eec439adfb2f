"""Every error that a request can end with has its words: a cause and a remedy."""

from __future__ import annotations

import pytest
from vectors import read_failures

from techstone.control.console.remedies import Trouble, advise, knows
from techstone.wire.limits import Axis, Scope

# Of the management API, which no request for a model meets; and a provider's own, which have one for all.
ELSEWHERE = {
    *(f"{thing}_not_found" for thing in ("account", "key", "project", "member", "request", "invoice")),
    "admin_key_required",
    "{code}",
}
ERRORS = [one for one in read_failures().errors if one.error.code not in ELSEWHERE]


@pytest.mark.parametrize("vector", ERRORS, ids=lambda vector: vector.name)
def test_every_error_of_the_catalogue_has_words(vector: object) -> None:
    """By its code, or its type where it has none."""
    error = vector.error  # type: ignore[attr-defined]  # a vector's
    assert knows(error.code or error.type)
    advice = advise(Trouble(error.code or error.type, vector.status))  # type: ignore[attr-defined]  # the same
    assert advice.cause.endswith(".")
    assert advice.remedy.endswith(".")
    assert "{" not in advice.cause + advice.remedy
    assert advice.link.startswith(("/console/", "/docs/"))


def test_every_limit_has_its_own_words() -> None:
    """Whose it is stands in them, and how long to wait."""
    told = set()
    for axis in Axis.__args__:  # type: ignore[attr-defined]  # a Literal's
        code = "insufficient_quota" if axis in {"credit", "monthly_cap", "daily_cap"} else "rate_limit_exceeded"
        for scope in Scope.__args__:  # type: ignore[attr-defined]  # the same
            told.add(advise(Trouble(code, 429, axis=axis, scope=scope)).cause)
    assert len(told) > len(Axis.__args__)  # type: ignore[attr-defined]  # the same
    assert "after 9 seconds" in advise(Trouble("rate_limit_exceeded", 429, axis="tokens", scope="key", wait=9)).remedy
    assert "Waiting does not help" in advise(Trouble("rate_limit_exceeded", 429, axis="tokens", scope="key")).remedy


@pytest.mark.parametrize("axis", ["credit", "monthly_cap", "daily_cap"])
def test_money_that_is_held_is_another_thing_than_money_that_is_spent(axis: Axis) -> None:
    """As the headers of the answer have it."""
    held = advise(Trouble("insufficient_quota", 429, axis=axis, scope="account", wait=1))
    assert "after 1 second;" in held.remedy
    assert held != advise(Trouble("insufficient_quota", 429, axis=axis, scope="account"))


def test_code_of_a_provider_has_general_words() -> None:
    """And what the client sent is not read as a template."""
    assert advise(Trouble("made_up", 400)).cause == "The provider refused the request."
    assert advise(Trouble("model_not_found", 404, "{field} {}")).cause == "There is no model {field} {} here."
