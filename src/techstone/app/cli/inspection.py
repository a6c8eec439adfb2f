"""`techstone doctor`, `db`: looking at an installation, and bringing its database up to date."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from techstone.app import offer, place
from techstone.app.cli.context import located, perform, printed, show
from techstone.app.config import ConfigError
from techstone.control.acts import Actor, act_as, acting
from techstone.control.ports import StoreError
from techstone.core.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from techstone.control.operations import Facts
    from techstone.control.ports import Store
    from techstone.control.reports.records import State


@click.group()
def db() -> None:
    """Look after the database."""


@db.command()
@located
def upgrade(config: str | None, data: str | None) -> None:
    """Bring the database to the newest schema; `serve` and `control` do so by themselves at their start."""
    from techstone.adapters.storage.migrate import NEWEST  # noqa: PLC0415 - SQLAlchemy, for these two alone

    asyncio.run(_work(place.find(config, data), migrating=True))
    click.echo(f"The database is at the newest schema, {NEWEST}.")


@db.command()
@located
def resync(config: str | None, data: str | None) -> None:
    """Have every gateway take everything anew.

    For a database that lost its newest changes, by a failover or a recovery to a point in time, while no control plane
    ran: what gateways were told of them is good there still. One that runs sees it by itself.
    """

    async def begin(store: Store) -> None:
        with acting("database.set_back", "every account"):
            await store.begin_era()

    asyncio.run(_work(place.find(config, data), begin))
    click.echo("A new era has begun: every gateway takes everything anew.")


async def _work(
    found: place.Place, work: Callable[[Store], Awaitable[None]] | None = None, *, migrating: bool = False
) -> None:
    """Work on the database itself, also where a control plane runs on it; it may be of another version."""
    from techstone.app.database import open_store  # noqa: PLC0415 - the same

    act_as(Actor("command line"))
    found.prepare()
    try:
        store = await open_store(found.database, found.find_server(), migrating=migrating)
        try:
            if work is not None:
                await work(store)
        finally:
            await store.close()
    except StoreError as error:
        raise click.ClickException(str(error)) from error


# Of what the control plane says; what it has not looked at yet is nothing to worry about.
_STATES: dict[State, Literal["ok", "attention", "bad"]] = {
    "good": "ok",
    "idle": "ok",
    "attention": "attention",
    "danger": "bad",
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that doctor looked at."""

    what: str
    state: Literal["ok", "attention", "bad"]
    detail: str


@click.command()
@located
@printed
def doctor(config: str | None, data: str | None, *, as_json: bool) -> int:
    """Look at everything that a start needs, and say what is wrong and what to do."""
    findings = list(_examine(config, data))
    show(findings, ("what", "state", "detail"), as_json=as_json)
    return 1 if any(finding.state == "bad" for finding in findings) else 0


def _examine(config: str | None, data: str | None) -> Iterator[Finding]:
    version = sys.version.split()[0]
    yield Finding("python", "ok", f"{version}, {ssl.OPENSSL_VERSION}")
    try:
        found = place.find(config, data)
    except ConfigError as error:
        yield Finding("configuration", "bad", str(error))
        return
    yield Finding("configuration", "ok", str(found.file) if found.file else "none; everything by default")
    yield from _examine_folder(found)
    for line in offer.missing_secrets(found.config, os.environ):
        yield Finding("secrets", "bad", line)
    yield from _examine_key(found)
    yield from _examine_engine(found)
    try:
        facts = perform(config, data, lambda operations: operations.doctor())
    except (ConfigError, ApiError, click.ClickException) as error:
        yield Finding("control", "bad", str(error))
        return
    yield from _examine_control(facts)


def _examine_folder(found: place.Place) -> Iterator[Finding]:
    if not found.data.exists():
        yield Finding("data", "ok", f"{found.data} (will be created)")
        return
    mode = found.data.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding("data", "attention", f"{found.data} can be read by others: chmod 700 {found.data}")
    else:
        yield Finding("data", "ok", str(found.data))


def _examine_key(found: place.Place) -> Iterator[Finding]:
    from techstone.app.rooms import open_vault  # noqa: PLC0415 - OpenSSL's bindings, for this alone

    try:
        open_vault(found.data)
    except ConfigError as error:
        yield Finding("secret key", "bad", str(error))
    else:
        yield Finding("secret key", "ok", "from the environment" if "TECHSTONE_SECRET_KEY" in os.environ else "on file")


def _examine_engine(found: place.Place) -> Iterator[Finding]:
    section = found.config.engine
    if not section.enabled:
        yield Finding("engine", "ok", "off")
        return
    from techstone.engine.options import BUILT_IN  # noqa: PLC0415 - only where the engine is on

    path = section.model or str(BUILT_IN)
    if os.path.isfile(path):  # noqa: PTH113 - as the operator wrote it
        yield Finding("engine", "ok", path)
    else:
        yield Finding("engine", "bad", f"there is no file {path}: correct engine.model")


def _examine_control(facts: Facts) -> Iterator[Finding]:
    store = facts.store
    state: Literal["ok", "bad"] = "ok" if store.durable else "bad"
    yield Finding("database", state, f"{store.kind} {store.location}, schema {store.schema}, {store.size:,} bytes")
    yield Finding(
        "offer",
        "ok",
        f"{facts.models} models, {facts.providers} providers, {facts.accounts} accounts, {facts.keys} keys",
    )
    if facts.subscribers is None:
        yield Finding("control", "attention", "not running; start it with `techstone serve`")
    else:
        yield Finding("control", "ok", f"running; {facts.subscribers} gateways follow it")
        for found in facts.findings:
            yield Finding(f"{found.group}: {found.what}", _STATES[found.state], found.detail)
