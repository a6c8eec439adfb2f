"""What tokens cost: versioned prices, and the one place where a price becomes an amount.

Prices are whole nano-dollars per MILLION tokens, so that $0.0375 per million is exact. An amount is rounded once, down:
in the customer's favour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core import money

if TYPE_CHECKING:
    from collections.abc import Sequence

MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version of a model's price, in nano-dollars per million tokens; in force from `valid_from` (unix seconds).

    `cached_input` None: as `input`; `reasoning` None: as `output`. `version` 0 is no version: free of charge by rule.
    """

    version: int
    valid_from: int
    input: int
    output: int
    cached_input: int | None = None
    reasoning: int | None = None
    source: str = ""


FREE = Price(0, 0, 0, 0, source="engine")


def cost(price: Price, prompt: int, cached: int, completion: int, reasoning: int) -> int:
    """Return nano-dollars for tokens: `cached` of the prompt's, `reasoning` of the completion's."""
    total = prompt * price.input + completion * price.output
    if cached and price.cached_input is not None:
        total += min(cached, prompt) * (price.cached_input - price.input)
    if reasoning and price.reasoning is not None:
        total += min(reasoning, completion) * (price.reasoning - price.output)
    return total // MILLION


def highest(price: Price, prompt: int, completion: int) -> int:
    """Return the most that so many tokens can cost, whatever part is cached or reasoning; rounded up."""
    dearest_in, dearest_out = price.input, price.output
    if price.cached_input is not None and price.cached_input > dearest_in:
        dearest_in = price.cached_input
    if price.reasoning is not None and price.reasoning > dearest_out:
        dearest_out = price.reasoning
    return -(-(prompt * dearest_in + completion * dearest_out) // MILLION)


def in_force(prices: Sequence[Price], at: float) -> Price:
    """Return the version in force at a unix time; before the first one, the first one. Without any: FREE."""
    found = prices[0] if prices else FREE
    for price in prices:
        if price.valid_from <= at:
            found = price
    return found


def parse(usd: str) -> int:
    """Read USD per million tokens, up to 9 decimals; raise ValueError."""
    return money.parse(usd)


def show(nano: int) -> str:
    """Write a price as USD per million tokens."""
    return money.show(nano)
