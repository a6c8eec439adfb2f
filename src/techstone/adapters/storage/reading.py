"""Everything that gateways are told, read in parts within one transaction, so that no moment needs all of it at once.

Parts go by id, each after the last one of the part before: no cursor stays open between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import ColumnElement, Row, Table, func, or_, select

from techstone.adapters.storage.database import number_of
from techstone.adapters.storage.schema import ACCOUNTS, KEYS, PROJECTS, TOTALS_DAILY
from techstone.control.accounts.records import Account
from techstone.control.keys.records import Key
from techstone.control.ports import Extent, Records
from techstone.core.credit import month_start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.ledger import SqlLedger

# Rows a part: the control plane's event loop makes a frame of one in about 20 ms.
_PART = 2000
_GOOD = (KEYS.c.revoked_at.is_(None), KEYS.c.kind == "inference")


class Rows(msgspec.Struct, frozen=True):
    """How rows become records."""

    account: Callable[[Row[Any]], Account]
    key: Callable[[Row[Any]], Key]


class SqlReading:
    """Implements `Reading` within a transaction."""

    def __init__(
        self, connection: AsyncConnection, ledger: SqlLedger, rows: Rows, since: int | None, *, spending: bool
    ) -> None:
        self._connection = connection
        self._ledger = ledger
        self._rows = rows
        self._now = int(time.time())
        self._keeping: frozenset[str] = frozenset()
        self._accounts: tuple[ColumnElement[bool], ...] = ()
        self._keys: tuple[ColumnElement[bool], ...] = _GOOD
        if since is not None:
            accounts, keys = ACCOUNTS.c.changed > since, KEYS.c.changed > since
            if spending:
                month = month_start(self._now)
                spent = select(TOTALS_DAILY.c.name).where(
                    TOTALS_DAILY.c.grouping == "key", TOTALS_DAILY.c.start >= month
                )
                accounts = or_(accounts, ACCOUNTS.c.spent_nano != 0)
                keys = or_(keys, KEYS.c.id.in_(spent))
            self._accounts = (accounts,)
            self._keys = (keys, KEYS.c.kind == "inference")

    async def read_revision(self) -> int:
        """Return the revision that it is of."""
        return await number_of(self._connection)

    async def measure(self) -> Extent:
        """Return what there is."""
        connection = self._connection
        found = await connection.scalars(select(PROJECTS.c.id).where(PROJECTS.c.kept_days.is_not(None)))
        self._keeping = frozenset(found)
        spending = await self._ledger.read_spending(connection, self._now, (), ())
        return Extent(
            await number_of(connection),
            int(await connection.scalar(select(func.count()).select_from(ACCOUNTS)) or 0),
            int(await connection.scalar(select(func.count()).select_from(KEYS).where(*_GOOD)) or 0),
            spending.applied,
            spending.day,
        )

    async def parts(self) -> AsyncIterator[Records]:
        """Yield the accounts, then the keys."""
        async for rows in self._page(ACCOUNTS, self._accounts):
            accounts = tuple(map(self._rows.account, rows))
            names = [account.id for account in accounts]
            spending = await self._ledger.read_spending(self._connection, self._now, names, ())
            yield Records(0, accounts, (), spending, self._keeping)
        async for rows in self._page(KEYS, self._keys):
            keys = tuple(map(self._rows.key, rows))
            names = [key.id for key in keys]
            spending = await self._ledger.read_spending(self._connection, self._now, (), names)
            yield Records(0, (), keys, spending, self._keeping)

    async def _page(self, table: Table, wanted: tuple[ColumnElement[bool], ...]) -> AsyncIterator[list[Row[Any]]]:
        last = ""
        while True:
            page = select(table).where(table.c.id > last, *wanted).order_by(table.c.id).limit(_PART)
            rows = list((await self._connection.execute(page)).all())
            if rows:
                yield rows
            if len(rows) < _PART:
                return
            last = rows[-1].id
