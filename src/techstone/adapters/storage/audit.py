"""The audit log in the database: appended to within the transaction of the change; implements `AuditStore`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import insert, select

from techstone.adapters.storage.schema import AUDIT
from techstone.control.audit import chain
from techstone.control.audit.records import Entry

if TYPE_CHECKING:
    from sqlalchemy import Row, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.database import Database
    from techstone.control.acts import Act, Actor
    from techstone.control.audit.records import AuditFilter

_DETAIL = msgspec.json.Decoder(dict[str, str])


async def append(connection: AsyncConnection, actor: Actor, act: Act) -> None:
    """Append an act, in the transaction of what it changed."""
    newest = select(AUDIT.c.number, AUDIT.c.digest).order_by(AUDIT.c.number.desc()).limit(1)
    row = (await connection.execute(newest)).one_or_none()
    number, before = (row.number, row.digest) if row else (0, chain.ROOT)
    entry = msgspec.structs.asdict(chain.append(before, number + 1, int(time.time()), actor, act))
    entry["detail"] = msgspec.json.encode(entry["detail"]).decode()
    await connection.execute(insert(AUDIT).values(entry))


class SqlAudit:
    """Beside the ledger, in the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self) -> None:
        """Append the current act by itself."""
        await self._database.note()

    async def list_entries(self, filters: AuditFilter, before: int | None, limit: int) -> tuple[Entry, ...]:
        """Return the newest that are wanted, newest first: those before a number, at most so many."""
        wanted = select(AUDIT).order_by(AUDIT.c.number.desc()).limit(limit)
        if before is not None:
            wanted = wanted.where(AUDIT.c.number < before)
        if filters.account is not None:
            wanted = wanted.where(AUDIT.c.account == filters.account)
        if filters.actor is not None:
            wanted = wanted.where(AUDIT.c.actor == filters.actor)
        if filters.action is not None:
            of_noun = AUDIT.c.action.startswith(f"{filters.action}.", autoescape=True)
            wanted = wanted.where((AUDIT.c.action == filters.action) | of_noun)
        return await self._read(wanted)

    async def read_entries(self, after: int, limit: int) -> tuple[Entry, ...]:
        """Return those after a number, oldest first, at most so many."""
        return await self._read(select(AUDIT).where(AUDIT.c.number > after).order_by(AUDIT.c.number).limit(limit))

    async def _read(self, wanted: Select[Any]) -> tuple[Entry, ...]:
        async with self._database.look() as connection:
            return tuple(map(_read_entry, (await connection.execute(wanted)).all()))


def _read_entry(row: Row[Any]) -> Entry:
    return Entry(**dict(row._mapping) | {"detail": _DETAIL.decode(row.detail)})  # noqa: SLF001 - its public name
