"""What tokens cost: exact, rounded once, down."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core import money, pricing
from techstone.core.pricing import FREE, Price

DOLLAR = money.NANO
PRICE = Price(7, 100, 2_500_000_000, 10 * DOLLAR, 1_250_000_000, 12 * DOLLAR, "config")
PRICES = st.builds(
    Price,
    version=st.just(1),
    valid_from=st.just(0),
    input=st.integers(0, 10**13),
    output=st.integers(0, 10**13),
    cached_input=st.none() | st.integers(0, 10**13),
    reasoning=st.none() | st.integers(0, 10**13),
)
TOKENS = st.integers(0, 10**7)


def test_cost_is_the_sum_of_its_parts() -> None:
    """1,000 prompt tokens, 400 of them cached, 100 completion tokens, 30 of them reasoning."""
    assert pricing.cost(PRICE, 1000, 400, 100, 30) == 600 * 2500 + 400 * 1250 + 70 * 10_000 + 30 * 12_000


def test_parts_without_a_price_of_their_own_cost_as_the_whole() -> None:
    """Cached input as input, reasoning as output; 0 is a price."""
    plain = msgspec.structs.replace(PRICE, cached_input=None, reasoning=None)
    assert pricing.cost(plain, 10, 5, 10, 5) == 10 * 2500 + 10 * 10_000
    assert pricing.cost(msgspec.structs.replace(PRICE, cached_input=0), 10, 10, 0, 0) == 0


@given(PRICES, TOKENS, TOKENS, TOKENS, TOKENS)
def test_cost_is_rounded_once_and_down(price: Price, prompt: int, cached: int, completion: int, reasoning: int) -> None:
    """Less than one nano-dollar below the true amount, never above it; parts never exceed their whole."""
    cached, reasoning = min(cached, prompt), min(reasoning, completion)
    cached_input = price.input if price.cached_input is None else price.cached_input
    thought = price.output if price.reasoning is None else price.reasoning
    true = Fraction((prompt - cached) * price.input + cached * cached_input, pricing.MILLION)
    true += Fraction((completion - reasoning) * price.output + reasoning * thought, pricing.MILLION)
    found = pricing.cost(price, prompt, cached, completion, reasoning)
    assert 0 <= true - found < 1
    assert pricing.cost(price, prompt, cached + prompt, completion, reasoning + completion) == pricing.cost(
        price, prompt, prompt, completion, completion
    )
    assert found <= pricing.highest(price, prompt, completion)


def test_version_in_force_is_the_last_that_began() -> None:
    """At its first second a version is in force; before all of them the first one; without any it is free."""
    later = Price(8, 200, 1, 1)
    assert [pricing.in_force((PRICE, later), at).version for at in (99, 100, 199.9, 200, 1000)] == [7, 7, 7, 8, 8]
    assert pricing.in_force((), 5) is FREE
    assert FREE.version == 0


@pytest.mark.parametrize(
    ("usd", "nano"), [("0.0375", 37_500_000), ("0", 0), ("0.000000001", 1), ("15.00", 15 * DOLLAR)]
)
def test_price_reads_and_shows_exactly(usd: str, nano: int) -> None:
    """USD per million tokens, up to 9 decimals."""
    assert pricing.parse(usd) == nano
    assert pricing.parse(pricing.show(nano)) == nano
