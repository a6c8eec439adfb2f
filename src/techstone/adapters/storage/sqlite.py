"""The store in one SQLite file: for one machine, shared by the control plane and the command line.

Every change is one `BEGIN IMMEDIATE` transaction that also raises the revision, so that several processes on the file
see each other's changes in order. `synchronous=FULL`: what was acknowledged survives a power cut (row M-2; measured
0.3 ms a commit).
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Select, event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from techstone.adapters.storage import migrate
from techstone.adapters.storage.schema import ACCOUNTS, KEYS, REVISION
from techstone.control.accounts.records import Account
from techstone.control.keys.records import Key, KeySettings
from techstone.control.ports import Records, StoreError, StoreFacts, Taken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Row

# Asked for the revision, the store looks at its files first: every commit changes them, and a look costs 5 µs, not
# 1.5 ms. In case two commits fall into one tick of the file system's clock, it asks anyway so often (seconds).
_LONGEST_BLIND = 0.5
# How long a writer waits for another one's lock before it gives up.
_BUSY_MILLISECONDS = 5000
_MODELS = msgspec.json.Decoder(tuple[str, ...])

_Row = dict[str, Any]  # what SQLAlchemy binds; it leaves this file only as a record


async def open_store(path: Path) -> SqliteStore:
    """Return the store of a file, created and brought to the newest schema; raise StoreError."""
    try:
        # Created by us, so that it is never readable for others, not even for a moment.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(f"database {path}: {error.strerror or error}") from error
    store = SqliteStore(path)
    try:
        await store.upgrade()
    except StoreError:
        await store.close()
        raise
    return store


class SqliteStore:
    """Accounts and keys in a SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._engine = _open_engine(path)
        self._seen: object = None
        self._newest = 0

    async def upgrade(self) -> None:
        """Bring the file to the newest schema; raise StoreError."""
        async with self._change() as connection:
            await connection.run_sync(migrate.upgrade)

    @contextlib.asynccontextmanager
    async def _change(self) -> AsyncIterator[AsyncConnection]:
        """Begin a writing transaction: commits at the end, rolls back on any error."""
        try:
            async with self._engine.connect() as connection:
                await connection.execute(text("BEGIN IMMEDIATE"))
                yield connection
                await connection.commit()
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise StoreError(f"database {self._path}: {error.orig}") from error

    @contextlib.asynccontextmanager
    async def _look(self) -> AsyncIterator[AsyncConnection]:
        """Begin a reading transaction: everything in it is of one moment."""
        try:
            async with self._engine.connect() as connection:
                await connection.execute(text("BEGIN"))
                yield connection
        except DBAPIError as error:
            raise StoreError(f"database {self._path}: {error.orig}") from error

    async def add_account(self, account: Account) -> None:
        """Store it; raise Taken("email")."""
        async with self._change() as connection:
            with _unique("email"):
                await connection.execute(insert(ACCOUNTS).values(_write_account(account, await _raise(connection))))

    async def find_account(self, who: str) -> Account | None:
        """Return the account of that id or email."""
        found = await self._accounts(select(ACCOUNTS).where((ACCOUNTS.c.id == who) | (ACCOUNTS.c.email == who)))
        return found[0] if found else None

    async def list_accounts(self) -> tuple[Account, ...]:
        """Return all, oldest first."""
        return await self._accounts(select(ACCOUNTS).order_by(ACCOUNTS.c.created_at, text("rowid")))

    async def set_plan(self, account_id: str, plan: str) -> None:
        """Change the plan."""
        await self._set_account(account_id, {"plan": plan})

    async def set_suspended(self, account_id: str, *, suspended: bool) -> None:
        """Suspend the account or let it in again."""
        await self._set_account(account_id, {"suspended": suspended})

    async def add_credit(self, account_id: str, nano: int) -> None:
        """Add to the credit."""
        await self._set_account(account_id, {"credit_nano": ACCOUNTS.c.credit_nano + nano})

    async def _set_account(self, account_id: str, values: _Row) -> None:
        async with self._change() as connection:
            changed = await _raise(connection)
            await connection.execute(
                update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values({**values, "changed": changed})
            )

    async def add_key(self, key: Key) -> None:
        """Store it; raise Taken("digest")."""
        async with self._change() as connection:
            with _unique("digest"):
                await connection.execute(insert(KEYS).values(_write_key(key, await _raise(connection))))

    async def replace_key(self, old_id: str, expires_at: int, new: Key) -> None:
        """Store the new key and bring the old one's end forward to `expires_at`, both or neither."""
        async with self._change() as connection:
            changed = await _raise(connection)
            with _unique("digest"):
                await connection.execute(insert(KEYS).values(_write_key(new, changed)))
            await connection.execute(
                update(KEYS).where(KEYS.c.id == old_id).values(expires_at=expires_at, changed=changed)
            )

    async def find_key(self, key_id: str) -> Key | None:
        """Return the key of that id."""
        found = await self._keys(select(KEYS).where(KEYS.c.id == key_id))
        return found[0] if found else None

    async def find_key_by_digest(self, digest: bytes) -> Key | None:
        """Return the key of that digest."""
        found = await self._keys(select(KEYS).where(KEYS.c.digest == digest))
        return found[0] if found else None

    async def list_keys(self, account_id: str | None = None) -> tuple[Key, ...]:
        """Return those of the account, or all; oldest first."""
        wanted = select(KEYS).order_by(KEYS.c.created_at, text("rowid"))
        return await self._keys(wanted if account_id is None else wanted.where(KEYS.c.account == account_id))

    async def revoke_key(self, key_id: str, at: int) -> None:
        """Revoke it; a revoked key keeps its first time."""
        async with self._change() as connection:
            changed = await _raise(connection)
            await connection.execute(
                update(KEYS)
                .where(KEYS.c.id == key_id, KEYS.c.revoked_at.is_(None))
                .values(revoked_at=at, changed=changed)
            )

    async def add_first(self, account: Account, key: Key) -> bool:
        """Store both if there is no account at all; say whether it did (of two processes only one does)."""
        async with self._change() as connection:
            if await connection.scalar(select(func.count()).select_from(ACCOUNTS)):
                return False
            changed = await _raise(connection)
            await connection.execute(insert(ACCOUNTS).values(_write_account(account, changed)))
            await connection.execute(insert(KEYS).values(_write_key(key, changed)))
            return True

    async def read_revision(self) -> int:
        """Return the newest revision."""
        seen = (_sign(self._path), _sign(self._log), int(time.monotonic() / _LONGEST_BLIND))
        if seen != self._seen:
            async with self._look() as connection:
                self._newest = int(await connection.scalar(select(REVISION.c.number)) or 0)
            self._seen = seen
        return self._newest

    async def read_all(self) -> Records:
        """Return every account and every key that is not revoked."""
        async with self._look() as connection:
            number = int(await connection.scalar(select(REVISION.c.number)) or 0)
            accounts = (await connection.execute(select(ACCOUNTS))).all()
            keys = (await connection.execute(select(KEYS).where(KEYS.c.revoked_at.is_(None)))).all()
        return Records(number, tuple(map(_read_account, accounts)), tuple(map(_read_key, keys)))

    async def read_changes(self, since: int) -> Records:
        """Return what changed after the revision, revoked keys included."""
        async with self._look() as connection:
            number = int(await connection.scalar(select(REVISION.c.number)) or 0)
            accounts = (await connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.changed > since))).all()
            keys = (await connection.execute(select(KEYS).where(KEYS.c.changed > since))).all()
        return Records(number, tuple(map(_read_account, accounts)), tuple(map(_read_key, keys)))

    async def read_facts(self) -> StoreFacts:
        """Return what `doctor` tells."""
        async with self._look() as connection:
            schema = await connection.run_sync(migrate.read_version)
            sound = await connection.scalar(text("PRAGMA quick_check(1)")) == "ok"
            full = await connection.scalar(text("PRAGMA synchronous")) == 2
        return StoreFacts("sqlite", str(self._path), schema or "none", sound and full, self._path.stat().st_size)

    async def close(self) -> None:
        """Give everything up."""
        await self._engine.dispose()

    async def _accounts(self, wanted: Select[Any]) -> tuple[Account, ...]:
        async with self._look() as connection:
            return tuple(map(_read_account, (await connection.execute(wanted)).all()))

    async def _keys(self, wanted: Select[Any]) -> tuple[Key, ...]:
        async with self._look() as connection:
            return tuple(map(_read_key, (await connection.execute(wanted)).all()))


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
        # The driver begins no transactions by itself: ours say BEGIN IMMEDIATE where they write.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout = {_BUSY_MILLISECONDS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    return engine


async def _raise(connection: AsyncConnection) -> int:
    """Raise the revision and return it."""
    await connection.execute(update(REVISION).values(number=REVISION.c.number + 1))
    return int(await connection.scalar(select(REVISION.c.number)) or 0)


@contextlib.contextmanager
def _unique(field: str) -> Any:  # noqa: ANN401 - a generator's type says nothing here
    try:
        yield
    except IntegrityError as error:
        if "UNIQUE" in str(error.orig):
            raise Taken(field) from error
        raise StoreError(str(error.orig)) from error


def _write_account(account: Account, changed: int) -> _Row:
    return {**msgspec.structs.asdict(account), "changed": changed}


def _read_account(row: Row[Any]) -> Account:
    return Account(row.id, row.email, row.plan, row.credit_nano, bool(row.suspended), row.created_at)


def _write_key(key: Key, changed: int) -> _Row:
    row = msgspec.structs.asdict(key)
    row.pop("settings")
    row |= msgspec.structs.asdict(key.settings)
    row["models"] = None if key.settings.models is None else msgspec.json.encode(key.settings.models).decode()
    return {**row, "changed": changed}


def _read_key(row: Row[Any]) -> Key:
    models = None if row.models is None else _MODELS.decode(row.models)
    return Key(
        id=row.id,
        digest=row.digest,
        account=row.account,
        name=row.name,
        hint=row.hint,
        settings=KeySettings(models, row.rpm, row.tpm, row.concurrent),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
