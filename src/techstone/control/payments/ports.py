"""What this room needs of the world: who collects money, and a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from techstone.control.invoicing.records import Draft
    from techstone.control.payments.records import (
        Abandoned,
        Checkout,
        Collected,
        Event,
        Order,
        Payment,
        PaymentRecord,
        Reversal,
    )


class Payments(Protocol):
    """Collects money on pages of its own, and tells by events what became of it."""

    @property
    def origin(self) -> str:
        """Where its pages are: scheme, host and port."""

    async def begin(self, order: Order) -> Checkout:
        """Return the page for an order, the same one for the same order; raise ServiceUnavailable."""

    def read_event(self, body: bytes, signature: str) -> Event | None:
        """Return what an event tells, None where that is nothing to us; raise InvalidRequest if it is not signed."""


class PaymentStore(Protocol):
    """Payments. Whatever comes twice, or in another order, changes nothing the second time."""

    async def add_payment(self, payment: Payment) -> Payment:
        """Store it; return what is stored under its id, this one or an earlier one."""

    async def find_payment(self, payment_id: str) -> Payment | None:
        """Return it."""

    async def count_payments(self, account: str, since: int) -> int:
        """Return how many the account began since a unix time."""

    async def set_session(self, payment_id: str, session: str) -> None:
        """Note the processor's name for it, the first time."""

    async def credit_payment(self, collected: Collected, receipt: Draft, at: int) -> Payment:
        """Grant what was paid, note it as paid and issue the receipt: all of it, and once.

        What differs from what was asked for, or is more than an account holds, is held and not granted.
        """

    async def end_payment(self, abandoned: Abandoned) -> None:
        """Note that it will not be paid, if it was not."""

    async def note_reversal(self, reversal: Reversal) -> bool:
        """Note what went back, the newest word of each; say whether this is news."""

    async def list_payments(self, account: str | None, limit: int) -> tuple[PaymentRecord, ...]:
        """Return the newest of an account, or of all; newest first."""
