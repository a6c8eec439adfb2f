"""What operators added to the catalog, in the database; implements `CatalogStore`. And the feature switches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import delete, insert, select

from techstone.adapters.storage.billing import note_prices
from techstone.adapters.storage.database import raise_revision
from techstone.adapters.storage.dialect import insert_or
from techstone.adapters.storage.schema import (
    ACCOUNTS,
    MODELS,
    PLANS,
    PROVIDERS,
    ROUTES,
    SWITCHED_OFF,
    SWITCHES,
)
from techstone.control.catalog.ports import InUse
from techstone.control.catalog.records import Stored, StoredModel, StoredProvider
from techstone.control.ports import Taken
from techstone.core.pricing import Price
from techstone.core.snapshot import Plan, Replica, Route, Timeouts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.database import Database
    from techstone.control.catalog.records import EntryKind

_TIMEOUTS = msgspec.json.Decoder(Timeouts)
_REPLICAS = msgspec.json.Decoder(tuple[Replica, ...])
_PRICE = msgspec.json.Decoder(Price)
# Who uses something is told by so many names at most.
NAMED = 5


class SqlCatalog:
    """Beside the accounts, in the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> Stored:
        """Return all of it, as of one moment."""
        async with self._database.look() as connection:
            providers = await connection.execute(select(PROVIDERS).order_by(PROVIDERS.c.created_at, PROVIDERS.c.name))
            models = await connection.execute(select(MODELS).order_by(MODELS.c.created_at, MODELS.c.name))
            routes: dict[str, list[Route]] = {}
            for row in await connection.execute(select(ROUTES).order_by(ROUTES.c.model, ROUTES.c.place)):
                route = Route(row.provider, row.upstream_model, row.weight, row.priority)
                routes.setdefault(row.model, []).append(route)
            plans = await connection.execute(select(PLANS).order_by(PLANS.c.name))
            off = await connection.execute(select(SWITCHED_OFF))
            return Stored(
                tuple(map(_read_provider, providers)),
                tuple(_read_model(row, tuple(routes.get(row.name, ()))) for row in models),
                tuple(Plan(row.name, row.rpm, row.tpm, row.concurrent, row.billing) for row in plans),
                frozenset((row.kind, row.name) for row in off),
            )

    async def put_provider(self, provider: StoredProvider, *, fresh: bool) -> None:
        """Store it; raise Taken("name") where a fresh one's name is in use."""
        written = {"timeouts": _write(provider.timeouts), "replicas": _write(provider.replicas)}
        row = msgspec.structs.asdict(provider) | written
        async with self._database.change() as connection:
            await _replace(connection, PROVIDERS, row, fresh=fresh)
            await raise_revision(connection)

    async def remove_provider(self, name: str) -> bool:
        """Forget it; say whether it was there. Raise InUse while stored models have routes to it."""
        users = select(ROUTES.c.model).where(ROUTES.c.provider == name).distinct().order_by(ROUTES.c.model).limit(NAMED)
        async with self._database.change() as connection:
            if used := (await connection.scalars(users)).all():
                raise InUse(tuple(used))
            gone = await connection.execute(delete(PROVIDERS).where(PROVIDERS.c.name == name))
            await _forget_switch(connection, "provider", name)
            await raise_revision(connection)
            return gone.rowcount > 0

    async def put_model(self, model: StoredModel, now: int, *, fresh: bool) -> None:
        """Store it and note its price as configured, both or neither; raise Taken("name") as above."""
        row = msgspec.structs.asdict(model) | {"price": _write(model.price)}
        row.pop("routes")
        async with self._database.change() as connection:
            await _replace(connection, MODELS, row, fresh=fresh)
            await connection.execute(delete(ROUTES).where(ROUTES.c.model == model.name))
            routes = [
                {
                    "model": model.name,
                    "place": place,
                    "provider": route.provider,
                    "upstream_model": route.model,
                    "weight": route.weight,
                    "priority": route.priority,
                }
                for place, route in enumerate(model.routes)
            ]
            await connection.execute(insert(ROUTES), routes)
            await note_prices(connection, {model.name: model.price}, now, await raise_revision(connection))

    async def remove_model(self, name: str) -> bool:
        """Forget it; say whether it was there. Its prices stay, for what was billed by them."""
        async with self._database.change() as connection:
            await connection.execute(delete(ROUTES).where(ROUTES.c.model == name))
            gone = await connection.execute(delete(MODELS).where(MODELS.c.name == name))
            await _forget_switch(connection, "model", name)
            await raise_revision(connection)
            return gone.rowcount > 0

    async def put_plan(self, plan: Plan, *, fresh: bool) -> None:
        """Store it; raise Taken("name") as above."""
        async with self._database.change() as connection:
            await _replace(connection, PLANS, msgspec.structs.asdict(plan), fresh=fresh)
            await raise_revision(connection)

    async def remove_plan(self, name: str) -> bool:
        """Forget it; say whether it was there. Raise InUse while accounts are on it."""
        users = select(ACCOUNTS.c.email).where(ACCOUNTS.c.plan == name).order_by(ACCOUNTS.c.email).limit(NAMED)
        async with self._database.change() as connection:
            if used := (await connection.scalars(users)).all():
                raise InUse(tuple(used))
            gone = await connection.execute(delete(PLANS).where(PLANS.c.name == name))
            await raise_revision(connection)
            return gone.rowcount > 0

    async def switch(self, kind: EntryKind, name: str, *, on: bool) -> None:
        """Switch an entry on or off."""
        async with self._database.change() as connection:
            if on:
                await _forget_switch(connection, kind, name)
            else:
                row = {"kind": kind, "name": name}
                await connection.execute(insert_or(connection, SWITCHED_OFF).values(row).on_conflict_do_nothing())
            await raise_revision(connection)


class SqlSwitches:
    """Implements `SwitchStore` in the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> Mapping[str, bool]:
        """Return the switches that are set, by name."""
        async with self._database.look() as connection:
            return {row.name: bool(row.on) for row in await connection.execute(select(SWITCHES))}

    async def set(self, name: str, *, on: bool | None) -> None:
        """Set one, or (None) have its default count again."""
        async with self._database.change() as connection:
            await connection.execute(delete(SWITCHES).where(SWITCHES.c.name == name))
            if on is not None:
                await connection.execute(insert(SWITCHES).values(name=name, on=on))
            await raise_revision(connection)


async def _replace(connection: AsyncConnection, table: Table, row: dict[str, object], *, fresh: bool) -> None:
    """Store a row by its name; one such transaction runs at a time, so what is read stays true in it."""
    if fresh and await connection.scalar(select(table.c.name).where(table.c.name == row["name"])) is not None:
        raise Taken("name")
    values = {name: value for name, value in row.items() if name != "name"}
    put = insert_or(connection, table).values(row)
    await connection.execute(put.on_conflict_do_update(index_elements=["name"], set_=values))


async def _forget_switch(connection: AsyncConnection, kind: str, name: str) -> None:
    await connection.execute(delete(SWITCHED_OFF).where(SWITCHED_OFF.c.kind == kind, SWITCHED_OFF.c.name == name))


def _write(value: msgspec.Struct | tuple[msgspec.Struct, ...]) -> str:
    return msgspec.json.encode(value).decode()


def _read_provider(row: Row[tuple[object, ...]]) -> StoredProvider:
    return StoredProvider(
        row.name,
        row.base_url,
        row.secret,
        row.ending,
        _TIMEOUTS.decode(row.timeouts),
        row.created_at,
        row.kind,
        _REPLICAS.decode(row.replicas),
        row.routing,
        row.metrics_port,
    )


def _read_model(row: Row[tuple[object, ...]], routes: tuple[Route, ...]) -> StoredModel:
    price = _PRICE.decode(row.price)
    return StoredModel(row.name, routes, price, row.display, row.context_window, row.max_output_tokens, row.created_at)
