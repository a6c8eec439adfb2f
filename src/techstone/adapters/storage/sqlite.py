"""The database in one SQLite file: for one machine, shared by the control plane and the command line.

Every change is one `BEGIN IMMEDIATE` transaction that also raises the revision, so that several processes on the file
see each other's changes in order. `synchronous=FULL`: what was acknowledged survives a power cut (row M-2; measured
0.3 ms a commit).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from techstone.adapters.storage import audit, migrate, sqlite_booking
from techstone.adapters.storage.database import number_of
from techstone.adapters.storage.store import bring_up
from techstone.control import acts
from techstone.control.ports import StoreError, StoreFacts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from techstone.adapters.storage.store import SqlStore
    from techstone.control.ledger.records import Rating, Run

_R = TypeVar("_R")

# Asked for the revision, the database looks at its files first: every commit changes them, and a look costs 5 µs, not
# 1.5 ms. In case two commits fall into one tick of the file system's clock, it asks anyway so often (seconds).
_LONGEST_BLIND = 0.5
# How long a writer waits for another one's lock before it gives up.
_BUSY_MILLISECONDS = 5000


async def open_store(path: Path) -> SqlStore:
    """Return the store of a file, created and brought to the newest schema; raise StoreError."""
    try:
        # Created by us, so that it is never readable for others, not even for a moment.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(f"database {path}: {error.strerror or error}") from error
    return await bring_up(SqliteDatabase(path))


class SqliteDatabase:
    """The file. Implements `Database`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = path.with_name(path.name + "-wal")
        self._engine = _open_engine(path)
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._connection: sqlite3.Connection | None = None  # the thread's
        self._seen: object = None
        self._newest = 0

    @contextlib.asynccontextmanager
    async def change(self, *, noted: bool = True) -> AsyncIterator[AsyncConnection]:
        """Begin a writing transaction: commits at the end, rolls back on any error."""
        try:
            async with self._engine.connect() as connection:
                await connection.execute(text("BEGIN IMMEDIATE"))
                before = await _count_changes(connection) if noted else 0
                yield connection
                if noted and await _count_changes(connection) != before:
                    await audit.append(connection, *acts.current())
                await connection.commit()
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise StoreError(f"database {self.path}: {error.orig}") from error

    @contextlib.asynccontextmanager
    async def look(self, *, patient: bool = False, lasting: bool = False) -> AsyncIterator[AsyncConnection]:  # noqa: ARG002 - nothing is ever cut short
        """Begin a reading transaction: everything in it is of one moment."""
        try:
            async with self._engine.connect() as connection:
                await connection.execute(text("BEGIN"))
                yield connection
        except DBAPIError as error:
            raise StoreError(f"database {self.path}: {error.orig}") from error

    async def note(self) -> None:
        """Append the current act to the audit log by itself."""
        async with self.change(noted=False) as connection:
            await audit.append(connection, *acts.current())

    async def apply(self, journal: str, run: Run, now: int) -> int:
        """Book what is new of a run of a journal's records; return the number of the last one booked."""
        return await self.transact(lambda connection: sqlite_booking.apply(connection, journal, run, now))

    async def rerate(self, ratings: Sequence[Rating], now: int) -> None:
        """Give settled requests other costs, with all that follows."""
        await self.transact(lambda connection: sqlite_booking.rerate(connection, ratings, now))

    async def transact(self, work: Callable[[sqlite3.Connection], _R]) -> _R:
        """Do the work in one writing transaction of the driver's own, on a thread; any error rolls back."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)
        except sqlite3.Error as error:
            raise StoreError(f"database {self.path}: {error}") from error

    def _work(self, work: Callable[[sqlite3.Connection], _R]) -> _R:
        connection = self._connection
        if connection is None:
            connection = self._connection = sqlite3.connect(self.path)
            _prepare(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            done = work(connection)
            connection.commit()
        except BaseException:  # whatever it was: one that stays open would fail every transaction after it
            connection.rollback()
            raise
        return done

    async def read_revision(self) -> int:
        """Return the newest revision."""
        seen = (_sign(self.path), _sign(self._log), int(time.monotonic() / _LONGEST_BLIND))
        if seen != self._seen:
            async with self.look() as connection:
                self._newest = await number_of(connection)
            self._seen = seen
        return self._newest

    async def wait(self, longest: float) -> None:
        """Return after so many seconds: a file tells nobody."""
        await asyncio.sleep(longest)

    async def read_facts(self) -> StoreFacts:
        """Return what `doctor` tells."""
        async with self.look() as connection:
            schema = await connection.run_sync(migrate.read_version)
            sound = await connection.scalar(text("PRAGMA quick_check(1)")) == "ok"
            full = await connection.scalar(text("PRAGMA synchronous")) == 2
        return StoreFacts("sqlite", str(self.path), schema or "none", sound and full, self.path.stat().st_size)

    async def upgrade(self) -> None:
        """Bring it to the newest schema; the transaction holds the file's only write lock."""
        async with self.change(noted=False) as connection:
            await connection.run_sync(migrate.upgrade)

    async def close(self) -> None:
        """Give everything up."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()
        await self._engine.dispose()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()


async def _count_changes(connection: AsyncConnection) -> int:
    """Return how many rows the connection has changed in its life."""
    return int(await connection.scalar(text("SELECT total_changes()")) or 0)


def _sign(path: Path) -> tuple[int, int] | None:
    """Return what a commit changes about a file: its time and size."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half of what Path.stat costs, five times a second
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def _open_engine(path: Path) -> AsyncEngine:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: object) -> None:  # noqa: ANN401 - SQLAlchemy's own type of it is Any
        _prepare(connection)

    return engine


def _prepare(connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy wraps the driver's in one of its own
    # The driver begins no transactions by itself: ours say BEGIN IMMEDIATE where they write.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {_BUSY_MILLISECONDS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
