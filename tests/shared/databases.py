"""New databases of every kind, at the newest schema: opened as often as a test wants, and written behind our back."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import postgres as servers

from techstone.adapters.storage import postgres, sqlite
from techstone.adapters.storage.target import parse

if TYPE_CHECKING:
    from techstone.adapters.storage.store import SqlStore

KINDS = ("sqlite", "postgres")


async def open_at(address: str) -> SqlStore:
    """Return the store of a file's path or a server's address."""
    return await (postgres.open_store(parse(address)) if "://" in address else sqlite.open_store(Path(address)))


class Place(Protocol):
    """Where a database is."""

    @property
    def address(self) -> str:
        """For `open_at`, in any process."""

    async def execute(self, *statements: str) -> None:
        """Run SQL that no store knows of."""

    async def remove(self) -> None:
        """Delete it."""


class FilePlace:
    """A SQLite file in a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "t.db"
        self.address = str(self.path)

    async def execute(self, *statements: str) -> None:
        """Run SQL that no store knows of."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    async def remove(self) -> None:
        """Leave it to the folder's owner."""


class ServerPlace:
    """A database of the tests' PostgreSQL server."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = servers.running().url(name)

    async def execute(self, *statements: str) -> None:
        """Run SQL that no store knows of."""
        await servers.running().run(self.name, *statements)

    async def remove(self) -> None:
        """Delete it."""
        await servers.running().drop([self.name])


async def create(kind: str, folder: Path) -> Place:
    """Return a new database."""
    if kind == "postgres":
        return ServerPlace(await servers.running().create_migrated())
    place = FilePlace(folder)
    place.path.write_bytes(await asyncio.to_thread(_make_empty))
    return place


@functools.cache
def _make_empty() -> bytes:
    """Return a new database's file: its migrations take longer than most that is done with it."""

    async def migrate(path: Path) -> None:
        await (await sqlite.open_store(path)).close()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.db")
        asyncio.run(migrate(path))
        return path.read_bytes()
