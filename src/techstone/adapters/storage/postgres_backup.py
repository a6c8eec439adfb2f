"""Backups of a PostgreSQL database, and their way back into one. Either is one transaction.

A backup reads one snapshot of it, and holds up nobody. A restore makes all tables anew beside the old ones, which go
into a schema of their own; what is not committed never was.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy import text

from techstone.adapters.storage import backup, migrate
from techstone.adapters.storage.backup import Moment
from techstone.adapters.storage.postgres import PostgresDatabase
from techstone.adapters.storage.postgres_booking import BOOKING
from techstone.adapters.storage.schema import METADATA
from techstone.control.ports import StoreError
from techstone.core.backup import BackupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.backup import Layout
    from techstone.adapters.storage.target import Target as Address
    from techstone.core.backup import Manifest, Row, Table, Value

_NO_HURRY = text("SET LOCAL idle_in_transaction_session_timeout = 0")
_BOOKED = text(f"SELECT pg_advisory_xact_lock({BOOKING})")
_MOMENT = text("SELECT extract(epoch FROM now())::bigint")
_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'techstone' "
    "AND pid <> pg_backend_pid()"
)
_OURS = text(
    "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY(:names)"
)
# What the triggers of these tables call moves with them.
_FUNCTIONS = text(
    "SELECT DISTINCT quote_ident(proname) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
    "JOIN pg_proc ON pg_proc.oid = tgfoid JOIN pg_namespace ON pg_namespace.oid = pronamespace "
    "WHERE NOT tgisinternal AND nspname = current_schema() AND relnamespace = pronamespace AND relname = ANY(:names)"
)
_NAMES = {"names": [*METADATA.tables, "alembic_version"]}


@contextlib.asynccontextmanager
async def open_source(address: Address) -> AsyncIterator[PostgresSource]:
    """Give the database as of now; raise StoreError."""
    database = PostgresDatabase(address)
    try:
        async with database.look(patient=True) as connection:
            await connection.execute(_NO_HURRY)  # whoever takes the rows may be slow
            schema = await connection.run_sync(backup.read_schema)
            layouts = await connection.run_sync(backup.lay_out)
            facts = await connection.run_sync(backup.read_facts)
            made_at = int(await connection.scalar(_MOMENT) or 0)
            yield PostgresSource(await _drive(connection), Moment(schema, made_at, layouts, facts))
    finally:
        await database.close()


class PostgresSource:
    """A snapshot of the database. Implements `Source`."""

    kind = "postgresql"

    def __init__(self, driver: asyncpg.Connection, moment: Moment) -> None:
        self._driver = driver
        self.moment = moment

    async def read(self, layout: Layout) -> AsyncIterator[Sequence[Sequence[Value]]]:
        """Yield a table's rows, some at a time."""
        columns = ", ".join(
            f"{_quote(column.name)}::int" if column.kind == "flag" else _quote(column.name)
            for column in layout.table.columns
        )
        order = ", ".join(map(_quote, layout.order))
        cursor = await self._driver.cursor(f"SELECT {columns} FROM {_quote(layout.table.name)} ORDER BY {order}")  # noqa: S608 - names of our schema
        while rows := await cursor.fetch(backup.PART):
            yield [tuple(row) for row in rows]


@contextlib.asynccontextmanager
async def open_target(address: Address, schema: str, *, replace: bool) -> AsyncIterator[PostgresTarget]:
    """Give tables that take a backup of a schema, in a transaction; raise StoreError."""
    backup.require_schema(schema)
    database = PostgresDatabase(address)
    try:
        async with database.work() as connection:
            await connection.execute(_BOOKED)
            if await connection.scalar(_OTHERS):
                raise StoreError(f"database {address.address}: control planes are connected to it; stop them first")
            newest, aside = await _settle(connection, address.address, replace=replace)
            await connection.run_sync(migrate.upgrade, schema)
            layouts = await connection.run_sync(backup.lay_out)
            target = PostgresTarget(connection, await _drive(connection), layouts, newest, aside)
            yield target
            if not target.finished:
                await connection.rollback()
    finally:
        await database.close()


class PostgresTarget:
    """The new tables. Implements `Target`."""

    def __init__(
        self,
        connection: AsyncConnection,
        driver: asyncpg.Connection,
        layouts: Sequence[Layout],
        newest: int,
        aside: str | None,
    ) -> None:
        self._connection = connection
        self._driver = driver
        self._layouts = layouts
        self._newest = newest
        self._aside = aside
        self._table = ""
        self._names: list[str] = []
        self._flags: list[int] = []
        self._texts: list[int] = []
        self.finished = False

    async def open(self, table: Table) -> None:
        """Begin a table."""
        found = backup.find(self._layouts, table)
        self._table = found.name
        self._names = [column.name for column in found.columns]
        self._flags = [place for place, column in enumerate(found.columns) if column.kind == "flag"]
        self._texts = [place for place, column in enumerate(found.columns) if column.kind == "text"]
        # What the migrations put there; of invoices not even nothing can be deleted.
        if await self._driver.fetchval(f"SELECT 1 FROM {_quote(found.name)} LIMIT 1"):  # noqa: S608 - names of our schema
            await self._driver.execute(f"DELETE FROM {_quote(found.name)}")  # noqa: S608 - the same

    async def add(self, rows: Sequence[Row]) -> None:
        """Put rows into the table that was begun last."""
        try:
            await self._driver.copy_records_to_table(
                self._table, records=[self._fit(row) for row in rows], columns=self._names
            )
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
            raise BackupError(f"a row of {self._table} cannot be stored: {error}") from error

    def _fit(self, row: Row) -> Sequence[object]:
        """Return a row as PostgreSQL has it; its text holds no NUL, as wherever we write it."""
        fitted: list[object] = list(row)
        for place in self._flags:
            fitted[place] = None if row[place] is None else bool(row[place])
        for place in self._texts:
            value = row[place]
            if isinstance(value, str) and "\0" in value:
                fitted[place] = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        return fitted

    async def finish(self, manifest: Manifest, now: int) -> str | None:
        """Check it, bring it to the newest schema and into a new era; leaving commits it."""
        connection = self._connection
        for layout in self._layouts:
            for column in layout.table.columns:
                if column.kind == "number":
                    await self._count_on(layout.table.name, column.name)
        await connection.run_sync(backup.require_facts, manifest)
        await connection.run_sync(migrate.upgrade)
        await backup.begin(connection, max(manifest.facts.revision, self._newest), now)
        self.finished = True
        return self._aside

    async def _count_on(self, table: str, column: str) -> None:
        """Have a column that numbers its rows go on after the last one."""
        sequence = await self._driver.fetchval("SELECT pg_get_serial_sequence($1, $2)", _quote(table), column)
        if sequence is not None:
            newest = await self._driver.fetchval(f"SELECT max({_quote(column)}) FROM {_quote(table)}")  # noqa: S608 - names of our schema
            await self._driver.execute("SELECT setval($1::text::regclass, $2, false)", sequence, (newest or 0) + 1)


async def _settle(connection: AsyncConnection, address: str, *, replace: bool) -> tuple[int, str | None]:
    """Put what is there into a schema of its own; return its revision, and the schema's name if it holds anything.

    Raise StoreError where it may not be replaced.
    """
    tables = (await connection.scalars(_OURS, _NAMES)).all()
    if not tables:
        return 0, None
    held = await connection.run_sync(backup.holds_accounts)
    if held and not replace:
        raise StoreError(f"database {address}: it holds accounts; --replace keeps them in a schema of their own")
    newest = int(await connection.scalar(text("SELECT number FROM revision")) or 0)
    functions = (await connection.scalars(_FUNCTIONS, _NAMES)).all()
    aside = "replaced_" + time.strftime("%Y%m%d_%H%M%S", time.gmtime())
    await connection.execute(text(f"CREATE SCHEMA {aside}"))
    for table in tables:
        await connection.execute(text(f"ALTER TABLE {table} SET SCHEMA {aside}"))
    for function in functions:
        await connection.execute(text(f"ALTER FUNCTION {function}() SET SCHEMA {aside}"))
    if not held:
        await connection.execute(text(f"DROP SCHEMA {aside} CASCADE"))
        return newest, None
    return newest, f"schema {aside}"


async def _drive(connection: AsyncConnection) -> asyncpg.Connection:
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, asyncpg.Connection)  # noqa: S101 - tells mypy which driver it is
    return driver


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
