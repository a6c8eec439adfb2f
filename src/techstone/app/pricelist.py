"""The price list that comes with the package `genai-prices`: what a provider's model costs by its maker's own page.

Asked only for models that nobody gave a price, in a process of its own that ends at once: the list takes 0.4 s and
40 MB to load (measured), which neither the supervisor nor the control plane shall carry. It stands in the package;
nothing is ever fetched. Of tiers by prompt length and of prices by the time of day the base is taken; of prices that
begin at a date the one of today.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from techstone.app.config import ConfigError
from techstone.core import pricing
from techstone.core.pricing import Price

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genai_prices.types import ModelInfo

SOURCE = "genai-prices"
_SECONDS = 60.0


class Question(msgspec.Struct, frozen=True):
    """A model as its provider calls it. The provider is known by its name, else by its URL."""

    provider: str
    base_url: str
    model: str


_QUESTIONS = msgspec.json.Decoder(list[Question])
_ANSWERS = msgspec.json.Decoder(list[Price | None])


def ask(questions: Sequence[Question]) -> list[Price | None]:
    """Return the prices in the order of the questions, None for what the list does not know; raise ConfigError."""
    if not questions:
        return []
    command = [sys.executable, "-m", "techstone.app.pricelist"]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, input=msgspec.json.encode(questions), stdout=subprocess.PIPE, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"the price list cannot be read ({error}); give every model a price") from error
    return _ANSWERS.decode(done.stdout)


class PriceList:
    """The list, asked from the control plane without waiting for it. Implements `control.catalog.ports.PriceList`."""

    async def ask(self, provider: str, base_url: str, models: Sequence[str]) -> Sequence[Price | None]:
        """Return the price of each of a provider's models, None for what is not known."""
        questions = [Question(provider, base_url, model) for model in models]
        try:
            return await asyncio.to_thread(ask, questions)
        except ConfigError:
            return [None] * len(models)  # then somebody has to type it


def look_up(questions: Sequence[Question], now: datetime) -> list[Price | None]:
    """Answer in this process, by the prices of a moment."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - see above

    listed = get_snapshot()
    # By the list's own ids and nothing that is only alike: `openai-compatible` is not OpenAI.
    by_name = {provider.id: provider for provider in listed.providers}
    found: list[Price | None] = []
    for question in questions:
        provider = by_name.get(question.provider)
        if provider is None:
            try:
                provider = listed.find_provider(None, None, question.base_url)
            except LookupError:
                found.append(None)
                continue
        model = provider.find_model(question.model, all_providers=listed.providers)
        found.append(None if model is None else _choose(model, now))
    return found


def _choose(model: ModelInfo, now: datetime) -> Price | None:
    """Return the model's price of today; None where the list has no amount for what goes in or comes out."""
    from genai_prices.types import ModelPrice, StartDateConstraint  # noqa: PLC0415 - see above

    prices = model.prices if isinstance(model.prices, ModelPrice) else None
    if not isinstance(model.prices, ModelPrice):
        for entry in model.prices:  # later entries go before earlier ones
            begins = entry.constraint
            if begins is None or (isinstance(begins, StartDateConstraint) and begins.active(now)):
                prices = entry.prices
    if prices is None:
        return None
    given, made = _read(prices.input_mtok), _read(prices.output_mtok)
    if given is None or made is None:
        return None
    return Price(0, 0, given, made, _read(prices.cache_read_mtok), _read(prices.output_reasoning_mtok), SOURCE)


def _read(part: object) -> int | None:
    """Return nano-dollars per million; a tiered price by its base."""
    amount = getattr(part, "base", part)
    if not isinstance(amount, Decimal) or not amount.is_finite() or amount < 0:
        return None
    try:
        return pricing.parse(f"{amount.normalize():f}")
    except ValueError:
        return None  # finer than a nano-dollar: not a price that can be told exactly


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(look_up(_QUESTIONS.decode(sys.stdin.buffer.read()), datetime.now(UTC))))
