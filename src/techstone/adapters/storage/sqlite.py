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
from sqlalchemy import Select, func, insert, literal, select, text, tuple_, update
from sqlalchemy.exc import IntegrityError

from techstone.adapters.storage import migrate
from techstone.adapters.storage.audit import SqliteAudit
from techstone.adapters.storage.billing import SqliteBilling
from techstone.adapters.storage.catalog import SqliteCatalog, SqliteSwitches
from techstone.adapters.storage.credentials import SqliteCredentials
from techstone.adapters.storage.database import Database, number_of, raise_revision
from techstone.adapters.storage.identity import SqliteIdentity
from techstone.adapters.storage.invoices import SqliteInvoices
from techstone.adapters.storage.ledger import SqliteLedger, note_grant
from techstone.adapters.storage.payments import SqlitePayments
from techstone.adapters.storage.projects import SqliteProjects
from techstone.adapters.storage.reports import SqliteReports
from techstone.adapters.storage.schema import ACCOUNTS, KEYS, PROJECTS, SECRETS
from techstone.adapters.storage.transcripts import SqliteTranscripts
from techstone.control.accounts.records import Account, Terms
from techstone.control.keys.records import Key, KeySettings
from techstone.control.ports import Records, StoreError, StoreFacts, Taken

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.control.keys.records import KeyKind

_MOST_VALUES = 1000
# Columns that hold a list of words, as JSON.
_LISTS = ("models", "scopes", "ips")
_SETTINGS = KeySettings.__struct_fields__

_Row = dict[str, Any]  # what SQLAlchemy binds; it leaves this file only as a record


async def open_store(path: Path) -> SqliteStore:
    """Return the store of a file, created and brought to the newest schema; raise StoreError."""
    try:
        # Created by us, so that it is never readable for others, not even for a moment.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(f"database {path}: {error.strerror or error}") from error
    store = SqliteStore(Database(path))
    try:
        await store.upgrade()
    except StoreError:
        await store.close()
        raise
    return store


class SqliteStore:
    """Accounts and keys in a SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._change = database.change
        self._look = database.look
        self.ledger = SqliteLedger(database)
        self.billing = SqliteBilling(database)
        self.identity = SqliteIdentity(database, _insert_account)
        self.credentials = SqliteCredentials(database, _insert_account)
        self.audit = SqliteAudit(database)
        self.catalog = SqliteCatalog(database)
        self.switches = SqliteSwitches(database)
        self.projects = SqliteProjects(database)
        self.transcripts = SqliteTranscripts(database)
        self.invoices = SqliteInvoices(database)
        self.payments = SqlitePayments(database)
        self.reports = SqliteReports(database)

    async def upgrade(self) -> None:
        """Bring the file to the newest schema; raise StoreError."""
        async with self._change(noted=False) as connection:
            await connection.run_sync(migrate.upgrade)

    async def add_account(self, account: Account) -> None:
        """Store it; raise Taken("email")."""
        async with self._change() as connection:
            with _unique("email"):
                await _insert_account(connection, account, await raise_revision(connection))

    async def find_account(self, who: str) -> Account | None:
        """Return the account of that id or email."""
        found = await self._accounts(select(ACCOUNTS).where((ACCOUNTS.c.id == who) | (ACCOUNTS.c.email == who)))
        return found[0] if found else None

    async def list_accounts(self) -> tuple[Account, ...]:
        """Return all, oldest first."""
        return await self._accounts(select(ACCOUNTS).order_by(ACCOUNTS.c.created_at, text("rowid")))

    async def find_accounts(self, text: str, before: str, limit: int) -> tuple[Account, ...]:
        """Return accounts whose email or id holds a text, newest first, at most so many; those before one."""
        wanted = select(ACCOUNTS).order_by(ACCOUNTS.c.created_at.desc(), ACCOUNTS.c.id.desc()).limit(limit)
        if text:
            wanted = wanted.where(
                ACCOUNTS.c.email.contains(text, autoescape=True) | ACCOUNTS.c.id.contains(text, autoescape=True)
            )
        if before:
            last = await self.find_account(before)
            if last is None:
                return ()
            here = tuple_(literal(last.created_at), literal(last.id))
            wanted = wanted.where(tuple_(ACCOUNTS.c.created_at, ACCOUNTS.c.id) < here)
        return await self._accounts(wanted)

    async def count_plans(self) -> dict[str, int]:
        """Return how many accounts are on each plan that any is on."""
        wanted = select(ACCOUNTS.c.plan, func.count()).group_by(ACCOUNTS.c.plan)
        async with self._look() as connection:
            return {row[0]: row[1] for row in (await connection.execute(wanted)).all()}

    async def list_emails(self, ids: Collection[str] | None = None) -> dict[str, str]:
        """Return the email of each of these accounts that there is, or of every one, by its id."""
        wanted = select(ACCOUNTS.c.id, ACCOUNTS.c.email)
        # More are picked out here: a statement takes 32,766 values at most (sqlite.org/limits.html, item 9).
        if ids is not None and len(ids) <= _MOST_VALUES:
            wanted = wanted.where(ACCOUNTS.c.id.in_(ids))
        async with self._look() as connection:
            rows = (await connection.execute(wanted)).all()
        return {row.id: row.email for row in rows if ids is None or row.id in ids}

    async def set_suspended(self, account_id: str, *, suspended: bool) -> None:
        """Suspend the account or let it in again."""
        await self._set_account(account_id, {"suspended": suspended})

    async def set_terms(self, account_id: str, terms: Terms) -> None:
        """Change what is given of plan, custom limits and cap, together."""
        await self._set_account(account_id, terms.given)

    async def _set_account(self, account_id: str, values: _Row) -> None:
        async with self._change() as connection:
            changed = await raise_revision(connection)
            await connection.execute(
                update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values({**values, "changed": changed})
            )

    async def add_key(self, key: Key) -> None:
        """Store it; raise Taken("digest")."""
        async with self._change() as connection:
            with _unique("digest"):
                await connection.execute(insert(KEYS).values(_write_key(key, await raise_revision(connection))))

    async def replace_key(self, old_id: str, expires_at: int, new: Key) -> None:
        """Store the new key and bring the old one's end forward to `expires_at`, both or neither."""
        async with self._change() as connection:
            changed = await raise_revision(connection)
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

    async def list_keys(self, account_id: str | None = None, kind: KeyKind | None = None) -> tuple[Key, ...]:
        """Return those of the account, or all, of a kind or of any; oldest first."""
        wanted = select(KEYS).order_by(KEYS.c.created_at, text("rowid"))
        if kind is not None:
            wanted = wanted.where(KEYS.c.kind == kind)
        return await self._keys(wanted if account_id is None else wanted.where(KEYS.c.account == account_id))

    async def revoke_key(self, key_id: str, at: int) -> None:
        """Revoke it; a revoked key keeps its first time."""
        async with self._change() as connection:
            changed = await raise_revision(connection)
            await connection.execute(
                update(KEYS)
                .where(KEYS.c.id == key_id, KEYS.c.revoked_at.is_(None))
                .values(revoked_at=at, changed=changed)
            )

    async def change_key(self, before: Key, after: Key) -> None:
        """Write what `after` has otherwise than `before` of the same key, and nothing else."""
        old, new = _write_key(before, 0), _write_key(after, 0)
        values = {name: value for name, value in new.items() if value != old[name]}
        if not values:
            return
        async with self._change() as connection:
            changed = await raise_revision(connection)
            await connection.execute(update(KEYS).where(KEYS.c.id == before.id).values({**values, "changed": changed}))

    async def add_first(self, account: Account, key: Key) -> bool:
        """Store both if there is no account at all; say whether it did (of two processes only one does)."""
        async with self._change() as connection:
            if await connection.scalar(select(func.count()).select_from(ACCOUNTS)):
                return False
            changed = await raise_revision(connection)
            await _insert_account(connection, account, changed)
            await connection.execute(insert(KEYS).values(_write_key(key, changed)))
            return True

    async def read_revision(self) -> int:
        """Return the newest revision."""
        return await self._database.read_revision()

    async def read_all(self) -> Records:
        """Return every account and every key for inference that is not revoked."""
        wanted = select(KEYS).where(KEYS.c.revoked_at.is_(None), KEYS.c.kind == "inference")
        async with self._look() as connection:
            number = await number_of(connection)
            accounts = (await connection.execute(select(ACCOUNTS))).all()
            keys = (await connection.execute(wanted)).all()
            spending = await self.ledger.read_spending(connection, int(time.time()))
            keeping = await connection.scalars(select(PROJECTS.c.id).where(PROJECTS.c.kept_days.is_not(None)))
        return Records(
            number, tuple(map(_read_account, accounts)), tuple(map(_read_key, keys)), spending, frozenset(keeping)
        )

    async def read_changes(self, since: int) -> Records:
        """Return what changed after the revision, revoked keys for inference included, and their spending."""
        wanted = select(KEYS).where(KEYS.c.changed > since, KEYS.c.kind == "inference")
        async with self._look() as connection:
            number = await number_of(connection)
            accounts = (await connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.changed > since))).all()
            keys = (await connection.execute(wanted)).all()
            spending = await self.ledger.read_spending(
                connection, int(time.time()), [row.id for row in accounts], [row.id for row in keys]
            )
            keeping = await connection.scalars(select(PROJECTS.c.id).where(PROJECTS.c.kept_days.is_not(None)))
        return Records(
            number, tuple(map(_read_account, accounts)), tuple(map(_read_key, keys)), spending, frozenset(keeping)
        )

    async def read_facts(self) -> StoreFacts:
        """Return what `doctor` tells."""
        async with self._look() as connection:
            schema = await connection.run_sync(migrate.read_version)
            sound = await connection.scalar(text("PRAGMA quick_check(1)")) == "ok"
            full = await connection.scalar(text("PRAGMA synchronous")) == 2
        return StoreFacts(
            "sqlite", str(self._database.path), schema or "none", sound and full, self._database.path.stat().st_size
        )

    async def keep_secret(self, name: str, fresh: bytes) -> bytes:
        """Return the secret of that name; where there is none yet, `fresh` becomes it."""
        wanted = select(SECRETS.c.value).where(SECRETS.c.name == name)
        async with self._change() as connection:
            found = await connection.scalar(wanted)
            if found is None:
                await connection.execute(insert(SECRETS).values(name=name, value=fresh))
            return bytes(found) if found is not None else fresh

    async def close(self) -> None:
        """Give everything up."""
        await self._database.close()

    async def _accounts(self, wanted: Select[Any]) -> tuple[Account, ...]:
        async with self._look() as connection:
            return tuple(map(_read_account, (await connection.execute(wanted)).all()))

    async def _keys(self, wanted: Select[Any]) -> tuple[Key, ...]:
        async with self._look() as connection:
            return tuple(map(_read_key, (await connection.execute(wanted)).all()))


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


async def _insert_account(connection: AsyncConnection, account: Account, changed: int) -> None:
    await connection.execute(insert(ACCOUNTS).values(_write_account(account, changed)))
    if account.granted_nano:
        await note_grant(connection, account.id, account.granted_nano, "credit to begin with")


def _read_account(row: Row[Any]) -> Account:
    return Account(
        id=row.id,
        email=row.email,
        plan=row.plan,
        granted_nano=row.granted_nano,
        suspended=bool(row.suspended),
        created_at=row.created_at,
        spent_nano=row.spent_nano,
        held_nano=row.held_nano,
        rpm=row.rpm,
        tpm=row.tpm,
        concurrent=row.concurrent,
        monthly_cap=row.monthly_cap,
    )


def _write_key(key: Key, changed: int) -> _Row:
    row = msgspec.structs.asdict(key)
    row.pop("settings")
    row |= msgspec.structs.asdict(key.settings)
    for name in _LISTS:
        row[name] = None if row[name] is None else msgspec.json.encode(row[name]).decode()
    return {**row, "changed": changed}


def _read_key(row: Row[Any]) -> Key:
    settings = {name: row._mapping[name] for name in _SETTINGS}  # noqa: SLF001 - SQLAlchemy's way to columns by name
    for name in _LISTS:
        settings[name] = None if settings[name] is None else msgspec.json.decode(settings[name])
    return Key(
        id=row.id,
        digest=row.digest,
        account=row.account,
        name=row.name,
        hint=row.hint,
        settings=msgspec.convert(settings, KeySettings),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        kind=row.kind,
        disabled_at=row.disabled_at,
    )
