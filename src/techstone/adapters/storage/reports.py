"""Refusals in the database; implements `ReportStore`. Nobody's acts, and no gateway's business: no revision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import delete, select

from techstone.adapters.storage.dialect import insert_or
from techstone.adapters.storage.schema import REFUSALS
from techstone.control.reports.records import KEPT, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from techstone.adapters.storage.database import Database

_FIELDS = [REFUSALS.c[name] for name in Refusal.__struct_fields__]


class SqlReports:
    """Beside the ledger, in the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_refusals(self, refusals: Sequence[Refusal]) -> None:
        """Keep them, each once by its request's id; of every account the newest KEPT stay."""
        rows = list(map(msgspec.structs.asdict, refusals))
        async with self._database.change(noted=False) as connection:
            await connection.execute(insert_or(connection, REFUSALS).on_conflict_do_nothing(), rows)
            for account in {refusal.account for refusal in refusals}:
                own = select(REFUSALS.c.number).where(REFUSALS.c.account == account)
                last = own.order_by(REFUSALS.c.number.desc()).limit(1).offset(KEPT).scalar_subquery()
                await connection.execute(
                    delete(REFUSALS).where(REFUSALS.c.account == account, REFUSALS.c.number <= last)
                )

    async def list_refusals(self, account: str, since: int) -> tuple[Refusal, ...]:
        """Return the account's since a unix time in milliseconds, newest first."""
        wanted = select(*_FIELDS).where(REFUSALS.c.account == account, REFUSALS.c.at >= since)
        async with self._database.look() as connection:
            rows = (await connection.execute(wanted.order_by(REFUSALS.c.at.desc(), REFUSALS.c.number.desc()))).all()
        return tuple(map(_read, rows))

    async def find_refusal(self, account: str, request_id: str) -> Refusal | None:
        """Return the account's of that request."""
        wanted = select(*_FIELDS).where(REFUSALS.c.request_id == request_id, REFUSALS.c.account == account)
        async with self._database.look() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else _read(row)

    async def forget_refusals(self, before: int) -> None:
        """Delete those from before a unix time in milliseconds."""
        async with self._database.change(noted=False) as connection:
            await connection.execute(delete(REFUSALS).where(REFUSALS.c.at < before))


def _read(row: Row[Any]) -> Refusal:
    return Refusal(**dict(row._mapping))  # noqa: SLF001 - its public name
