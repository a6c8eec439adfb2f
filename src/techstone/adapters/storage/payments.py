"""Payments in the database; implements `PaymentStore`.

What was paid is granted, noted and receipted in one transaction, and of such transactions one runs at a
time: of any number of the same event at the same time one does it, and the others see that it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import case, func, select, update

from techstone.adapters.storage.dialect import insert_or
from techstone.adapters.storage.invoices import put_invoice
from techstone.adapters.storage.ledger import give
from techstone.adapters.storage.schema import INVOICES, PAYMENTS, REVERSALS
from techstone.control.payments.records import (
    CENT,
    Payment,
    PaymentRecord,
    Reversal,
    find_difference,
)

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.adapters.storage.database import Database
    from techstone.control.invoicing.records import Draft
    from techstone.control.payments.records import Abandoned, Collected

TOO_MUCH = "the account cannot hold so much"


class SqlPayments:
    """Beside the ledger, in the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_payment(self, payment: Payment) -> Payment:
        """Store it; return what is stored under its id, this one or an earlier one."""
        async with self._database.change() as connection:
            row = msgspec.structs.asdict(payment)
            await connection.execute(
                insert_or(connection, PAYMENTS).values(row).on_conflict_do_nothing(index_elements=["id"])
            )
            found = await _find(connection, payment.id)
        return found or payment

    async def find_payment(self, payment_id: str) -> Payment | None:
        """Return it."""
        async with self._database.look() as connection:
            return await _find(connection, payment_id)

    async def count_payments(self, account: str, since: int) -> int:
        """Return how many the account began since a unix time."""
        wanted = (
            select(func.count())
            .select_from(PAYMENTS)
            .where(PAYMENTS.c.account == account, PAYMENTS.c.created_at >= since)
        )
        async with self._database.look() as connection:
            return int(await connection.scalar(wanted) or 0)

    async def set_session(self, payment_id: str, session: str) -> None:
        """Note the processor's name for it, the first time."""
        unnamed = (PAYMENTS.c.id == payment_id, PAYMENTS.c.session.is_(None))
        async with self._database.change() as connection:
            await connection.execute(update(PAYMENTS).where(*unnamed).values(session=session))

    async def credit_payment(self, collected: Collected, receipt: Draft, at: int) -> Payment:
        """Grant what was paid, note it as paid and issue the receipt: all of it, and once."""
        async with self._database.change() as connection:
            payment = await _find(connection, collected.payment)
            if payment is None:
                raise LookupError(collected.payment)
            if payment.state == "paid":
                return payment
            note = find_difference(payment, collected)
            if not note and not await give(connection, payment.account, payment.cents * CENT, f"payment {payment.id}"):
                note = TOO_MUCH
            done = msgspec.structs.replace(
                payment,
                state="held" if note else "paid",
                session=payment.session or collected.session,
                intent=collected.intent,
                paid_at=at,
                note=note,
            )
            if done == msgspec.structs.replace(payment, paid_at=at):
                return payment  # held before, for the same reason
            row = msgspec.structs.asdict(done)
            await connection.execute(update(PAYMENTS).where(PAYMENTS.c.id == payment.id).values(row))
            if not note:
                await put_invoice(connection, receipt)
        return done

    async def end_payment(self, abandoned: Abandoned) -> None:
        """Note that it will not be paid, if it was not."""
        open_ = (PAYMENTS.c.id == abandoned.payment, PAYMENTS.c.state == "open")
        async with self._database.change() as connection:
            await connection.execute(update(PAYMENTS).where(*open_).values(state="ended", note=abandoned.note))

    async def note_reversal(self, reversal: Reversal) -> bool:
        """Note what went back, the newest word of each; say whether this is news."""
        row = msgspec.structs.asdict(reversal)
        async with self._database.change() as connection:
            put = insert_or(connection, REVERSALS).values(row)
            more, later = put.excluded.cents > REVERSALS.c.cents, put.excluded.at > REVERSALS.c.at
            done = await connection.execute(
                put.on_conflict_do_update(
                    index_elements=["id"],
                    set_={
                        "cents": case((more, put.excluded.cents), else_=REVERSALS.c.cents),
                        "state": put.excluded.state,
                        "at": case((later, put.excluded.at), else_=REVERSALS.c.at),
                    },
                    # A charge's refunds only grow, and come in any order; of a dispute the newest event counts.
                    where=more | later,
                )
            )
            return done.rowcount == 1

    async def list_payments(self, account: str | None, limit: int) -> tuple[PaymentRecord, ...]:
        """Return the newest of an account, or of all; newest first."""
        receipt = (INVOICES.c.kind == "receipt") & (INVOICES.c.subject == PAYMENTS.c.id)
        wanted = (
            select(PAYMENTS, INVOICES.c.number)
            .join(INVOICES, receipt & (INVOICES.c.account == PAYMENTS.c.account), isouter=True)
            .order_by(PAYMENTS.c.created_at.desc(), PAYMENTS.c.id)
            .limit(limit)
        )
        if account is not None:
            wanted = wanted.where(PAYMENTS.c.account == account)
        async with self._database.look() as connection:
            rows = (await connection.execute(wanted)).all()
            intents = [row.intent for row in rows if row.intent is not None]
            backs = (await connection.execute(select(REVERSALS).where(REVERSALS.c.intent.in_(intents)))).all()
        found = [Reversal(**row._mapping) for row in backs]  # noqa: SLF001 - SQLAlchemy's documented way to columns by name
        return tuple(
            PaymentRecord(_read(row), row.number, tuple(one for one in found if one.intent == row.intent))
            for row in rows
        )


async def _find(connection: AsyncConnection, payment_id: str) -> Payment | None:
    row = (await connection.execute(select(PAYMENTS).where(PAYMENTS.c.id == payment_id))).one_or_none()
    return None if row is None else _read(row)


def _read(row: Row[Any]) -> Payment:
    return Payment(**{name: row._mapping[name] for name in Payment.__struct_fields__})  # noqa: SLF001 - the same
