"""The records in this process's memory: for tests and trials, with the same promises as the database but durability."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from techstone.adapters.storage.memory_audit import MemoryAudit
from techstone.adapters.storage.memory_billing import MemoryBilling
from techstone.adapters.storage.memory_catalog import MemoryCatalog, MemorySwitches
from techstone.adapters.storage.memory_credentials import MemoryCredentials
from techstone.adapters.storage.memory_identity import MemoryIdentity
from techstone.adapters.storage.memory_invoices import MemoryInvoices
from techstone.adapters.storage.memory_ledger import MemoryLedger
from techstone.adapters.storage.memory_payments import MemoryPayments
from techstone.adapters.storage.memory_projects import MemoryProjects
from techstone.adapters.storage.memory_reports import MemoryReports
from techstone.adapters.storage.memory_transcripts import MemoryTranscripts
from techstone.control.keys.records import Key
from techstone.control.ports import Extent, Records, StoreFacts, Taken
from techstone.core.revision import begin_era

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from techstone.control.accounts.records import Account, Terms
    from techstone.control.keys.records import KeyKind


class MemoryStore:
    """Dicts by id; no method gives way between reading and writing, so each is a transaction. Implements `Store`."""

    def __init__(self) -> None:
        self._revision = 0
        self._accounts: dict[str, Account] = {}
        self._keys: dict[str, Key] = {}
        self._changed: dict[str, int] = {}
        self.audit = MemoryAudit()
        self.reports = MemoryReports()
        self._secrets: dict[str, bytes] = {}
        self._ledger = MemoryLedger(self._accounts, self._put, self.audit.append)
        self._identity = MemoryIdentity(self._accounts, self._put, self.audit.append)
        self._credentials = MemoryCredentials(self._identity, self.audit.append)
        self.projects = MemoryProjects(self._keys, self.audit.append, self._touch)
        self.transcripts = MemoryTranscripts(self.audit.append)
        self._billing = MemoryBilling(self._accounts, self._keys, self._ledger, self._rise, self.audit.append)
        self.catalog = MemoryCatalog(self._accounts, self._billing, self._rise, self.audit.append)
        self.switches = MemorySwitches(self._rise, self.audit.append)
        self.invoices = MemoryInvoices(self._accounts, self._ledger, self.audit.append)
        self.payments = MemoryPayments(self._ledger, self.invoices, self.audit.append)

    async def add_account(self, account: Account) -> None:
        """Store it; raise Taken("email")."""
        if any(other.email == account.email for other in self._accounts.values()):
            raise Taken("email")
        self.audit.append()
        self._put(account)

    async def find_account(self, who: str) -> Account | None:
        """Return the account of that id or email."""
        return next((account for account in self._accounts.values() if who in (account.id, account.email)), None)

    async def list_accounts(self) -> tuple[Account, ...]:
        """Return all, oldest first."""
        return tuple(self._accounts.values())

    async def find_accounts(self, text: str, before: str, limit: int) -> tuple[Account, ...]:
        """Return accounts whose email or id holds a text, newest first, at most so many; those before one."""
        if before and before not in self._accounts:
            return ()
        last = _order(self._accounts[before]) if before else None
        found = [
            account
            for account in sorted(self._accounts.values(), key=_order, reverse=True)
            if (text in account.email or text in account.id) and (last is None or _order(account) < last)
        ]
        return tuple(found[:limit])

    async def count_plans(self) -> dict[str, int]:
        """Return how many accounts are on each plan that any is on."""
        return dict(Counter(account.plan for account in self._accounts.values()))

    async def list_emails(self, ids: Collection[str] | None = None) -> dict[str, str]:
        """Return the email of each of these accounts that there is, or of every one, by its id."""
        return {one.id: one.email for one in self._accounts.values() if ids is None or one.id in ids}

    @property
    def ledger(self) -> MemoryLedger:
        """What was granted, used and spent."""
        return self._ledger

    @property
    def billing(self) -> MemoryBilling:
        """Prices, codes and alerts."""
        return self._billing

    @property
    def identity(self) -> MemoryIdentity:
        """People, sessions and one-time links."""
        return self._identity

    @property
    def credentials(self) -> MemoryCredentials:
        """Second factors, and who people are elsewhere."""
        return self._credentials

    async def set_terms(self, account_id: str, terms: Terms) -> None:
        """Change what is given of plan, custom limits and cap, together."""
        self.audit.append()
        self._put(msgspec.structs.replace(self._accounts[account_id], **terms.given))

    async def set_suspended(self, account_id: str, *, suspended: bool) -> None:
        """Suspend the account or let it in again."""
        self.audit.append()
        self._put(msgspec.structs.replace(self._accounts[account_id], suspended=suspended))

    async def add_key(self, key: Key) -> None:
        """Store it; raise Taken("digest")."""
        if any(other.digest == key.digest for other in self._keys.values()):
            raise Taken("digest")
        self.audit.append()
        self._put(key)

    async def replace_key(self, old_id: str, expires_at: int, new: Key) -> None:
        """Store the new key and bring the old one's end forward, at one revision."""
        if any(other.digest == new.digest for other in self._keys.values()):
            raise Taken("digest")
        self.audit.append()
        self._put(msgspec.structs.replace(self._keys[old_id], expires_at=expires_at), new)

    async def find_key(self, key_id: str) -> Key | None:
        """Return the key of that id."""
        return self._keys.get(key_id)

    async def find_key_by_digest(self, digest: bytes) -> Key | None:
        """Return the key of that digest."""
        return next((key for key in self._keys.values() if key.digest == digest), None)

    async def list_keys(self, account_id: str | None = None, kind: KeyKind | None = None) -> tuple[Key, ...]:
        """Return those of the account, or all, of a kind or of any; oldest first."""
        return tuple(
            key for key in self._keys.values() if account_id in (None, key.account) and kind in (None, key.kind)
        )

    async def revoke_key(self, key_id: str, at: int) -> None:
        """Revoke it; a revoked key keeps its first time."""
        self.audit.append()
        key = self._keys[key_id]
        if key.revoked_at is None:
            self._put(msgspec.structs.replace(key, revoked_at=at))

    async def change_key(self, before: Key, after: Key) -> None:
        """Write what `after` has otherwise than `before` of the same key, and nothing else."""
        if after == before:
            return
        self.audit.append()
        key = self._keys[before.id]
        settings = _differ(before.settings, after.settings)
        changed = _differ(before, after) | {"settings": msgspec.structs.replace(key.settings, **settings)}
        self._put(msgspec.structs.replace(key, **changed))

    async def add_first(self, account: Account, key: Key) -> bool:
        """Store both if there is no account at all."""
        if self._accounts:
            return False
        self.audit.append()
        self._put(account, key)
        return True

    async def read_revision(self) -> int:
        """Return the newest revision."""
        return self._revision

    async def begin_era(self, lost: int | None = None) -> bool:
        """Begin an era, after a revision that is lost; say whether it did."""
        if lost is not None and lost <= self._revision:
            return False
        self.audit.append()
        self._revision = begin_era(max(self._revision, lost or 0), int(time.time()))
        return True

    async def wait(self, longest: float) -> None:
        """Return after so many seconds."""
        await asyncio.sleep(longest)

    async def read_all(self) -> Records:
        """Return every account and every key for inference that is not revoked."""
        return Records(
            self._revision,
            tuple(self._accounts.values()),
            tuple(key for key in self._keys.values() if key.revoked_at is None and key.kind == "inference"),
            self._ledger.read_spending(int(time.time())),
            self.projects.keeping,
        )

    async def read_changes(self, since: int) -> Records:
        """Return what changed after the revision, revoked keys for inference included, and their spending."""
        accounts = tuple(account for account in self._accounts.values() if self._changed[account.id] > since)
        keys = tuple(key for key in self._keys.values() if self._changed[key.id] > since and key.kind == "inference")
        names = {account.id for account in accounts} | {key.id for key in keys}
        spending = self._ledger.read_spending(int(time.time()), names)
        return Records(self._revision, accounts, keys, spending, self.projects.keeping)

    @contextlib.asynccontextmanager
    async def reading(self, since: int | None = None, *, spending: bool = True) -> AsyncIterator[MemoryReading]:
        """Begin to read every account and key, or what changed after a revision."""
        everything = await self.read_all()
        told = everything if since is None else await self.read_changes(since)
        if since is not None and spending:
            accounts = {one.id: one for one in everything.accounts if one.spent_nano} | {
                one.id: one for one in told.accounts
            }
            keys = {one.id: one for one in everything.keys if everything.spending.keys_month.get(one.id)} | {
                one.id: one for one in told.keys
            }
            told = msgspec.structs.replace(told, accounts=tuple(accounts.values()), keys=tuple(keys.values()))
        yield MemoryReading(everything, told)

    async def read_one(self, account: str) -> Records:
        """Return one account with its keys for inference that are not revoked, and their spending."""
        accounts = tuple(record for record in self._accounts.values() if record.id == account)
        keys = tuple(
            key
            for key in self._keys.values()
            if key.account == account and key.revoked_at is None and key.kind == "inference"
        )
        spending = self._ledger.read_spending(int(time.time()), {account} | {key.id for key in keys})
        return Records(self._revision, accounts, keys, spending, self.projects.keeping)

    async def read_facts(self) -> StoreFacts:
        """Return what `doctor` tells."""
        return StoreFacts(kind="memory", location="this process", schema="-", durable=False, size=0)

    async def keep_secret(self, name: str, fresh: bytes) -> bytes:
        """Return the secret of that name; where there is none yet, `fresh` becomes it."""
        if name not in self._secrets:
            self.audit.append()
            self._secrets[name] = fresh
        return self._secrets[name]

    async def close(self) -> None:
        """Nothing to give up."""

    def _touch(self, project: str) -> None:
        self._put(*(key for key in self._keys.values() if key.settings.project == project))

    def _rise(self) -> int:
        self._revision += 1
        return self._revision

    def _put(self, *records: Account | Key) -> None:
        self._rise()
        for record in records:
            self._changed[record.id] = self._revision
            if isinstance(record, Key):
                self._keys[record.id] = record
            else:
                self._accounts[record.id] = record


class MemoryReading:
    """Implements `Reading`, in one part."""

    def __init__(self, everything: Records, told: Records) -> None:
        self._everything = everything
        self._told = told

    async def read_revision(self) -> int:
        """Return the revision that it is of."""
        return self._everything.revision

    async def measure(self) -> Extent:
        """Return what there is."""
        found = self._everything
        return Extent(found.revision, len(found.accounts), len(found.keys), found.spending.applied, found.spending.day)

    async def parts(self) -> AsyncIterator[Records]:
        """Yield all of it."""
        yield self._told


def _order(account: Account) -> tuple[int, str]:
    return account.created_at, account.id


def _differ(before: msgspec.Struct, after: msgspec.Struct) -> dict[str, Any]:
    """Return what a record has otherwise than another, by field."""
    told = msgspec.structs.asdict(after)
    return {name: value for name, value in told.items() if value != getattr(before, name)}
