"""`techstone code`: top-up codes. Created here, shown once, redeemed once by anybody who has one."""

from __future__ import annotations

import sys

import click

from techstone.app.cli.context import located, perform, printed, show, show_one
from techstone.control.billing.records import NewCodes, Redemption

_NEW = ("id", "code", "usd", "expires_at")
_COLUMNS = ("id", "usd", "state", "created_at", "expires_at", "redeemed_by", "redeemed_at")


@click.group()
def code() -> None:
    """Create, redeem, list and revoke top-up codes."""


@code.command()
@click.argument("usd")
@click.option("--count", type=int, default=1, metavar="N", help="How many, of the same amount.")
@click.option("--expires", metavar="90d", help="Lifetime: 12h, 90d, 52w; without end if not given.")
@located
@printed
def create(usd: str, count: int, expires: str | None, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Create codes of so many USD each, and show them, this once."""
    made = perform(config, data, lambda operations: operations.codes.create(NewCodes(usd, count, expires)))
    show(made, _NEW, as_json=as_json)
    if not as_json:
        click.echo("These codes are shown only now. Whoever has one can redeem it.", err=True)


@code.command()
@click.argument("code")
@click.option("--account", required=True, metavar="EMAIL", help="Whose credit it becomes: email or id.")
@located
@printed
def redeem(code: str, account: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Turn a code into credit of an account; - reads the code from standard input."""
    given = sys.stdin.readline() if code == "-" else code
    done = perform(config, data, lambda operations: operations.codes.redeem(Redemption(given, account)))
    show_one(done, as_json=as_json)


@code.command(name="list")
@located
@printed
def list_codes(config: str | None, data: str | None, *, as_json: bool) -> None:
    """List codes, oldest first; never the codes themselves."""
    show(perform(config, data, lambda operations: operations.codes.list()), _COLUMNS, as_json=as_json)


@code.command()
@click.argument("id_", metavar="ID")
@located
@printed
def revoke(id_: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """End a code that nobody has redeemed, by its id."""
    show_one(perform(config, data, lambda operations: operations.codes.revoke(id_)), as_json=as_json)
