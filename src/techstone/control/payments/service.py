"""What may be done with payments: begin one, believe the processor's events, show them. No HTTP, no database.

Money that goes back (a refund, a dispute) is noted and told to the operator, and takes no credit away: requests under
way may hold what the account has left, which only the gateways know.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from techstone.control.acts import acting
from techstone.control.payments.records import (
    CENT,
    Abandoned,
    Collected,
    Offer,
    Order,
    Payment,
    PaymentShown,
    Reversal,
)
from techstone.core import money
from techstone.core.errors import InvalidRequest, RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.control.accounts.records import Account
    from techstone.control.accounts.service import Accounts
    from techstone.control.invoicing.service import Invoices
    from techstone.control.payments.ports import Payments, PaymentStore
    from techstone.control.payments.records import Checkout, Event, PaymentRecord
    from techstone.control.ports import Clock, Randomness

PAGE = 200
_HOUR = 3600
# So many may be begun within an hour by one account: each is a row, and a call to the processor.
_MOST = 30
_ORDER = re.compile(r"[0-9a-f]{20}", re.ASCII)


class TopUps:
    """Payments of all accounts. `processor` None: nothing is paid by card."""

    def __init__(
        self, store: PaymentStore, accounts: Accounts, invoices: Invoices, clock: Clock, randomness: Randomness
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._invoices = invoices
        self._clock = clock
        self._randomness = randomness
        self._report: Callable[[str], None] = lambda _: None
        self.processor: Payments | None = None
        self.offer = Offer()

    def open(self, processor: Payments, offer: Offer, report: Callable[[str], None]) -> None:
        """Take payments from now on; `report` takes a line for the operator."""
        self.processor = processor
        self.offer = offer
        self._report = report

    def make_order(self) -> str:
        """Return a name for a form that asks for a payment: sent twice with the same amount, it begins one."""
        return self._randomness(10).hex()

    async def begin(self, account: Account, order: str, usd: str, email: str) -> Checkout:
        """Return the page where an amount is paid; raise InvalidRequest, RateLimited or ServiceUnavailable."""
        if self.processor is None:
            raise InvalidRequest("Payment by card is not set up here.")
        if not _ORDER.fullmatch(order):
            raise InvalidRequest("This form is not one of ours. Reload the page and try again.")
        cents, now = self._read_amount(usd), self._clock()
        payment_id = "top_" + hashlib.sha256(f"{account.id} {order} {cents}".encode()).hexdigest()[:20]
        if await self._store.count_payments(account.id, now - _HOUR) >= _MOST:
            raise RateLimited(f"This account has begun {_MOST} payments within an hour. Try again later.", _HOUR)
        wanted = Payment(payment_id, account.id, cents, now)
        with acting("payment.begin", payment_id, account.id, usd=money.show(cents * CENT)):
            stored = await self._store.add_payment(wanted)
        if stored.state != "open":
            raise InvalidRequest("This form was sent before. Reload the page and try again.")
        checkout = await self.processor.begin(Order(payment_id, account.id, cents, email))
        with acting("payment.begin", payment_id, account.id, session=checkout.session):
            await self._store.set_session(payment_id, checkout.session)
        return checkout

    def _read_amount(self, usd: str) -> int:
        least, most = self.offer.minimum, self.offer.maximum
        bounds = f"{money.show(least * CENT)} to {money.show(most * CENT)} USD, in whole cents"
        try:
            cents, part = divmod(money.parse(usd.strip()), CENT)
        except ValueError:
            cents, part = 0, 0
        if part or not least <= cents <= most:
            raise InvalidRequest(f"The amount must be {bounds}.", param="usd")
        return cents

    async def take(self, event: Event) -> None:
        """Do what an event says, once; what comes again, or in another order, changes nothing more."""
        if isinstance(event, Collected):
            await self._credit(event)
        elif isinstance(event, Abandoned):
            with acting("payment.end", event.payment, note=event.note):
                await self._store.end_payment(event)
        else:
            with acting("payment.reverse", event.id, kind=event.kind, state=event.state, usd=_show(event)):
                news = await self._store.note_reversal(event)
            if news:
                self._report(f"payment {event.intent}: {event.kind} of {_show(event)} USD, {event.state}")

    async def _credit(self, collected: Collected) -> None:
        known = await self._store.find_payment(collected.payment)
        if known is None:
            # Somebody else's: a processor's account may serve more than this cloud.
            self._report(f"payment {collected.payment or '-'} ({collected.session}) is none of ours, and is left alone")
            return
        account = await self._accounts.find(known.account)
        receipt = await self._invoices.draft_receipt(known, account)
        with acting(
            "payment.credit", known.id, account.id, usd=money.show(known.cents * CENT), session=collected.session
        ):
            done = await self._store.credit_payment(collected, receipt, self._clock())
        if done.state == "held" and known.state != "held":
            self._report(f"payment {done.id} of {account.email} is paid, but not credited: {done.note}")

    async def find(self, payment_id: str, account: str) -> Payment | None:
        """Return a payment of an account (id)."""
        found = await self._store.find_payment(payment_id)
        return found if found is not None and found.account == account else None

    async def list(self, account: str | None = None, limit: int = PAGE) -> tuple[PaymentShown, ...]:
        """Return the newest payments of an account (id), or of all; newest first."""
        found = await self._store.list_payments(account, limit)
        emails = await self._accounts.emails({record.payment.account for record in found})
        return tuple(_present(record, emails) for record in found)


def _show(reversal: Reversal) -> str:
    return money.show(reversal.cents * CENT)


def _present(record: PaymentRecord, emails: dict[str, str]) -> PaymentShown:
    payment = record.payment
    refunded = [one for one in record.reversals if one.kind == "refund"]
    disputes = [one for one in record.reversals if one.kind == "dispute"]
    return PaymentShown(
        id=payment.id,
        account=emails.get(payment.account, payment.account),
        account_id=payment.account,
        usd=money.show(payment.cents * CENT),
        state=payment.state,
        created_at=payment.created_at,
        paid_at=payment.paid_at,
        receipt=record.receipt,
        refunded=money.show(sum(one.cents for one in refunded) * CENT) if refunded else None,
        dispute=disputes[-1].state if disputes else None,
        note=payment.note,
        intent=payment.intent,
    )
