"""Prices, top-up codes and alerts in the database; implements `BillingStore`.

A code is used up and its amount granted in one transaction: of any number of redemptions at the same time one wins.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import insert, select, update

from techstone.adapters.storage.database import raise_revision
from techstone.adapters.storage.dialect import insert_or
from techstone.adapters.storage.ledger import give
from techstone.adapters.storage.schema import ACCOUNTS, ALERTS, CODES, KEYS, PRICES
from techstone.adapters.storage.usage import DAY, read_spent
from techstone.control.billing import versions
from techstone.control.billing.records import Alert, Code, Gauge, PriceVersion
from techstone.core.pricing import Price

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.database import Database

# SQLite takes 32,766 values a statement (sqlite.org/limits.html, item 9).
_MOST_VALUES = 10_000


class SqlBilling:
    """Beside the ledger, in the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note_configured(self, configured: Mapping[str, Price], now: int) -> None:
        """Add a version for each model whose newest configured one differs; a model's first is valid from 0."""
        async with self._database.change() as connection:
            await note_prices(connection, configured, now)

    async def add_price(self, model: str, price: Price, now: int, *, reset: bool = False) -> None:
        """Add a version; its number is the store's."""
        async with self._database.change() as connection:
            changed = await raise_revision(connection)
            row = _write_version(PriceVersion(model, price, now, reset))
            await connection.execute(insert(PRICES).values({**row, "changed": changed}))

    async def read_prices(self, since: int = 0) -> tuple[PriceVersion, ...]:
        """Return the versions that came after a revision, oldest first."""
        wanted = select(PRICES).where(PRICES.c.changed > since).order_by(PRICES.c.version)
        async with self._database.look() as connection:
            return tuple(map(_read_version, (await connection.execute(wanted)).all()))

    async def add_codes(self, codes: tuple[Code, ...]) -> None:
        """Store them, all or none."""
        async with self._database.change() as connection:
            await connection.execute(insert(CODES), list(map(msgspec.structs.asdict, codes)))

    async def list_codes(self) -> tuple[Code, ...]:
        """Return all, oldest first."""
        async with self._database.look() as connection:
            rows = await connection.execute(select(CODES).order_by(CODES.c.created_at, CODES.c.id))
            return tuple(map(_read_code, rows.all()))

    async def revoke_code(self, code_id: str, at: int) -> Code | None:
        """Revoke a code that is not redeemed; return it as it is then, None where there is none of that id."""
        async with self._database.change() as connection:
            await connection.execute(
                update(CODES)
                .where(CODES.c.id == code_id, CODES.c.redeemed_at.is_(None), CODES.c.revoked_at.is_(None))
                .values(revoked_at=at)
            )
            row = (await connection.execute(select(CODES).where(CODES.c.id == code_id))).one_or_none()
        return None if row is None else _read_code(row)

    async def redeem_code(self, digest: bytes, account: str, at: int) -> Code | None:
        """Grant a good code's amount to the account and use the code up, both or neither; None where it is not good."""
        good = select(CODES).where(
            CODES.c.digest == digest,
            CODES.c.redeemed_at.is_(None),
            CODES.c.revoked_at.is_(None),
            CODES.c.expires_at.is_(None) | (CODES.c.expires_at > at),
        )
        # One such transaction runs at a time, so what is read stays true in it.
        async with self._database.change() as connection:
            row = (await connection.execute(good)).one_or_none()
            if row is None or not await give(connection, account, row.nano, f"code {row.id}"):
                return None
            await connection.execute(
                update(CODES).where(CODES.c.id == row.id).values(redeemed_at=at, redeemed_by=account)
            )
        return msgspec.structs.replace(_read_code(row), redeemed_at=at, redeemed_by=account)

    async def read_gauges(self, accounts: Collection[str], prepaid: Sequence[str], now: int) -> tuple[Gauge, ...]:
        """Return how far the money of these accounts and their keys is used, where there is a limit to it."""
        names = list(accounts)
        gauges: list[Gauge] = []
        async with self._database.look() as connection:
            for start in range(0, len(names), _MOST_VALUES):
                chosen = names[start : start + _MOST_VALUES]
                gauges += [gauge async for gauge in _gauge_accounts(connection, chosen, prepaid, now)]
                gauges += [gauge async for gauge in _gauge_keys(connection, chosen, now)]
        return tuple(gauges)

    async def add_alert(self, alert: Alert) -> bool:
        """Store it; say whether it is the first of its subject, period and threshold."""
        row = msgspec.structs.asdict(alert)
        row["spent_nano"], row["limit_nano"] = row.pop("spent"), row.pop("limit")
        async with self._database.change(noted=False) as connection:
            done = await connection.execute(insert_or(connection, ALERTS).values(row).on_conflict_do_nothing())
            return done.rowcount == 1

    async def list_alerts(self, account: str | None = None) -> tuple[Alert, ...]:
        """Return those of the account (id), or all; oldest first."""
        wanted = select(ALERTS).order_by(ALERTS.c.number)
        if account is not None:
            wanted = wanted.where(ALERTS.c.account == account)
        async with self._database.look() as connection:
            rows = (await connection.execute(wanted)).all()
        return tuple(
            Alert(row.account, row.subject, row.period, row.percent, row.at, row.spent_nano, row.limit_nano)
            for row in rows
        )


async def _gauge_accounts(
    connection: AsyncConnection, names: list[str], prepaid: Sequence[str], now: int
) -> AsyncIterator[Gauge]:
    wanted = select(ACCOUNTS).where(
        ACCOUNTS.c.id.in_(names), ACCOUNTS.c.monthly_cap.is_not(None) | ACCOUNTS.c.plan.in_(prepaid)
    )
    rows = (await connection.execute(wanted)).all()
    month, began = name_month(now)
    capped = [row.id for row in rows if row.monthly_cap is not None]
    spent = await read_spent(connection, "account", began, capped)
    for row in rows:
        if row.monthly_cap is not None:
            yield Gauge(row.id, row.email, row.id, month, spent.get(row.id, 0), row.monthly_cap)
        if row.plan in prepaid:
            granted = row.topped_granted_nano or row.granted_nano
            used, had = row.spent_nano - row.topped_spent_nano, granted - row.topped_spent_nano
            yield Gauge(row.id, row.email, row.id, f"credit:{granted}", used, had)


async def _gauge_keys(connection: AsyncConnection, names: list[str], now: int) -> AsyncIterator[Gauge]:
    wanted = (
        select(KEYS.c.id, KEYS.c.account, KEYS.c.daily_cap, KEYS.c.monthly_cap, ACCOUNTS.c.email)
        .join(ACCOUNTS, ACCOUNTS.c.id == KEYS.c.account)
        .where(KEYS.c.account.in_(names), KEYS.c.daily_cap.is_not(None) | KEYS.c.monthly_cap.is_not(None))
    )
    rows = (await connection.execute(wanted)).all()
    if not rows:
        return
    keys = [row.id for row in rows]
    (month, month_began), (day, day_began) = name_month(now), name_day(now)
    in_month = await read_spent(connection, "key", month_began, keys)
    in_day = await read_spent(connection, "key", day_began, keys)
    for row in rows:
        for period, spent, cap in ((day, in_day, row.daily_cap), (month, in_month, row.monthly_cap)):
            if cap is not None:
                yield Gauge(row.account, row.email, row.id, period, spent.get(row.id, 0), cap)


async def note_prices(
    connection: AsyncConnection, configured: Mapping[str, Price], now: int, changed: int | None = None
) -> None:
    """Note what is configured, in a transaction; its revision is raised here where it was not yet (`changed`)."""
    found = list(map(_read_version, (await connection.execute(select(PRICES))).all()))
    fresh = versions.follow(found, configured, now)
    if fresh:
        if changed is None:
            changed = await raise_revision(connection)
        rows = [{**_write_version(version), "changed": changed} for version in fresh]
        await connection.execute(insert(PRICES), rows)


def name_month(now: int) -> tuple[str, int]:
    """Return the period of the UTC month that a unix time lies in, and its first second."""
    moment = time.gmtime(now)
    return time.strftime("month:%Y-%m", moment), (now // DAY - moment.tm_mday + 1) * DAY


def name_day(now: int) -> tuple[str, int]:
    """Return the period of the UTC day that a unix time lies in, and its first second."""
    return time.strftime("day:%Y-%m-%d", time.gmtime(now)), now // DAY * DAY


def _write_version(version: PriceVersion) -> dict[str, object]:
    row = msgspec.structs.asdict(version.price)
    row.pop("version")
    return {**row, "model": version.model, "created_at": version.created_at, "reset": version.reset}


def _read_version(row: Row[tuple[object, ...]]) -> PriceVersion:
    price = Price(
        version=row.version,
        valid_from=row.valid_from,
        input=row.input,
        output=row.output,
        cached_input=row.cached_input,
        reasoning=row.reasoning,
        source=row.source,
    )
    return PriceVersion(row.model, price, row.created_at, bool(row.reset))


def _read_code(row: Row[tuple[object, ...]]) -> Code:
    return Code(**row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to columns by name
