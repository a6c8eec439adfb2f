"""`techstone journal`: the usage that a gateway keeps on its disk until it is booked."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from techstone.app import place
from techstone.app.cli.context import located, perform, printed, show_one
from techstone.app.config import ConfigError

if TYPE_CHECKING:
    from techstone.adapters.journal.orphan import Shipped
    from techstone.control.operations import Operations


@click.group()
def journal() -> None:
    """Look after journals of gateways."""


@journal.command()
@click.argument("folder", metavar="DIR")
@click.option("--force", is_flag=True, help="Also if the gateway was heard within a minute: it is known to be dead.")
@located
@printed
def ship(folder: str, config: str | None, data: str | None, *, force: bool, as_json: bool) -> None:
    """Book the usage in DIR, the data folder (or a copy) of a gateway that does not come back.

    Exactly once: what the ledger has is passed over. The gateway must be known to be dead: streams that it still ran
    would be billed for what the copy has of them, and not for the rest. One that runs on DIR itself, or was heard
    within a minute, is left alone. Limits in Redis, if the configuration names one, count it from then on; for 4 s what
    counts against credit or a cap gets 503.
    """
    from techstone.adapters.journal.orphan import ship as book  # noqa: PLC0415 - each command loads its own
    from techstone.adapters.journal.segments import JournalDamaged, JournalInUse  # noqa: PLC0415

    path = Path(folder)
    found = path / "journal" if (path / "journal").is_dir() else path
    if not found.is_dir():
        raise click.ClickException(f"{path}: there is no such folder")

    async def work(operations: Operations) -> Shipped:
        return await book(found, operations.ledger, time.time(), force=force)

    try:
        shipped = perform(config, data, work)
    except (JournalDamaged, JournalInUse) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{found}: {error.strerror or error}") from error
    show_one(shipped, as_json=as_json)
    if shipped.booked:
        _tell_limits(config, data)


def _tell_limits(config: str | None, data: str | None) -> None:
    """Have the limits in Redis count what was booked: the gateway may never have told them."""
    from techstone.adapters.limits.anew import GENERATION, begin_anew  # noqa: PLC0415 - as above
    from techstone.adapters.limits.connection import Unreachable  # noqa: PLC0415
    from techstone.app.shared import read_address  # noqa: PLC0415

    try:
        # In clear only where gateways do it: they were asked whether they may.
        address = read_address(place.find(config, data).config.data, os.environ, insecure_http=True)
        if address is not None:
            asyncio.run(begin_anew(address))
    except (ConfigError, Unreachable) as problem:
        click.echo(
            f"It is booked, but the limits in Redis do not know it: {problem}. Once that is mended: "
            f"redis-cli DEL '{GENERATION}'",
            err=True,
        )
