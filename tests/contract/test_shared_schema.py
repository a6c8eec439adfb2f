"""A schema of PostgreSQL that others use, too: extensions, views and tables of theirs are left alone."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import postgres as servers
import pytest
from alembic import command
from sqlalchemy import create_engine, inspect

from techstone.adapters.storage import migrate, postgres, postgres_backup
from techstone.adapters.storage.schema import METADATA
from techstone.app import backup as work
from techstone.control.accounts.records import Account
from techstone.core.backup import Rows, Table, Unpacker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from techstone.adapters.storage.target import Target

_OTHERS = (
    "CREATE EXTENSION pg_stat_statements",
    "CREATE VIEW names AS SELECT 'x'::text AS name",
    "CREATE TABLE notes (id varchar(10) PRIMARY KEY, at timestamptz, tags text[])",
    "INSERT INTO notes VALUES ('x', now(), '{y}')",
    "CREATE TABLE theirs (id text PRIMARY KEY)",
    "ALTER TABLE theirs OWNER TO pg_monitor",
)


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    """Give a new database in whose schema others were first; nobody owns everything in it."""
    server = servers.running()
    name = await server.create()
    await server.run(name, *_OTHERS, f"CREATE ROLE {name} LOGIN", f"GRANT ALL ON SCHEMA public TO {name}")
    target = server.target(name)
    yield type(target)(host=target.host, port=target.port, user=name, name=name, ssl="disable")
    await server.run(name, f"DROP OWNED BY {name}")
    await server.drop([name])
    await server.run("postgres", f"DROP ROLE {name}")


async def _describe(target: Target) -> list[str]:
    connection = await servers.running().connect(target.name)
    found = await connection.fetch(
        "SELECT table_name, column_name, data_type, collation_name, character_maximum_length "
        "FROM information_schema.columns WHERE table_name IN ('notes', 'theirs', 'names') ORDER BY 1, 2"
    )
    await connection.close()
    return [str(tuple(row)) for row in found]


async def test_start_and_update_leave_others_alone(target: Target) -> None:
    """A start on an empty database, and an update of ours, among what somebody else owns."""
    before = await _describe(target)
    await (await postgres.open_store(target)).close()
    database = postgres.PostgresDatabase(target)
    async with database.work() as connection:
        await connection.run_sync(lambda found: command.downgrade(migrate.configure(found), "0015"))
    await database.close()
    store = await postgres.open_store(target)
    assert (await store.read_facts()).schema == migrate.NEWEST
    await store.close()
    assert await _describe(target) == before


async def test_backup_holds_what_is_ours_and_is_restored(target: Target) -> None:
    """Theirs is neither in the backup nor in its way; it stays where it is when ours is replaced."""
    store = await postgres.open_store(target)
    await store.add_account(Account("acct_1", "a@example.com", "pro"))
    await store.close()
    file = io.BytesIO()
    async with postgres_backup.open_source(target) as source:
        manifest = await work._write(source, file, None)
    assert set(manifest.parts) == set(METADATA.tables)
    # For a schema beside the first one the owner of the database is needed.
    target = servers.running().target(target.name)
    async with postgres_backup.open_target(target, manifest.head.schema, replace=True) as made:
        unpacker = Unpacker()
        for said in unpacker.feed(file.getvalue()):
            if isinstance(said, Table):
                await made.open(said)
            elif isinstance(said, Rows):
                await made.add(said.rows)
        await made.finish(unpacker.end(), 1_800_000_000)
    store = await postgres.open_store(target)
    assert [account.id for account in await store.list_accounts()] == ["acct_1"]
    await store.close()
    assert len(await _describe(target)) == 5


def test_every_table_that_a_schema_ever_had_is_known(tmp_path: Path) -> None:
    """A backup is made of the tables that are known by name: none that a version had may be forgotten."""
    engine = create_engine(f"sqlite:///{tmp_path / 't.db'}")
    with engine.connect() as connection:
        for number in range(1, int(migrate.NEWEST) + 1):
            command.upgrade(migrate.configure(connection), f"{number:04}")
            assert set(inspect(connection).get_table_names()) <= {*METADATA.tables, "alembic_version"}
    engine.dispose()
