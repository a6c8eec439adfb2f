"""Documents and what they are made of in the database; implements `InvoiceStore`.

A number is the one after the last of its year, taken in the transaction that writes the document: no gap, whatever is
killed when. Triggers of the table refuse every change and every deletion (migration 0011).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, insert, literal, select

from techstone.adapters.storage import movements
from techstone.adapters.storage.dialect import insert_or
from techstone.adapters.storage.schema import BUYERS, INVOICES, MONTHS
from techstone.control.invoicing import documents
from techstone.control.invoicing.records import Draft, Invoice, Movements, Party

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.database import Database
    from techstone.control.invoicing.records import MonthUsage

_DRAFT = msgspec.json.Decoder(Draft)


class SqlInvoices:
    """Beside the ledger, in the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def issue(self, draft: Draft) -> Invoice:
        """Give it the next number of its year; return the one of its kind, account and subject where there is one."""
        async with self._database.change() as connection:
            return await put_invoice(connection, draft)

    async def find_invoice(self, number: str, account: str | None = None) -> Invoice | None:
        """Return it; of that account, or of any."""
        wanted = select(INVOICES.c.document).where(INVOICES.c.number == number)
        if account is not None:
            wanted = wanted.where(INVOICES.c.account == account)
        async with self._database.look() as connection:
            document = await connection.scalar(wanted)
        return None if document is None else _read(number, document)

    async def list_invoices(self, account: str | None, limit: int) -> tuple[Invoice, ...]:
        """Return the newest of an account, or of all; newest first."""
        wanted = (
            select(INVOICES.c.number, INVOICES.c.document)
            .order_by(INVOICES.c.year.desc(), INVOICES.c.sequence.desc())
            .limit(limit)
        )
        if account is not None:
            wanted = wanted.where(INVOICES.c.account == account)
        async with self._database.look() as connection:
            return tuple(_read(row.number, row.document) for row in (await connection.execute(wanted)).all())

    async def find_buyer(self, account: str) -> Party:
        """Return whom the account's documents are for."""
        async with self._database.look() as connection:
            wanted = select(BUYERS.c.name, BUYERS.c.address, BUYERS.c.tax_id).where(BUYERS.c.account == account)
            row = (await connection.execute(wanted)).one_or_none()
        return Party() if row is None else Party(*row)

    async def set_buyer(self, account: str, buyer: Party) -> None:
        """Change whom the account's next documents are for."""
        values = msgspec.structs.asdict(buyer)
        async with self._database.change() as connection:
            put = insert_or(connection, BUYERS).values({"account": account, **values})
            await connection.execute(put.on_conflict_do_update(index_elements=["account"], set_=values))

    async def read_closed(self) -> str | None:
        """Return the last month that is closed; None where none ever was."""
        async with self._database.look() as connection:
            found = await connection.scalar(select(func.max(MONTHS.c.month)))
        return None if found is None else str(found)

    async def close_month(self, month: str) -> None:
        """Note that every invoice of the month is issued."""
        async with self._database.change() as connection:
            await connection.execute(insert_or(connection, MONTHS).values(month=month).on_conflict_do_nothing())

    async def read_month(self, account: str, month: str) -> MonthUsage:
        """Return what the invoice of a month is made of."""
        async with self._database.look() as connection:
            return await movements.read_month(connection, account, month)

    async def read_movements(self, account: str, start: int, end: int) -> Movements:
        """Return what moved on the account within [start, end), whole days in unix seconds."""
        async with self._database.look() as connection:
            return await movements.read(connection, account, start, end)


async def put_invoice(connection: AsyncConnection, draft: Draft) -> Invoice:
    """Write a document under the next number, within a transaction; return the one that is there already, if any."""
    same = (INVOICES.c.kind == draft.kind, INVOICES.c.account == draft.account, INVOICES.c.subject == draft.subject)
    row = (await connection.execute(select(INVOICES.c.number, INVOICES.c.document).where(*same))).one_or_none()
    if row is not None:
        return _read(row.number, row.document)
    year = documents.year_of(draft.issued_at)
    newest = select(func.coalesce(func.max(INVOICES.c.sequence), literal(0))).where(INVOICES.c.year == year)
    sequence = int(await connection.scalar(newest) or 0) + 1
    number = documents.number(year, sequence)
    values = {
        "number": number,
        "year": year,
        "sequence": sequence,
        "kind": draft.kind,
        "account": draft.account,
        "subject": draft.subject,
        "nano": draft.nano,
        "document": msgspec.json.encode(draft).decode(),
    }
    await connection.execute(insert(INVOICES).values(values))
    return _number(number, draft)


def _read(number: str, document: str) -> Invoice:
    return _number(number, _DRAFT.decode(document))


def _number(number: str, draft: Draft) -> Invoice:
    return Invoice(number=number, **{name: getattr(draft, name) for name in Draft.__struct_fields__})
