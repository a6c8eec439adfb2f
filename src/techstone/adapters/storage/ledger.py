"""The ledger in the database: a batch of records is one transaction, with everything that follows from them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from techstone.adapters.storage import invariants, requests, usage
from techstone.adapters.storage.database import raise_revision
from techstone.adapters.storage.schema import ACCOUNTS, JOURNALS, REQUESTS, TRANSFERS
from techstone.adapters.storage.usage import DAY
from techstone.control.ledger.records import (
    Bucket,
    Following,
    HourSums,
    Line,
    Rating,
    RequestFilter,
    RequestPage,
    Run,
    Spending,
    Step,
    Sums,
    Timing,
    Violation,
)
from techstone.core import money
from techstone.core.credit import month_start, period_of
from techstone.core.ledger import BOOKS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.database import Database
    from techstone.control.ledger.records import StoredGrouping
    from techstone.core.usage import UsageRecord


class SqlLedger:
    """Implements `LedgerStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, journal: str, first: int, records: Sequence[UsageRecord], base: int | None = None) -> int:
        """Book what is new of a journal's records from number `first` on; return the number of the last one booked."""
        now = int(time.time())
        return await self._database.apply(journal, Run(first, records, first if base is None else base), now)

    async def find_journal(self, journal: str) -> Following:
        """Return how far a journal is booked, and when it was heard last; 0 and never of one that is not known."""
        async with self._database.look() as connection:
            row = (await connection.execute(select(JOURNALS).where(JOURNALS.c.id == journal))).first()
        return Following(0) if row is None else Following(row.applied, row.heard_at)

    async def grant(self, account: str, nano: int, note: str) -> bool:
        """Add credit; say whether the account can hold so much."""
        async with self._database.change() as connection:
            return await give(connection, account, nano, note)

    async def list_requests(
        self, account: str | None, since: int, after: str = "", limit: int | None = None
    ) -> tuple[tuple[UsageRecord, str], ...]:
        """Return requests since a unix time in milliseconds, oldest first, each with its account's email."""
        wanted = (
            select(REQUESTS, ACCOUNTS.c.email)
            .join(ACCOUNTS, ACCOUNTS.c.id == REQUESTS.c.account, isouter=True)
            .where(REQUESTS.c.at >= since, *_follow(after))
            .order_by(REQUESTS.c.at, REQUESTS.c.id)
            .limit(limit)
        )
        if account is not None:
            wanted = wanted.where(REQUESTS.c.account == account)
        async with self._database.look() as connection:
            rows = (await connection.execute(wanted)).all()
        return tuple((requests.read_row(row), row.email or row.account) for row in rows)

    async def find_requests(
        self, account: str, filters: RequestFilter, before: str, limit: int
    ) -> RequestPage[UsageRecord] | None:
        """Return a page of the account's requests before one of them, newest first; None where it is not one."""
        async with self._database.look() as connection:
            return await requests.find(connection, account, filters, before, limit)

    async def find_request(self, account: str, request_id: str) -> UsageRecord | None:
        """Return the account's request of that id."""
        async with self._database.look() as connection:
            return await requests.find_one(connection, account, request_id)

    async def list_failures(self, account: str, since: int, limit: int) -> tuple[UsageRecord, ...]:
        """Return the account's newest failed requests since a unix time in milliseconds, newest first."""
        page = await self.find_requests(account, RequestFilter(since=since, status="failed"), "", limit)
        return page.rows if page is not None else ()

    async def sum_usage(
        self, account: str | None, since: int, by: StoredGrouping, keys: Collection[str] | None = None
    ) -> tuple[Sums, ...]:
        """Return sums of whole hours (of whole days by day) since a unix time in seconds; of all, or of these keys."""
        async with self._database.look() as connection:
            return await usage.add_up(connection, account, since, by, keys)

    async def sum_by_hour(self, account: str, since: int, keys: Collection[str] | None = None) -> tuple[HourSums, ...]:
        """Return what the account's keys, or these of them, used by the hour since a unix time in seconds."""
        async with self._database.look() as connection:
            return await usage.sum_by_hour(connection, account, since, keys)

    async def sum_over_time(self, account: str, since: int, line: Line, step: Step) -> tuple[Bucket, ...]:
        """Return what the account's keys or models used by the hour or day since a unix time in seconds."""
        async with self._database.look() as connection:
            return await usage.sum_over_time(connection, account, since, line, step)

    async def list_timings(self, since: int, limit: int) -> tuple[Timing, ...]:
        """Return how the newest requests went that were admitted since a unix time in milliseconds, newest first."""
        async with self._database.look() as connection:
            return await requests.list_timings(connection, since, limit)

    async def last_used(self, account: str) -> dict[str, int]:
        """Return when the account's keys were used last (unix ms), by id."""
        async with self._database.look() as connection:
            return await usage.read_last_used(connection, account)

    async def read_spending(
        self,
        connection: AsyncConnection,
        now: int,
        accounts: Collection[str] | None = None,
        keys: Collection[str] | None = None,
    ) -> Spending:
        """Return what the snapshot tells of spending, within its transaction: of all, or of these accounts and keys.

        All of 10,000 accounts and 100,000 keys is 3 s of reading; one key is 1 ms.
        """
        period, month = period_of(now), month_start(now)
        applied = (await connection.execute(select(JOURNALS.c.id, JOURNALS.c.applied))).all()
        return Spending(
            day=period.day,
            accounts_month=await usage.read_spent(connection, "account", month, accounts),
            keys_month=await usage.read_spent(connection, "key", month, keys),
            keys_day=await usage.read_spent(connection, "key", period.day * DAY, keys),
            applied={row.id: row.applied for row in applied},
        )

    async def check(self, prepaid: Sequence[str], *, quick: bool = False) -> tuple[Violation, ...]:
        """Return every invariant that does not hold; `prepaid` are the names of prepaid plans."""
        return await invariants.check(self._database, prepaid, quick=quick)

    async def read_settled(self, since: int, until: int, after: str, limit: int) -> tuple[UsageRecord, ...]:
        """Return settled requests admitted within [since, until) (unix ms), oldest first, at most so many."""
        span = (REQUESTS.c.at >= since, REQUESTS.c.at < until)
        wanted = (
            select(REQUESTS)
            .where(REQUESTS.c.state == "settled", *span, *_follow(after))
            .order_by(REQUESTS.c.at, REQUESTS.c.id)
            .limit(limit)
        )
        async with self._database.look() as connection:
            return tuple(requests.read_row(row) for row in (await connection.execute(wanted)).all())

    async def rerate(self, ratings: Sequence[Rating]) -> None:
        """Give settled requests other costs, with all that follows; one that has its cost already is left alone."""
        now = int(time.time() * 1000)
        await self._database.rerate(ratings, now)


def _follow(after: str) -> tuple[ColumnElement[bool], ...]:
    """Return the condition of what comes after a request (its id; "": after none) by time of admission and id."""
    if not after:
        return ()
    at = select(REQUESTS.c.at).where(REQUESTS.c.id == after).scalar_subquery()
    return (REQUESTS.c.at >= at, (REQUESTS.c.at > at) | (REQUESTS.c.id > after))


async def give(connection: AsyncConnection, account: str, nano: int, note: str) -> bool:
    """Add credit within a transaction; say whether the account can hold so much."""
    granted = int(await connection.scalar(select(ACCOUNTS.c.granted_nano).where(ACCOUNTS.c.id == account)) or 0)
    if granted + nano > money.LARGEST:
        return False
    changed = await raise_revision(connection)
    topped = {"topped_granted_nano": granted + nano, "topped_spent_nano": ACCOUNTS.c.spent_nano}
    await connection.execute(
        update(ACCOUNTS).where(ACCOUNTS.c.id == account).values(granted_nano=granted + nano, changed=changed, **topped)
    )
    await note_grant(connection, account, nano, note)
    return True


async def note_grant(connection: AsyncConnection, account: str, nano: int, note: str) -> None:
    """Write the transfer of a grant."""
    debit, credit = BOOKS["grant"]
    row = {"at": int(time.time() * 1000), "kind": "grant", "debit": debit, "credit": credit}
    await connection.execute(insert(TRANSFERS).values({**row, "account": account, "nano": nano, "note": note}))
