"""`techstone provider`: who answers the models. A key comes from standard input, never from the command line."""

from __future__ import annotations

import sys

import click

from techstone.app.cli.context import located, perform, printed, show, show_one
from techstone.control.catalog.records import NewProvider, ProviderChange, Trial

_COLUMNS = ("name", "state", "base_url", "secret", "models", "origin")


@click.group()
def provider() -> None:
    """Add, change, try and remove providers, beside those of the configuration file."""


@provider.command(name="list")
@located
@printed
def list_providers(config: str | None, data: str | None, *, as_json: bool) -> None:
    """List providers; of their keys only how they end."""
    show(perform(config, data, lambda operations: operations.providers.list()), _COLUMNS, as_json=as_json)


@provider.command()
@click.argument("name")
@click.argument("base_url")
@click.option("--secret-stdin", is_flag=True, help="Read the provider's key from standard input.")
@located
@printed
def add(name: str, base_url: str, config: str | None, data: str | None, *, secret_stdin: bool, as_json: bool) -> None:
    """Add a provider with OpenAI's API at an address such as https://api.example.com/v1."""
    wanted = NewProvider(name, base_url, _read_secret() if secret_stdin else None)
    show_one(perform(config, data, lambda operations: operations.providers.create(wanted)), as_json=as_json)


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
    """Ask a provider for its models, and say what is wrong and what to do; exit status 1 if it does not work."""
    found = perform(config, data, lambda operations: operations.providers.test(Trial(name, model)))
    if as_json:
        show_one(found, as_json=True)
    else:
        for outcome in (found.listing, found.chat):
            if outcome is not None:
                status = f"HTTP {outcome.status}, " if outcome.status else ""
                click.echo(f"{status}{outcome.milliseconds} ms: {outcome.told} {outcome.remedy}".rstrip())
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


def _read_secret() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Key", hide_input=True, default="", show_default=False))
    return sys.stdin.readline().strip()
