"""What the commands share: where the data is, who does the work, how a table or JSON is printed.

A command speaks to the control plane where one runs on these data, so that its change is in force at once; else it
works on the database itself.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click
import msgspec

from techstone.app import offer, place
from techstone.control.ports import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from techstone.app.place import Place
    from techstone.control.catalog.records import Catalog
    from techstone.control.operations import Operations
    from techstone.control.ports import Store
    from techstone.control.services import Services

_P = ParamSpec("_P")
_R = TypeVar("_R")


def located(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Add `--config` and `--data` to a command."""
    function = click.option("--data", metavar="DIR", help="Data folder (else DATA, the configuration's, ./data).")(
        function
    )
    return click.option("--config", metavar="FILE", help="Configuration (else CONFIG, ./techstone.toml).")(function)


def printed(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Add `--json` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def perform(config: str | None, data: str | None, work: Callable[[Operations], Awaitable[_R]]) -> _R:
    """Do the work on the data of `--config` and `--data`; raise ConfigError or ApiError."""
    found = place.find(config, data)
    try:
        return asyncio.run(_perform(found, work))
    except StoreError as error:
        raise click.ClickException(str(error)) from error


async def _perform(found: Place, work: Callable[[Operations], Awaitable[_R]]) -> _R:
    # The database's libraries take 0.3 s to import; a command that speaks to a running control needs none of them.
    from techstone.adapters import internal  # noqa: PLC0415

    if internal.answers(found.internal_socket):
        client = internal.InternalClient(found.internal_socket)
        try:
            return await work(client)
        finally:
            await client.close()
    from techstone.app.database import open_store  # noqa: PLC0415
    from techstone.control.acts import Actor, act_as  # noqa: PLC0415

    act_as(Actor("command line"))
    found.prepare()
    store = await open_store(found.database, found.find_server(), migrating=False)
    try:
        services = compose_services(found, store)
        await services.follow()
        return await work(services)
    finally:
        await store.close()


def compose_services(found: Place, store: Store) -> Services:
    """Return the rooms over a store, as a control process has them; raise ConfigError."""
    from techstone.app.rooms import compose_means, open_vault  # noqa: PLC0415 - see above
    from techstone.control.services import Services  # noqa: PLC0415

    console = found.config.console
    means = compose_means(open_vault(found.data), private=console.private_providers)
    return Services(store, catalog_of(found), means=means, switches={"sign_up": console.sign_up})


def catalog_of(found: Place) -> Catalog:
    """Return what is on offer; raise ConfigError."""
    return offer.compose(found.config, os.environ, offer.locate_engine(found.config))


def show(rows: Sequence[msgspec.Struct], columns: Sequence[str], *, as_json: bool) -> None:
    """Print records, as a table of those columns or as a JSON list of all."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
        return
    if not rows:
        click.echo("none")
        return
    from rich.console import Console  # noqa: PLC0415 - 50 ms, for tables only
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_write(column, getattr(row, column)) for column in columns))
    # Piped output is as wide as it needs, so that nothing is cut where a script reads it.
    Console(width=None if sys.stdout.isatty() else 240, highlight=False, soft_wrap=True).print(table)


def show_one(record: msgspec.Struct, *, as_json: bool) -> None:
    """Print one record, a line a field, or as a JSON object."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(record), indent=2))
        return
    width = max(len(name) for name in record.__struct_fields__)
    for name in record.__struct_fields__:
        click.echo(f"{name.replace('_', ' '):{width}}  {_write(name, getattr(record, name))}")


def _write(name: str, value: object) -> str:
    if value is None:
        return "-"
    if name.endswith("_at") and isinstance(value, int):
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return str(value)
