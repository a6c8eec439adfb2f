"""`techstone audit`: who changed what, and whether the log of it is whole."""

from __future__ import annotations

import click

from techstone.app.cli.context import located, perform, printed, show, show_one
from techstone.control.audit.records import AuditFilter

_COLUMNS = ("number", "at", "actor_kind", "actor", "action", "target", "detail")


@click.group()
def audit() -> None:
    """Look into the audit log."""


@audit.command(name="list")
@click.option("--account", metavar="EMAIL", help="Of this account only (email or id).")
@click.option("--actor", metavar="NAME", help="By this person (email) or admin key (id) only.")
@click.option("--action", metavar="ACTION", help="Of this kind only: `key`, or `key.revoke`.")
@click.option("--before", metavar="NUMBER", type=int, help="Those before this entry.")
@click.option("--limit", metavar="N", type=click.IntRange(1, 1000), default=100, help="At most so many (100).")
@located
@printed
def list_entries(
    account: str | None,
    actor: str | None,
    action: str | None,
    before: int | None,
    limit: int,
    config: str | None,
    data: str | None,
    *,
    as_json: bool,
) -> None:
    """List who changed what, newest first."""
    filters = AuditFilter(account, actor, action)
    found = perform(config, data, lambda operations: operations.audit.list(filters, before, limit))
    show(found, _COLUMNS, as_json=as_json)


@audit.command()
@located
@printed
def check(config: str | None, data: str | None, *, as_json: bool) -> int:
    """Check that no entry was changed, left out or put in between; exit status 1 if one was.

    Keep the head elsewhere: only there it shows that the newest entries were cut off.
    """
    found = perform(config, data, lambda operations: operations.audit.check())
    if as_json:
        show_one(found, as_json=True)
    elif found.broken is None:
        click.echo(f"The audit log is whole: {found.entries} entries, head {found.head}.")
    else:
        click.echo(f"The audit log is broken at entry {found.broken}: it does not follow from the one before it.")
    return 0 if found.broken is None else 1
