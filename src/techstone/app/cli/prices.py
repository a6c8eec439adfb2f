"""`techstone price`: what the models cost, in force at once or from a day on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from techstone.app.cli.context import located, perform, printed, show
from techstone.control.billing.records import NewPrice

if TYPE_CHECKING:
    from techstone.control.billing.records import PriceShown

_COLUMNS = ("model", "state", "input", "output", "cached_input", "reasoning", "source", "valid_from", "version")


@click.group()
def price() -> None:
    """Show, set and reset prices, in USD per million tokens."""


@price.command(name="list")
@click.argument("model", required=False)
@located
@printed
def list_prices(model: str | None, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Show the prices in force and those to come, of one model or of all."""
    _show(perform(config, data, lambda operations: operations.prices.list(model)), as_json=as_json)


@price.command(name="set")
@click.argument("model")
@click.option("--input", "given", required=True, metavar="USD", help="Per million prompt tokens.")
@click.option("--output", "made", required=True, metavar="USD", help="Per million completion tokens.")
@click.option("--cached-input", metavar="USD", help="Per million cached prompt tokens; as --input if not given.")
@click.option("--reasoning", metavar="USD", help="Per million reasoning tokens; as --output if not given.")
@click.option("--from", "begins", metavar="TIME", help="In force from then on, such as 2026-12-01T00:00Z; else now.")
@located
@printed
def set_price(
    model: str,
    given: str,
    made: str,
    config: str | None,
    data: str | None,
    *,
    as_json: bool,
    **more: str | None,
) -> None:
    """Set a model's price; it goes before the configured one until it is reset."""
    wanted = NewPrice(model, given, made, **more)
    _show(perform(config, data, lambda operations: operations.prices.set(wanted)), as_json=as_json)


@price.command()
@click.argument("model")
@located
@printed
def reset(model: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Go back to a model's configured price now; what was set for later is over, too."""
    _show(perform(config, data, lambda operations: operations.prices.reset(model)), as_json=as_json)


def _show(found: tuple[PriceShown, ...], *, as_json: bool) -> None:
    show(found, _COLUMNS, as_json=as_json)
