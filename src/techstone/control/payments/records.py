"""Top-ups by card as they are stored, as the processor tells of them, and as they are shown.

The processor counts in cents, the ledger in nano-dollars; a cent is exactly ten million of these.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from techstone.core import money

CURRENCY = "usd"
CENT = money.NANO // 100

PaymentState = Literal["open", "paid", "ended", "held"]
"""Open: begun, not paid yet. Paid: credited. Ended: nobody will pay it. Held: paid, but not as asked, not credited."""

ReversalKind = Literal["refund", "dispute"]


class Offer(msgspec.Struct, frozen=True):
    """What can be paid by card: amounts to choose from, and the bounds of any other one, in cents."""

    amounts: tuple[int, ...] = ()
    minimum: int = 500
    maximum: int = 100_000


class Payment(msgspec.Struct, frozen=True):
    """A top-up; times are unix seconds. `session` and `intent` are the processor's names for it, once they are known.

    `note` says why it ended or is held.
    """

    id: str
    account: str
    cents: int
    created_at: int
    state: PaymentState = "open"
    session: str | None = None
    intent: str | None = None
    paid_at: int | None = None
    note: str = ""


class Reversal(msgspec.Struct, frozen=True):
    """Money that went back, or may: a refund (all of a charge's together) or a dispute, as of the event's time."""

    id: str
    kind: ReversalKind
    intent: str
    cents: int
    state: str
    at: int


class PaymentRecord(msgspec.Struct, frozen=True):
    """A payment with what follows from it: its receipt's number, and what went back."""

    payment: Payment
    receipt: str | None = None
    reversals: tuple[Reversal, ...] = ()


class Order(msgspec.Struct, frozen=True):
    """What the processor is asked to collect; `email` is who pays."""

    payment: str
    account: str
    cents: int
    email: str


class Checkout(msgspec.Struct, frozen=True):
    """The processor's page for an order, and its name for it."""

    session: str
    url: str


class Collected(msgspec.Struct, frozen=True):
    """An event: a checkout was paid. All of it is the event's, nothing is ours."""

    payment: str
    account: str
    session: str
    intent: str | None
    cents: int
    currency: str


class Abandoned(msgspec.Struct, frozen=True):
    """An event: a checkout will not be paid."""

    payment: str
    note: str


Event = Collected | Abandoned | Reversal


class PaymentShown(msgspec.Struct, frozen=True):
    """A payment as people see it; `account` is an email, money is in USD."""

    id: str
    account: str
    account_id: str
    usd: str
    state: PaymentState
    created_at: int
    paid_at: int | None
    receipt: str | None
    refunded: str | None
    dispute: str | None
    note: str
    intent: str | None


def find_difference(payment: Payment, collected: Collected) -> str:
    """Return how what was paid differs from what was asked for, or nothing."""
    expected = (payment.account, payment.session or collected.session, CURRENCY, payment.cents)
    found = (collected.account, collected.session, collected.currency, collected.cents)
    names = ("account", "session", "currency", "amount in cents")
    for name, wanted, got in zip(names, expected, found, strict=True):
        if wanted != got:
            return f"{name}: asked for {wanted}, paid {got}"
    return ""
