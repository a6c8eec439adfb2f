"""What a backup takes of a database and puts into one, whichever it is: its tables, and what they come to.

Tables are read from the database itself, as its schema has them: a backup of an older one goes back into that schema,
and is migrated there as the database would have been. Which are ours their names say: others may use the same schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
from sqlalchemy import MetaData, inspect, select, text
from sqlalchemy import types as sql

from techstone.adapters.storage import audit, migrate
from techstone.adapters.storage.schema import JOURNALS, METADATA, REVISION
from techstone.control import acts
from techstone.control.ports import StoreError
from techstone.core.backup import BackupError, Column, Facts, Sums, Table
from techstone.core.revision import begin_era

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection
    from sqlalchemy import Table as SqlTable
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.core.backup import Kind, Manifest, Row, Value

# The first that has the sums of all requests.
OLDEST = "0004"
# Rows that are read and written at once.
PART = 2000
# PostgreSQL has it as a column, SQLite by itself: the order of insertion, which lists follow.
ROWID = "rowid"
BY_INSERTION = frozenset({"accounts", "keys", "projects"})

_GRANTED = text(
    "SELECT coalesce(sum(granted_nano), 0), coalesce(sum(spent_nano), 0), coalesce(sum(held_nano), 0) FROM accounts"
)
_SETTLED = text(
    "SELECT coalesce(sum(requests), 0), coalesce(sum(cost_nano), 0) FROM totals_daily WHERE grouping = 'all'"
)


class Layout(msgspec.Struct, frozen=True):
    """A table and the columns that its rows are in the order of."""

    table: Table
    order: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.table.columns]


class Moment(msgspec.Struct, frozen=True):
    """What a database was at a moment: its schema's version, the unix time, its tables, what they come to."""

    schema: str
    at: int
    layouts: Sequence[Layout]
    facts: Facts


class Source(Protocol):
    """A database as of one moment."""

    kind: str
    moment: Moment

    def read(self, layout: Layout) -> AsyncIterator[Sequence[Sequence[Value]]]:
        """Yield a table's rows, some at a time; raise StoreError."""


class Target(Protocol):
    """A database that becomes what a backup says once `finish` was called, and stays as it is if that never happens."""

    async def open(self, table: Table) -> None:
        """Begin a table; raise BackupError where the schema has none such, StoreError."""

    async def add(self, rows: Sequence[Row]) -> None:
        """Put rows into the table that was begun last; raise BackupError for rows that cannot be, StoreError."""

    async def finish(self, manifest: Manifest, now: int) -> str | None:
        """Bring it to the newest schema and into a new era, and put it in place; return where the old one is now.

        Raise BackupError where it is not what the manifest says, StoreError. `now` is in unix seconds.
        """


def lay_out(connection: Connection) -> list[Layout]:
    """Return all tables of ours, each after those that it refers to."""
    found = MetaData()
    found.reflect(connection, only=lambda name, _: name in METADATA.tables)
    return [_lay_out(table) for table in found.sorted_tables]


def _lay_out(table: SqlTable) -> Layout:
    # SQLAlchemy has names of a class of its own.
    names = sorted(str(column.name) for column in table.columns if column.name != ROWID)
    columns = tuple(Column(name, _judge(table.columns[name].type)) for name in names)
    order = (ROWID,) if table.name in BY_INSERTION else tuple(str(column.name) for column in table.primary_key.columns)
    return Layout(Table(str(table.name), columns), order)


def _judge(found: sql.TypeEngine[object]) -> Kind:
    if isinstance(found, sql.Boolean):
        return "flag"
    if isinstance(found, sql.Integer):
        return "number"
    if isinstance(found, sql.LargeBinary):
        return "bytes"
    if isinstance(found, sql.String):
        return "text"
    raise StoreError(f"a column of type {found} cannot be kept in a backup")


def read_schema(connection: Connection) -> str:
    """Return the schema's version; raise StoreError for one that no backup is made of."""
    found = migrate.read_version(connection)
    if found is None:
        raise StoreError("there is nothing in the database yet")
    if not OLDEST <= found <= migrate.NEWEST:
        raise StoreError(
            f"the database has schema {found}, and this version makes backups of {OLDEST} to {migrate.NEWEST}"
        )
    return found


def require_schema(schema: str) -> None:
    """Raise BackupError for a backup of a schema that is not known here."""
    if schema > migrate.NEWEST:
        raise BackupError(
            f"it is of a newer version of TechStone (schema {schema}, here {migrate.NEWEST}): update first"
        )
    if schema < OLDEST:
        raise BackupError(f"it is of schema {schema}, and this version knows {OLDEST} to {migrate.NEWEST}")


def holds_accounts(connection: Connection) -> bool:
    """Say whether there is any account."""
    if not inspect(connection).has_table("accounts"):
        return False
    return connection.execute(text("SELECT 1 FROM accounts LIMIT 1")).scalar() is not None


def read_facts(connection: Connection) -> Facts:
    """Return what the manifest says of the books, as of a transaction."""
    revision = int(connection.execute(select(REVISION.c.number)).scalar() or 0)
    journals = connection.execute(select(JOURNALS.c.id, JOURNALS.c.applied).order_by(JOURNALS.c.id)).all()
    granted = connection.execute(_GRANTED).one()
    settled = connection.execute(_SETTLED).one()
    return Facts(revision, {row.id: row.applied for row in journals}, Sums(*map(int, granted), *map(int, settled)))


def require_facts(connection: Connection, manifest: Manifest) -> None:
    """Raise BackupError where the books are not what the manifest says of them."""
    found, said = read_facts(connection), manifest.facts
    if found != said:
        raise BackupError(f"its rows come to {found.sums}, and its manifest says {said.sums}: it was not made by us")


async def begin(connection: AsyncConnection, newest: int, now: int) -> None:
    """Begin a new era, and note the current act. `newest` is a revision that may have been told."""
    await connection.execute(text("UPDATE revision SET number = :number"), {"number": begin_era(newest, now)})
    await audit.append(connection, *acts.current())


def find(layouts: Sequence[Layout], table: Table) -> Table:
    """Return the table as the schema has it; raise BackupError where it has another."""
    for layout in layouts:
        if layout.table == table:
            return layout.table
    raise BackupError(f"its schema has no table {table.name!r} as it says")
