"""`techstone backup` and `techstone restore`: the whole database as one file, whichever database it is."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from techstone.app import place
from techstone.app.cli.context import located, printed
from techstone.control.ports import StoreError
from techstone.core.backup import BackupError

if TYPE_CHECKING:
    from techstone.core.backup import Manifest


@click.command()
@click.argument("file", metavar="FILE|-")
@located
@printed
def backup(file: str, config: str | None, data: str | None, *, as_json: bool) -> None:
    """Write all that the database holds to FILE, as of one moment, while the service runs.

    Into any database of ours, SQLite or PostgreSQL, `techstone restore` brings it back. What is sealed in it stays
    sealed: `secret.key` or TECHSTONE_SECRET_KEY is not in it.
    """
    from techstone.app import backup as work  # noqa: PLC0415 - each command loads its own

    if file == "-" and sys.stdout.isatty():
        raise click.UsageError("a backup is no text; send it on: techstone backup - | …")
    began = time.monotonic()
    try:
        made = work.make(place.find(config, data), None if file == "-" else Path(file).absolute(), sys.stdout.buffer)
        manifest = asyncio.run(made)
    except (BackupError, StoreError) as error:
        raise click.ClickException(f"no backup was made: {error}") from error
    except OSError as error:
        raise click.ClickException(f"no backup was made: {error.strerror or error}") from error
    size = None if file == "-" else Path(file).stat().st_size
    _tell(manifest, f"in {time.monotonic() - began:.1f} s", size, as_json=as_json, aside=file == "-")


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Read FILE whole, say whether it can be trusted, no more.")
@click.option("--replace", is_flag=True, help="Where the database holds accounts, keep it aside and restore.")
@located
@printed
def restore(
    file: Path, config: str | None, data: str | None, *, only_check: bool, replace: bool, as_json: bool
) -> None:
    """Make the database what FILE says, all of it or nothing; the service must not run.

    FILE is read whole and checked before anything is changed. A database that holds accounts is refused without
    --replace, which keeps it: the SQLite file beside the new one, tables of PostgreSQL in a schema of their own.
    """
    from techstone.app import backup as work  # noqa: PLC0415 - each command loads its own

    if only_check:
        try:
            _tell(work.check(file), "and is whole", file.stat().st_size, as_json=as_json)
        except BackupError as error:
            raise click.ClickException(str(error)) from error
        return
    try:
        done = asyncio.run(work.restore(place.find(config, data), file, replace=replace))
    except (BackupError, StoreError) as error:
        raise click.ClickException(f"nothing was changed: {error}") from error
    except OSError as error:
        raise click.ClickException(f"nothing was changed: {error.strerror or error}") from error
    _tell(done.manifest, "and is restored", file.stat().st_size, as_json=as_json)
    for line in _advise(done.aside, opens=done.opens):
        click.echo(line, err=as_json)


def _advise(aside: str | None, *, opens: bool) -> list[str]:
    lines = [] if aside is None else [f"What was there before is kept: {aside}"]
    if not opens:
        lines.append(
            "Another master key sealed what is sealed in it (keys of providers, two-factor, transcripts): bring its "
            "secret.key or TECHSTONE_SECRET_KEY, else these must be set anew."
        )
    lines.append("Keys that were revoked after that moment are good again: revoke them before you serve.")
    return lines


def _tell(manifest: Manifest, end: str, size: int | None, *, as_json: bool, aside: bool = False) -> None:
    """Say what a backup holds, on stderr where the backup itself is on stdout."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(manifest), indent=2), err=aside)
        return
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(manifest.head.made_at))
    rows = sum(part.rows for part in manifest.parts.values())
    length = "" if size is None else f", {size / 1e6:,.1f} MB"
    click.echo(
        f"The backup is of {moment}, {manifest.head.database}, schema {manifest.head.schema}: "
        f"{manifest.parts['accounts'].rows:,} accounts, {manifest.parts['keys'].rows:,} keys, "
        f"{manifest.parts['requests'].rows:,} requests, {rows:,} rows{length}, {end}.",
        err=aside,
    )
