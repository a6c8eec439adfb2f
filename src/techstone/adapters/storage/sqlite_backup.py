"""Backups of a SQLite file, and their way back into one.

What is read is a copy of the file's pages, made at once in one reading transaction, which holds up no writer. It takes
2.4 s for a million requests, reading all rows 57 s (measured, 2026-11), and for so long the file's log of changes could
only grow. The copy loses its name before it is read; what a process that was killed left is swept away by the next.

What is restored is a file beside the other one, and is put into its place at the very end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from techstone.adapters.storage import backup, migrate
from techstone.adapters.storage.backup import Moment
from techstone.adapters.storage.sqlite import SqliteDatabase
from techstone.control.ports import StoreError
from techstone.core.backup import BackupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from techstone.adapters.storage.backup import Layout
    from techstone.core.backup import Manifest, Row, Table, Value

_COPY = ".techstone-copy-"
_RESTORING = ".restoring"
_BESIDE = ("-wal", "-shm", "-journal")
_BUSY_SECONDS = 5.0


@contextlib.asynccontextmanager
async def open_source(path: Path, folder: Path) -> AsyncIterator[SqliteSource]:
    """Give the file as of now; `folder` has room for a copy of it meanwhile. Raise StoreError, OSError."""
    with contextlib.ExitStack() as stack:
        with _telling(path):
            connection, made_at = stack.enter_context(_copying(path, folder))
            with _asking(connection) as asking:
                schema, layouts = backup.read_schema(asking), backup.lay_out(asking)
                facts = backup.read_facts(asking)
        yield SqliteSource(path, connection, Moment(schema, made_at, layouts, facts))


class SqliteSource:
    """A copy of the file. Implements `Source`."""

    kind = "sqlite"

    def __init__(self, path: Path, connection: sqlite3.Connection, moment: Moment) -> None:
        self._path = path
        self._connection = connection
        self.moment = moment

    async def read(self, layout: Layout) -> AsyncIterator[Sequence[Sequence[Value]]]:
        """Yield a table's rows, some at a time."""
        names, order = (", ".join(map(_quote, some)) for some in (layout.names, layout.order))
        found = self._connection.execute(f"SELECT {names} FROM {_quote(layout.table.name)} ORDER BY {order}")  # noqa: S608 - names of our schema
        while True:
            with _telling(self._path):
                rows = found.fetchmany(backup.PART)
            if not rows:
                return
            yield rows


@contextlib.contextmanager
def _copying(path: Path, folder: Path) -> Iterator[tuple[sqlite3.Connection, int]]:
    """Give a connection to a copy of the file, and the moment that it is of in unix seconds."""
    _sweep(folder)
    copy = folder / f"{_COPY}{os.getpid()}"
    # Locked as long as the process lives: SQLite's own locks are of another kind.
    held = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with _connect(path) as source, contextlib.closing(sqlite3.connect(copy)) as target:
            target.execute("PRAGMA journal_mode = OFF").close()
            target.execute("PRAGMA synchronous = OFF").close()
            made_at = int(time.time())
            source.backup(target)
        # Immutable: the copy says, as the original, that it has a log of changes, which it has not.
        reading = sqlite3.connect(f"{copy.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)
        reading.execute("SELECT 1 FROM sqlite_master").fetchall()  # opens it
        copy.unlink()
        with contextlib.closing(reading):
            yield reading, made_at
    finally:
        copy.unlink(missing_ok=True)
        os.close(held)


def _connect(path: Path) -> contextlib.closing[sqlite3.Connection]:
    """Open the file, which must be there: SQLite would make one."""
    if not path.exists():
        raise StoreError(f"database {path}: there is none")
    return contextlib.closing(sqlite3.connect(path, timeout=_BUSY_SECONDS))


def _sweep(folder: Path) -> None:
    """Delete the copies of processes that were killed."""
    for left in folder.glob(f"{_COPY}*"):
        with contextlib.suppress(OSError):
            number = os.open(left, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
            finally:
                os.close(number)


@contextlib.asynccontextmanager
async def open_target(path: Path, schema: str, *, replace: bool) -> AsyncIterator[SqliteTarget]:
    """Give a file that takes a backup of a schema and becomes `path`; raise StoreError."""
    backup.require_schema(schema)
    fresh = path.with_name(path.name + _RESTORING)
    with _telling(path), _holding(path, replace=replace) as newest, _discarding(fresh), _telling(fresh):
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(_open_fresh(fresh)) as connection:
            with _asking(connection) as asking:
                migrate.upgrade(asking, schema)
                layouts = backup.lay_out(asking)
            yield SqliteTarget(path, fresh, connection, layouts, newest)


class SqliteTarget:
    """The new file, on a connection that keeps no promise: it counts only when it is whole. Implements `Target`."""

    def __init__(
        self, path: Path, fresh: Path, connection: sqlite3.Connection, layouts: Sequence[Layout], newest: int | None
    ) -> None:
        self._path = path
        self._fresh = fresh
        self._connection = connection
        self._layouts = layouts
        self._newest = newest
        self._insert = ""
        # Made anew at the end, where each is sorted once.
        self._indexes = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in self._indexes:
            connection.execute(f"DROP INDEX {_quote(name)}")
        connection.execute("BEGIN")

    async def open(self, table: Table) -> None:
        """Begin a table."""
        found = backup.find(self._layouts, table)
        names = ", ".join(_quote(column.name) for column in found.columns)
        marks = ", ".join("?" * len(found.columns))
        self._insert = f"INSERT INTO {_quote(found.name)} ({names}) VALUES ({marks})"  # noqa: S608 - names of our schema
        self._connection.execute(f"DELETE FROM {_quote(found.name)}")  # noqa: S608 - what the migrations put there

    async def add(self, rows: Sequence[Row]) -> None:
        """Put rows into the table that was begun last."""
        try:
            self._connection.executemany(self._insert, rows)
        except (sqlite3.IntegrityError, OverflowError) as error:
            raise BackupError(f"a row of it cannot be stored: {error}") from error

    async def finish(self, manifest: Manifest, now: int) -> str | None:
        """Check it, bring it to the newest schema, and put it in place; return where the old file is now."""
        connection = self._connection
        connection.execute("COMMIT")
        for _, words in self._indexes:
            connection.execute(words)
        lost = connection.execute("PRAGMA foreign_key_check").fetchone()
        if lost is not None:
            raise BackupError(f"a row of {lost[0]} refers to one of {lost[2]} that is not there")
        with _asking(connection) as asking:
            backup.require_facts(asking, manifest)
        connection.close()
        await self._bring_up(manifest.facts.revision, now)
        aside = self._put(now)
        return None if aside is None else str(aside)

    async def _bring_up(self, revision: int, now: int) -> None:
        """Migrate, and begin a new era, as the store itself does."""
        database = SqliteDatabase(self._fresh)
        try:
            await database.upgrade()
            async with database.change(noted=False) as connection:
                await backup.begin(connection, max(revision, self._newest or 0), now)
        finally:
            await database.close()

    def _put(self, now: int) -> Path | None:
        """Put the new file in place of the old one, which at every moment is whole under one name or both."""
        with self._fresh.open("rb") as file:
            os.fsync(file.fileno())
        aside = None
        if self._newest is not None:
            moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
            aside = self._path.with_name(f"{self._path.name}.replaced-{moment}")
            os.link(self._path, aside)
            for ending in _BESIDE:  # of a file that is damaged; another one has none
                with contextlib.suppress(FileNotFoundError):
                    self._path.with_name(self._path.name + ending).rename(f"{aside}{ending}")
        self._fresh.rename(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return aside


@contextlib.contextmanager
def _holding(path: Path, *, replace: bool) -> Iterator[int | None]:
    """Keep everybody away from the old file and write its log of changes into it; give its revision.

    The log must not meet the new file. None: there is no file that holds anything. Raise StoreError where it may not be
    replaced, or is in use.
    """
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists() or not path.stat().st_size:
            yield None
            return
        with contextlib.closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as connection:
            yield _settle(path, connection, replace=replace)
    except BlockingIOError as error:
        raise StoreError(f"database {path}: another restore is at it") from error
    finally:
        os.close(folder)


def _settle(path: Path, connection: sqlite3.Connection, *, replace: bool) -> int | None:
    try:
        with _asking(connection) as asking:
            held = backup.holds_accounts(asking)
        if held and not replace:
            raise StoreError(f"database {path}: it holds accounts; --replace keeps it beside the restored one")
        revision = int(connection.execute("SELECT number FROM revision").fetchone()[0]) if held else None
        # Possible only for who is alone with it; it goes back to a log when it is opened next.
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        connection.execute("BEGIN EXCLUSIVE")
    except (sqlite3.DatabaseError, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, sqlite3.OperationalError):
            raise StoreError(f"database {path}: a process has it open ({cause}); stop the service first") from error
        if not replace:
            raise StoreError(
                f"database {path}: {cause}; --replace keeps it as it is beside the restored one"
            ) from error
        return 0  # it is damaged, which is what a backup is for
    return revision


@contextlib.contextmanager
def _discarding(fresh: Path) -> Iterator[None]:
    """Begin without what a process that was killed left, and leave nothing."""
    files = [fresh.with_name(fresh.name + ending) for ending in ("", *_BESIDE)]
    try:
        for file in files:
            file.unlink(missing_ok=True)
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _open_fresh(fresh: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(fresh, isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536", "foreign_keys = OFF"):
        connection.execute(f"PRAGMA {pragma}").close()
    return connection


@contextlib.contextmanager
def _asking(connection: sqlite3.Connection) -> Iterator[Connection]:
    """Give a connection of the driver's as one of SQLAlchemy's."""
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    with engine.connect() as asking:
        yield asking


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Tell what fails in one line for the operator."""
    try:
        yield
    except (sqlite3.Error, DBAPIError) as error:
        raise StoreError(f"database {path}: {error.orig if isinstance(error, DBAPIError) else error}") from error
    except OSError as error:
        raise StoreError(f"{error.filename or path}: {error.strerror or error}") from error


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
