"""The price list that comes with the package: exact, offline, in a process of its own."""

from __future__ import annotations

import socket
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from techstone.app import pricelist
from techstone.app.config import ConfigError
from techstone.app.pricelist import Question
from techstone.core.pricing import Price

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def _list(prices: ModelPrice | list[ConditionalPrice]) -> DataSnapshot:
    model = ModelInfo("m", ClauseEquals("m"), prices=prices)
    return DataSnapshot(
        [Provider("maker", "Maker", r"https://api\.maker\.example", models=[model])], from_auto_update=False
    )


def _look_up(monkeypatch: pytest.MonkeyPatch, prices: ModelPrice | list[ConditionalPrice]) -> Price | None:
    monkeypatch.setattr("genai_prices.data_snapshot.get_snapshot", lambda: _list(prices))
    (found,) = pricelist.look_up([Question("maker", "", "m")], NOON)
    return found


def test_amounts_are_taken_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decimals become nano-dollars per million, none is rounded."""
    exact = ModelPrice(
        input_mtok=Decimal("0.0375"), output_mtok=Decimal("1E+1"), cache_read_mtok=Decimal("0.000000001")
    )
    assert _look_up(monkeypatch, exact) == Price(0, 0, 37_500_000, 10**10, 1, None, "genai-prices")
    assert _look_up(monkeypatch, ModelPrice(input_mtok=Decimal("1E-10"), output_mtok=Decimal(1))) is None
    assert _look_up(monkeypatch, ModelPrice(input_mtok=Decimal(1))) is None


def test_of_tiers_and_times_of_day_the_base_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tier for short prompts; the price without a time; of dates the newest that began."""
    tiered = ModelPrice(input_mtok=TieredPrices(Decimal(1), [Tier(200_000, Decimal(2))]), output_mtok=Decimal(3))
    found = _look_up(monkeypatch, tiered)
    assert found is not None
    assert found.input == 10**9

    def at(amount: int) -> ModelPrice:
        return ModelPrice(input_mtok=Decimal(amount), output_mtok=Decimal(amount))

    dated = [
        ConditionalPrice(prices=at(1)),
        ConditionalPrice(prices=at(2), constraint=StartDateConstraint(NOON.date().replace(month=1))),
        ConditionalPrice(prices=at(3), constraint=StartDateConstraint(NOON.date().replace(month=12))),
        ConditionalPrice(
            prices=at(4), constraint=TimeOfDateConstraint(NOON.timetz().replace(hour=0), NOON.timetz().replace(hour=23))
        ),
    ]
    found = _look_up(monkeypatch, dated)
    assert found is not None
    assert found.input == 2 * 10**9


def test_provider_is_known_by_name_or_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider of another name at the maker's own URL is the maker; anything else is nobody."""
    monkeypatch.setattr(
        "genai_prices.data_snapshot.get_snapshot",
        lambda: _list(ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))),
    )
    questions = [
        Question("eu", "https://api.maker.example/v1", "m"),
        Question("eu", "http://x/v1", "m"),
        Question("maker-compatible", "http://x/v1", "m"),
        Question("maker", "", "n"),
    ]
    assert [price is not None for price in pricelist.look_up(questions, NOON)] == [True, False, False, False]


def test_list_is_read_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket is opened: the list stands in the package."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    (price,) = pricelist.look_up([Question("openai", "", "gpt-4o")], NOON)
    assert price == Price(0, 0, 2_500_000_000, 10**10, 1_250_000_000, None, "genai-prices")


def test_asking_happens_in_another_process() -> None:
    """The answers come in order; nothing of the list is loaded by a process that serves; no question, no process."""
    assert pricelist.ask([]) == []
    first, second = pricelist.ask([Question("nobody", "http://x", "m"), Question("openai", "", "o3-mini")])
    assert first is None
    assert second is not None
    assert second.input > 0


def test_list_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, with what to do."""
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.raises(ConfigError, match="give every model a price"):
        pricelist.ask([Question("openai", "", "o3-mini")])
