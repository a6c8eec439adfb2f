"""`techstone key`: API keys. Created here or in the Console, shown once, changed and revoked within a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET

from techstone.app.cli.context import located, perform, printed, show, show_one
from techstone.control.keys.records import KeyChange, NewKey

# The word of `key set` by which a bound goes, and with it what kind of value an option takes.
_LISTS = {"models": "all", "scopes": "all", "ips": "any"}
_NUMBERS = {"rpm": "none", "tpm": "none", "concurrent": "none"}
_TEXTS = {"project": "none", "expires": "never", "daily_cap": "none", "monthly_cap": "none"}
_GONE = {**_LISTS, **_NUMBERS, **_TEXTS}

if TYPE_CHECKING:
    from techstone.control.keys.records import KeyKind

_COLUMNS = (
    "id",
    "account",
    "kind",
    "name",
    "hint",
    "state",
    "models",
    "scopes",
    "project",
    "daily_cap",
    "monthly_cap",
    "created_at",
    "expires_at",
)


@click.group()
def key() -> None:
    """Create, list, change, disable, revoke and rotate API keys."""


@key.command()
@click.option("--account", required=True, metavar="EMAIL", help="Who pays: email or id.")
@click.option("--name", metavar="N", default="default", help="What the key is for.")
@click.option("--models", metavar="a,b", help="The only models that it may use; all if not given.")
@click.option(
    "--scopes",
    metavar="a,b",
    help="What it may be used for: chat, models, limits, estimate; all if not given.",
)
@click.option("--ips", metavar="a,b", help="Addresses and networks that it may come from; any if not given.")
@click.option("--project", metavar="ID", help="The project that it belongs to.")
@click.option("--expires", metavar="30d", help="Lifetime: 45s, 15m, 12h, 30d, 2w; without end if not given.")
@click.option("--rpm", type=int, metavar="N", help="Requests in any 60 s, below the plan's.")
@click.option("--tpm", type=int, metavar="N", help="Tokens in any 60 s, below the plan's.")
@click.option("--concurrent", type=int, metavar="N", help="Requests at a time, below the plan's.")
@click.option("--daily-cap", metavar="USD", help="Most that it may spend in a UTC day.")
@click.option("--monthly-cap", metavar="USD", help="Most that it may spend in a UTC month.")
@click.option("--admin", is_flag=True, help="For the management API: keys, usage, balance. It cannot infer.")
@click.option("--operator", is_flag=True, help="An admin key that may also run the cloud: accounts, catalog, prices.")
@located
@printed
def create(
    account: str,
    config: str | None,
    data: str | None,
    *,
    admin: bool,
    operator: bool,
    as_json: bool,
    **settings: Any,  # noqa: ANN401 - click's, by name
) -> None:
    """Create a key and show it, this once."""
    lists: dict[str, Any] = {name: _split(settings.pop(name)) for name in _LISTS}
    kind: KeyKind = "operator" if operator else "admin" if admin else "inference"
    wanted = NewKey(account, kind=kind, **lists, **settings)
    made = perform(config, data, lambda operations: operations.keys.create(wanted))
    show_one(made, as_json=as_json)
    if not as_json:
        click.echo("This key is shown only now. Keep it in a secret store or an environment variable.", err=True)


@key.command(name="list")
@click.option("--account", metavar="EMAIL", help="Only this account's: email or id.")
@located
@printed
def list_keys(account: str | None, config: str | None, data: str | None, *, as_json: bool) -> None:
    """List keys, oldest first; never the keys themselves."""
    show(perform(config, data, lambda operations: operations.keys.list(account)), _COLUMNS, as_json=as_json)


@key.command(name="set")
@click.argument("key")
@click.option("--name", metavar="N", help="What the key is for.")
@click.option("--models", metavar="a,b", help="The only models that it may use, or all.")
@click.option("--scopes", metavar="a,b", help="What it may be used for, or all.")
@click.option("--ips", metavar="a,b", help="Addresses and networks that it may come from, or any.")
@click.option("--project", metavar="ID", help="The project that it belongs to, or none.")
@click.option("--expires", metavar="30d", help="Lifetime from now on, or never.")
@click.option("--rpm", metavar="N", help="Requests in any 60 s, or none.")
@click.option("--tpm", metavar="N", help="Tokens in any 60 s, or none.")
@click.option("--concurrent", metavar="N", help="Requests at a time, or none.")
@click.option("--daily-cap", metavar="USD", help="Most in a UTC day, or none.")
@click.option("--monthly-cap", metavar="USD", help="Most in a UTC month, or none.")
@located
@printed
def set_key(
    key: str,
    config: str | None,
    data: str | None,
    *,
    as_json: bool,
    **settings: Any,  # noqa: ANN401 - click's, by name
) -> None:
    """Change a key's name and settings, in force within a second; what is not given stays as it is."""
    change = KeyChange(**{name: _read(name, value) for name, value in settings.items()})
    show_one(perform(config, data, lambda operations: operations.keys.change(key, change)), as_json=as_json)


@key.command()
@click.argument("key")
@located
@printed
def disable(key: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Refuse a key until it is enabled, by its id or the key itself; in force within a second."""
    show_one(perform(config, data, lambda operations: operations.keys.disable(key)), as_json=as_json)


@key.command()
@click.argument("key")
@located
@printed
def enable(key: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Let a disabled key in again."""
    show_one(perform(config, data, lambda operations: operations.keys.enable(key)), as_json=as_json)


@key.command()
@click.argument("key")
@located
@printed
def revoke(key: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """End a key now, by its id or the key itself; refused everywhere within a second."""
    show_one(perform(config, data, lambda operations: operations.keys.revoke(key)), as_json=as_json)


@key.command()
@click.argument("key")
@click.option("--overlap", type=int, default=0, metavar="SECONDS", help="How long the old key stays good.")
@located
@printed
def rotate(key: str, overlap: int, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Replace a key by a new one with the same settings, and show that, this once."""
    show_one(perform(config, data, lambda operations: operations.keys.rotate(key, overlap)), as_json=as_json)


def _read(name: str, value: str | None) -> Any:  # noqa: ANN401 - what the field of this name takes
    """Return what an option of `key set` says: UNSET where it was not given, None where a bound goes."""
    if value is None:
        return UNSET
    if value == _GONE.get(name):
        return None
    if name in _LISTS:
        return _split(value)
    if name not in _NUMBERS:
        return value
    if not value.isdecimal():
        raise click.BadParameter("expected a whole number or none", param_hint=f"--{name}")
    return int(value)


def _split(words: str | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(word.strip() for word in words.split(","))
