"""Payments in memory; implements `PaymentStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.adapters.storage.payments import TOO_MUCH
from techstone.control.payments.records import CENT, Payment, PaymentRecord, Reversal, find_difference

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.adapters.storage.memory_invoices import MemoryInvoices
    from techstone.adapters.storage.memory_ledger import MemoryLedger
    from techstone.control.invoicing.records import Draft
    from techstone.control.payments.records import Abandoned, Collected


class MemoryPayments:
    """Dicts by id, beside the records of a store; `note` notes the act."""

    def __init__(self, ledger: MemoryLedger, invoices: MemoryInvoices, note: Callable[[], None]) -> None:
        self._ledger = ledger
        self._invoices = invoices
        self._note = note
        self._payments: dict[str, Payment] = {}
        self._reversals: dict[str, Reversal] = {}

    async def add_payment(self, payment: Payment) -> Payment:
        """Store it; return what is stored under its id, this one or an earlier one."""
        if payment.id not in self._payments:
            self._note()
            self._payments[payment.id] = payment
        return self._payments[payment.id]

    async def find_payment(self, payment_id: str) -> Payment | None:
        """Return it."""
        return self._payments.get(payment_id)

    async def count_payments(self, account: str, since: int) -> int:
        """Return how many the account began since a unix time."""
        return sum(one.account == account and one.created_at >= since for one in self._payments.values())

    async def set_session(self, payment_id: str, session: str) -> None:
        """Note the processor's name for it, the first time."""
        known = self._payments[payment_id]
        if known.session is None:
            self._note()
            self._payments[payment_id] = msgspec.structs.replace(known, session=session)

    async def credit_payment(self, collected: Collected, receipt: Draft, at: int) -> Payment:
        """Grant what was paid, note it as paid and issue the receipt: all of it, and once."""
        payment = self._payments[collected.payment]
        if payment.state == "paid":
            return payment
        note = find_difference(payment, collected)
        if not note and not await self._ledger.grant(payment.account, payment.cents * CENT, f"payment {payment.id}"):
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
            return payment
        if note:
            self._note()
        else:
            self._invoices.put(receipt)
        self._payments[payment.id] = done
        return done

    async def end_payment(self, abandoned: Abandoned) -> None:
        """Note that it will not be paid, if it was not."""
        known = self._payments.get(abandoned.payment)
        if known is not None and known.state == "open":
            self._note()
            self._payments[known.id] = msgspec.structs.replace(known, state="ended", note=abandoned.note)

    async def note_reversal(self, reversal: Reversal) -> bool:
        """Note what went back, the newest word of each; say whether this is news."""
        known = self._reversals.get(reversal.id)
        if known is not None and reversal.cents <= known.cents and reversal.at <= known.at:
            return False
        self._note()
        if known is not None:
            most, newest = max(reversal.cents, known.cents), max(reversal.at, known.at)
            reversal = msgspec.structs.replace(reversal, cents=most, at=newest)
        self._reversals[reversal.id] = reversal
        return True

    async def list_payments(self, account: str | None, limit: int) -> tuple[PaymentRecord, ...]:
        """Return the newest of an account, or of all; newest first."""
        found = [one for one in self._payments.values() if account in (None, one.account)]
        found.sort(key=lambda one: (-one.created_at, one.id))
        return tuple(
            PaymentRecord(
                one,
                self._invoices.find_receipt(one.account, one.id),
                tuple(back for back in self._reversals.values() if back.intent == one.intent),
            )
            for one in found[:limit]
        )
