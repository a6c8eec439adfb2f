"""`techstone provider`: who answers the models. A key comes from standard input, never from the command line."""

from __future__ import annotations

import sys
from typing import Any, get_args

import click

from techstone.app.cli.context import located, perform, printed, show, show_one
from techstone.control.catalog.records import NewProvider, NewReplica, Outcome, ProviderChange, Trial
from techstone.core.snapshot import Routing, UpstreamKind

_COLUMNS = ("name", "state", "kind", "base_url", "secret", "models", "origin")
_KINDS = [kind for kind in get_args(UpstreamKind) if isinstance(kind, str)]


@click.group()
def provider() -> None:
    """Add, change, try and remove providers, beside those of the configuration file."""


@provider.command(name="list")
@located
@printed
def list_providers(config: str | None, data: str | None, *, as_json: bool) -> None:
    """List providers; of their keys only how they end."""
    show(perform(config, data, lambda operations: operations.providers.list()), _COLUMNS, as_json=as_json)


def _described(function: Any) -> Any:  # noqa: ANN401 - a command of click's
    """Add the options of what a provider is."""
    for option in (
        click.option(
            "--metrics-port", type=int, metavar="PORT", help="Where an engine tells its load, if not at its address."
        ),
        click.option(
            "--routing", type=click.Choice(get_args(Routing)), help="Which of several servers gets a request."
        ),
        click.option(
            "--replica",
            "replicas",
            multiple=True,
            metavar="URL[,WEIGHT]",
            help="One of several servers with the same models and key; may be given several times.",
        ),
        click.option("--kind", type=click.Choice(_KINDS), help="What the servers are: an engine is also checked."),
    ):
        function = option(function)
    return function


@provider.command()
@click.argument("name")
@click.argument("base_url", required=False)
@_described
@click.option("--secret-stdin", is_flag=True, help="Read the provider's key from standard input.")
@located
@printed
def add(
    name: str,
    base_url: str | None,
    kind: UpstreamKind | None,
    replicas: tuple[str, ...],
    config: str | None,
    data: str | None,
    *,
    secret_stdin: bool,
    as_json: bool,
    **settings: Any,  # noqa: ANN401 - click's, by name
) -> None:
    """Add a provider with OpenAI's API at an address such as https://api.example.com/v1, or at several: --replica."""
    servers = tuple(map(_read_replica, replicas))
    secret = _read_secret() if secret_stdin else None
    wanted = NewProvider(name, base_url, secret, kind=kind or "openai", replicas=servers, **settings)
    show_one(perform(config, data, lambda operations: operations.providers.create(wanted)), as_json=as_json)


@provider.command(name="set")
@click.argument("name")
@_described
@located
@printed
def set_servers(
    name: str,
    replicas: tuple[str, ...],
    config: str | None,
    data: str | None,
    *,
    as_json: bool,
    **settings: Any,  # noqa: ANN401 - click's, by name
) -> None:
    """Change what a provider's servers are; what is not given stays. Other addresses drop its key."""
    servers = tuple(map(_read_replica, replicas)) or None
    wanted = ProviderChange(name, replicas=servers, **settings)
    show_one(perform(config, data, lambda operations: operations.providers.change(wanted)), as_json=as_json)


@provider.command(name="set-secret")
@click.argument("name")
@located
@printed
def set_secret(name: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Read a provider's key from standard input; an empty line removes the one that is there."""
    wanted = ProviderChange(name, secret=_read_secret())
    show_one(perform(config, data, lambda operations: operations.providers.change(wanted)), as_json=as_json)


@provider.command(name="set-url")
@click.argument("name")
@click.argument("base_url")
@located
@printed
def set_url(name: str, base_url: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Change a provider's address; another one drops its key, which has to be set anew."""
    wanted = ProviderChange(name, base_url)
    show_one(perform(config, data, lambda operations: operations.providers.change(wanted)), as_json=as_json)


@provider.command()
@click.argument("name")
@located
@printed
def on(name: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Switch a provider on, also one of the configuration file."""
    show_one(perform(config, data, lambda operations: operations.providers.switch(name, on=True)), as_json=as_json)


@provider.command()
@click.argument("name")
@located
@printed
def off(name: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Switch a provider off, also one of the configuration file; what runs is finished."""
    show_one(perform(config, data, lambda operations: operations.providers.switch(name, on=False)), as_json=as_json)


@provider.command()
@click.argument("name")
@click.option("--chat", "model", metavar="MODEL", help="Also ask this model for one token, which costs there.")
@located
@printed
def test(name: str, model: str | None, config: str | None, data: str | None, *, as_json: bool) -> int:
    """Ask each of its servers for models, and say what is wrong and what to do; exit status 1 if one does not work."""
    found = perform(config, data, lambda operations: operations.providers.test(Trial(name, model)))
    if as_json:
        show_one(found, as_json=True)
    else:
        for one in found.servers:
            click.echo(one.address)
            _print_outcomes(one.listing, one.chat)
            if one.lacking:
                click.echo(f"It has not, as other servers have: {', '.join(one.lacking)}")
        if not found.servers:
            _print_outcomes(found.listing, found.chat)
        for name_there in found.models:
            click.echo(f"  {name_there}")
    return 0 if found.listing.good and (found.chat is None or found.chat.good) else 1


@provider.command()
@click.argument("name")
@located
@printed
def remove(name: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Forget a provider and its key, once no model has a route to it."""
    show_one(perform(config, data, lambda operations: operations.providers.remove(name)), as_json=as_json)


def _print_outcomes(*outcomes: Outcome | None) -> None:
    for outcome in outcomes:
        if outcome is not None:
            status = f"HTTP {outcome.status}, " if outcome.status else ""
            click.echo(f"{status}{outcome.milliseconds} ms: {outcome.told} {outcome.remedy}".rstrip())


def _read_replica(written: str) -> NewReplica:
    # An address may have a comma of its own: what stands after the last one is a weight if it is a number.
    url, comma, weight = written.rpartition(",")
    return NewReplica(url, int(weight)) if comma and weight.isascii() and weight.isdigit() else NewReplica(written)


def _read_secret() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Key", hide_input=True, default="", show_default=False))
    return sys.stdin.readline().strip()
