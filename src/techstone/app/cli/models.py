"""`techstone model`: what is on offer, and which providers answer it."""

from __future__ import annotations

from typing import Any

import click

from techstone.app.cli.context import located, perform, printed, show, show_one
from techstone.control.catalog.records import NewModel
from techstone.core.snapshot import Route

_COLUMNS = ("name", "served_by", "context_window", "max_output_tokens")


@click.group()
def model() -> None:
    """Look at the models on offer; add, change and remove models beside those of the configuration file."""


@model.command(name="list")
@located
@printed
def list_models(config: str | None, data: str | None, *, as_json: bool) -> None:
    """List the models on offer and the providers that serve them."""
    show(perform(config, data, lambda operations: operations.catalog.list_models()), _COLUMNS, as_json=as_json)


def _described(function: Any) -> Any:  # noqa: ANN401 - a command of click's
    """Add the options of what a model is."""
    for option in (
        click.option("--reasoning", metavar="USD", help="Per million reasoning tokens; as --output if not given."),
        click.option(
            "--cached-input", metavar="USD", help="Per million cached prompt tokens; as --input if not given."
        ),
        click.option("--output", metavar="USD", help="Per million completion tokens."),
        click.option("--input", metavar="USD", help="Per million prompt tokens; as known if neither is given."),
        click.option("--max-output-tokens", type=int, metavar="N", help="The longest answer."),
        click.option("--context-window", type=int, metavar="N", help="Tokens that it can read."),
        click.option("--display", metavar="TITLE", help="What people read beside the name."),
        click.option(
            "--route",
            "routes",
            multiple=True,
            required=True,
            metavar="PROVIDER/MODEL[,WEIGHT[,PRIORITY]]",
            help="Who answers it, and its name there; may be given several times.",
        ),
    ):
        function = option(function)
    return function


@model.command()
@click.argument("name")
@_described
@located
@printed
def add(
    name: str,
    routes: tuple[str, ...],
    config: str | None,
    data: str | None,
    *,
    as_json: bool,
    **settings: Any,  # noqa: ANN401 - click's, by name
) -> None:
    """Offer a model by a name of its own; in force within a second."""
    wanted = NewModel(name, tuple(map(_read_route, routes)), **settings)
    show_one(perform(config, data, lambda operations: operations.models.create(wanted)), as_json=as_json)


@model.command(name="set")
@click.argument("name")
@_described
@located
@printed
def set_model(
    name: str,
    routes: tuple[str, ...],
    config: str | None,
    data: str | None,
    *,
    as_json: bool,
    **settings: Any,  # noqa: ANN401 - click's, by name
) -> None:
    """Put all of a model that was added anew; its price stays where none is given."""
    wanted = NewModel(name, tuple(map(_read_route, routes)), **settings)
    show_one(perform(config, data, lambda operations: operations.models.change(wanted)), as_json=as_json)


@model.command()
@click.argument("name")
@located
@printed
def on(name: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Switch a model on, also one of the configuration file."""
    show_one(perform(config, data, lambda operations: operations.models.switch(name, on=True)), as_json=as_json)


@model.command()
@click.argument("name")
@located
@printed
def off(name: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Switch a model off, also one of the configuration file; what runs is finished."""
    show_one(perform(config, data, lambda operations: operations.models.switch(name, on=False)), as_json=as_json)


@model.command()
@click.argument("name")
@located
@printed
def remove(name: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Forget a model that was added; what was billed for it stays."""
    show_one(perform(config, data, lambda operations: operations.models.remove(name)), as_json=as_json)


def _read_route(text: str) -> Route:
    """Return the route that `provider/model,weight,priority` says; a model's name may have slashes, but no commas."""
    target, *numbers = text.split(",")
    provider, slash, there = target.partition("/")
    if not slash or len(numbers) > 2 or not all(number.strip().isdigit() for number in numbers):
        raise click.BadParameter(f"{text!r} is no PROVIDER/MODEL[,WEIGHT[,PRIORITY]]", param_hint="--route")
    return Route(provider, there, *map(int, numbers))
