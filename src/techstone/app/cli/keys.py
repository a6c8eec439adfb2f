"""`techstone key`: API keys. Created here or in the Console, shown once, revoked within a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from techstone.app.cli.context import located, perform, printed, show, show_one
from techstone.control.keys.records import NewKey

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
    "daily_cap",
    "monthly_cap",
    "created_at",
    "expires_at",
)


@click.group()
def key() -> None:
    """Create, list, revoke and rotate API keys."""


@key.command()
@click.option("--account", required=True, metavar="EMAIL", help="Who pays: email or id.")
@click.option("--name", metavar="N", default="default", help="What the key is for.")
@click.option("--models", metavar="a,b", help="The only models that it may use; all if not given.")
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
    models: str | None,
    config: str | None,
    data: str | None,
    *,
    admin: bool,
    operator: bool,
    as_json: bool,
    **settings: Any,  # noqa: ANN401 - click's, by name
) -> None:
    """Create a key and show it, this once."""
    allowed = tuple(model.strip() for model in models.split(",")) if models is not None else None
    kind: KeyKind = "operator" if operator else "admin" if admin else "inference"
    wanted = NewKey(account, models=allowed, kind=kind, **settings)
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
