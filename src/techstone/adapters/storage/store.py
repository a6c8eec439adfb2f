"""The store in a database: accounts and keys, and one room for each of the others. It is the same in every database."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, cast

import msgspec
from sqlalchemy import Select, func, insert, literal, literal_column, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from techstone.adapters.storage.audit import SqlAudit
from techstone.adapters.storage.billing import SqlBilling
from techstone.adapters.storage.catalog import SqlCatalog, SqlSwitches
from techstone.adapters.storage.credentials import SqlCredentials
from techstone.adapters.storage.database import number_of, raise_revision
from techstone.adapters.storage.dialect import is_duplicate
from techstone.adapters.storage.identity import SqlIdentity
from techstone.adapters.storage.invoices import SqlInvoices
from techstone.adapters.storage.ledger import SqlLedger, note_grant
from techstone.adapters.storage.payments import SqlPayments
from techstone.adapters.storage.projects import SqlProjects
from techstone.adapters.storage.reading import Rows, SqlReading
from techstone.adapters.storage.reports import SqlReports
from techstone.adapters.storage.schema import ACCOUNTS, KEYS, PROJECTS, REVISION, SECRETS
from techstone.adapters.storage.transcripts import SqlTranscripts
from techstone.control.accounts.records import Account, Terms
from techstone.control.keys.records import Key, KeySettings
from techstone.control.ports import Records, StoreError, Taken
from techstone.core.revision import begin_era

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.database import Database
    from techstone.control.keys.records import KeyKind
    from techstone.control.ports import StoreFacts
    from techstone.core.keys import Scope

_MOST_VALUES = 1000
# Columns that hold a list of words, as JSON.
_LISTS = ("models", "scopes", "ips")
_LIST = msgspec.json.Decoder(tuple[str, ...])

_Row = dict[str, Any]  # what SQLAlchemy binds; it leaves this file only as a record


async def bring_up(database: Database) -> SqlStore:
    """Return the store of a database that is brought to the newest schema; raise StoreError, and close it then."""
    try:
        await database.upgrade()
    except StoreError:
        await database.close()
        raise
    return SqlStore(database)


class SqlStore:
    """Implements `Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._change = database.change
        self._look = database.look
        self.ledger = SqlLedger(database)
        self.billing = SqlBilling(database)
        self.identity = SqlIdentity(database, _insert_account)
        self.credentials = SqlCredentials(database, _insert_account)
        self.audit = SqlAudit(database)
        self.catalog = SqlCatalog(database)
        self.switches = SqlSwitches(database)
        self.projects = SqlProjects(database)
        self.transcripts = SqlTranscripts(database)
        self.invoices = SqlInvoices(database)
        self.payments = SqlPayments(database)
        self.reports = SqlReports(database)

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
        return await self._accounts(select(ACCOUNTS).order_by(ACCOUNTS.c.created_at, literal_column("rowid")))

    async def find_accounts(self, text: str, before: str, limit: int) -> tuple[Account, ...]:
        """Return accounts whose email or id holds a text, newest first, at most so many; those before one."""
        wanted = select(ACCOUNTS).order_by(ACCOUNTS.c.created_at.desc(), ACCOUNTS.c.id.desc()).limit(limit)
        if text:
            wanted = wanted.where(
                ACCOUNTS.c.email.icontains(text, autoescape=True) | ACCOUNTS.c.id.icontains(text, autoescape=True)
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
        wanted = select(KEYS).order_by(KEYS.c.created_at, literal_column("rowid"))
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

    async def begin_era(self, lost: int | None = None) -> bool:
        """Begin an era, after a revision that is lost; say whether it did."""
        async with self._change() as connection:
            newest = await number_of(connection)
            if lost is not None and lost <= newest:
                return False
            fresh = begin_era(max(newest, lost or 0), int(time.time()))
            await connection.execute(update(REVISION).values(number=fresh))
        return True

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

    async def read_one(self, account: str) -> Records:
        """Return one account with its keys for inference that are not revoked, and their spending, of one moment."""
        wanted = select(KEYS).where(KEYS.c.account == account, KEYS.c.revoked_at.is_(None), KEYS.c.kind == "inference")
        async with self._look() as connection:
            number = await number_of(connection)
            accounts = (await connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.id == account))).all()
            keys = (await connection.execute(wanted)).all()
            spending = await self.ledger.read_spending(
                connection, int(time.time()), [row.id for row in accounts], [row.id for row in keys]
            )
        return Records(number, tuple(map(_read_account, accounts)), tuple(map(_read_key, keys)), spending, frozenset())

    @contextlib.asynccontextmanager
    async def reading(self, since: int | None = None, *, spending: bool = True) -> AsyncIterator[SqlReading]:
        """Begin to read every account and key, or what changed after a revision."""
        async with self._look(lasting=True) as connection:
            yield SqlReading(connection, self.ledger, Rows(_read_account, _read_key), since, spending=spending)

    async def wait(self, longest: float) -> None:
        """Return when the revision may have been raised, after `longest` seconds in any case."""
        await self._database.wait(longest)

    async def read_facts(self) -> StoreFacts:
        """Return what `doctor` tells."""
        return await self._database.read_facts()

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
        if is_duplicate(error):
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
    return Key(
        row.id,
        row.digest,
        row.account,
        row.name,
        row.hint,
        # Without a conversion of the whole by msgspec, which would double the time that a million keys take.
        KeySettings(
            _read_list(row.models),
            row.rpm,
            row.tpm,
            row.concurrent,
            row.daily_cap,
            row.monthly_cap,
            cast("tuple[Scope, ...] | None", _read_list(row.scopes)),
            _read_list(row.ips),
            row.project,
            row.lifetime,
        ),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        kind=row.kind,
        disabled_at=row.disabled_at,
    )


def _read_list(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else _LIST.decode(text)
