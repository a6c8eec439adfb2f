"""Stripe Checkout: a page of Stripe's where a top-up is paid, and Stripe's signed events. Implements `Payments`.

Built only where payments are configured: the library takes half a second and 40 MB to import. It is asked on threads of
its own, at most so many at a time, with a time limit and Stripe's idempotency key, so that a form that is sent twice
opens one page. https://docs.stripe.com/api/checkout/sessions, https://docs.stripe.com/webhooks/signature
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import stripe

from techstone.control.payments.records import (
    CURRENCY,
    Abandoned,
    Checkout,
    Collected,
    Event,
    Order,
    Reversal,
)
from techstone.core.errors import InvalidRequest, ServiceUnavailable

if TYPE_CHECKING:
    from stripe.params.checkout import SessionCreateParams

ORIGIN = "https://checkout.stripe.com"
# Stripe's own advice: an event that is older may be a replay of one that somebody recorded.
TOLERANCE = 300
_TIMEOUT = (5.0, 15.0)  # seconds, to connect and to read
_RETRIES = 2
_THREADS = 4
_WAITING = 32
_LOG = logging.getLogger("techstone.control")


class StripePayments:
    """Stripe, by a key; `public_url` is where people come back to. `api_base` only stands for a test's server."""

    def __init__(self, key: str, webhook_secret: str, public_url: str, api_base: str | None = None) -> None:
        self._secret = webhook_secret
        self._public_url = public_url
        self.origin = ORIGIN if api_base is None else _find_origin(api_base)
        # No telemetry: what one call took is nobody's business in the head of the next one.
        stripe.enable_telemetry = False
        self._client = stripe.StripeClient(
            key,
            http_client=stripe.RequestsClient(timeout=_TIMEOUT),
            base_addresses={} if api_base is None else {"api": api_base},
            max_network_retries=_RETRIES,
        )
        self._threads = ThreadPoolExecutor(_THREADS, "stripe")
        self._waiting = 0

    async def begin(self, order: Order) -> Checkout:
        """Return the page for an order, the same one for the same order; raise ServiceUnavailable."""
        if self._waiting >= _WAITING:
            raise ServiceUnavailable("Too many payments are being begun. Try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._create, order)
        finally:
            self._waiting -= 1

    def _create(self, order: Order) -> Checkout:
        try:
            session = self._client.v1.checkout.sessions.create(
                self._compose(order), {"idempotency_key": f"techstone-{order.payment}"}
            )
        except stripe.StripeError as error:
            # Stripe's message may name the key; its code and the id of its own log entry say as much.
            _LOG.error(
                "Stripe: %s %s, request %s", type(error).__name__, error.code or error.http_status, error.request_id
            )
            raise ServiceUnavailable("Stripe did not answer. Nothing was charged; try again in a moment.") from None
        if session.url is None or _find_origin(session.url) != self.origin:
            raise ServiceUnavailable("Stripe answered with a page that is not its own. Nothing was charged.")
        return Checkout(session.id, session.url)

    def _compose(self, order: Order) -> SessionCreateParams:
        named = {"payment": order.payment, "account": order.account}
        return {
            "mode": "payment",
            # In dollars wherever somebody pays from: what comes back is compared with what was asked for.
            "adaptive_pricing": {"enabled": False},
            "client_reference_id": order.payment,
            "customer_email": order.email,
            "metadata": named,
            "payment_intent_data": {"metadata": named},
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": CURRENCY,
                        "unit_amount": order.cents,
                        "product_data": {"name": "Credit for the use of models"},
                    },
                }
            ],
            "success_url": f"{self._public_url}/console/billing?payment={order.payment}",
            "cancel_url": f"{self._public_url}/console/billing",
        }

    def read_event(self, body: bytes, signature: str) -> Event | None:
        """Return what an event tells, None where that is nothing to us; raise InvalidRequest if it is not signed."""
        try:
            stripe.WebhookSignature.verify_header(body, signature, self._secret, TOLERANCE)
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            raise InvalidRequest("The signature is not Stripe's, or older than five minutes.") from None
        try:
            event = msgspec.json.decode(body, type=_Event)
            read = _READERS.get(event.type)
            return None if read is None else read(event)
        except msgspec.MsgspecError as error:
            raise InvalidRequest(f"The event cannot be read: {error}.") from error


def _find_origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class _Data(msgspec.Struct):
    object: msgspec.Raw


class _Event(msgspec.Struct):
    """https://docs.stripe.com/api/events/object; the fields that we read."""

    type: str
    created: int
    data: _Data


class _Session(msgspec.Struct):
    """https://docs.stripe.com/api/checkout/sessions/object."""

    id: str
    payment_status: str
    client_reference_id: str | None = None
    amount_total: int | None = None
    currency: str | None = None
    payment_intent: str | None = None
    metadata: dict[str, str] | None = None


class _Charge(msgspec.Struct):
    """https://docs.stripe.com/api/charges/object."""

    id: str
    amount_refunded: int
    payment_intent: str | None = None
    refunded: bool = False


class _Dispute(msgspec.Struct):
    """https://docs.stripe.com/api/disputes/object."""

    id: str
    amount: int
    status: str
    payment_intent: str | None = None


def _read_session(event: _Event) -> Event | None:
    session = msgspec.json.decode(event.data.object, type=_Session)
    if session.payment_status != "paid":
        return None  # a bank's transfer is under way: checkout.session.async_payment_succeeded follows
    return Collected(
        payment=session.client_reference_id or "",
        account=(session.metadata or {}).get("account", ""),
        session=session.id,
        intent=session.payment_intent,
        cents=session.amount_total or 0,
        currency=session.currency or "",
    )


def _read_end(event: _Event) -> Event | None:
    session = msgspec.json.decode(event.data.object, type=_Session)
    note = "not paid in time" if event.type == "checkout.session.expired" else "the payment failed"
    return Abandoned(session.client_reference_id or "", note)


def _read_refund(event: _Event) -> Event | None:
    charge = msgspec.json.decode(event.data.object, type=_Charge)
    if charge.payment_intent is None:
        return None
    state = "all of it" if charge.refunded else "a part"
    return Reversal(charge.id, "refund", charge.payment_intent, charge.amount_refunded, state, event.created)


def _read_dispute(event: _Event) -> Event | None:
    dispute = msgspec.json.decode(event.data.object, type=_Dispute)
    if dispute.payment_intent is None:
        return None
    state = dispute.status.replace("_", " ")[:32]
    return Reversal(dispute.id, "dispute", dispute.payment_intent, dispute.amount, state, event.created)


_READERS = {
    "checkout.session.completed": _read_session,
    "checkout.session.async_payment_succeeded": _read_session,
    "checkout.session.async_payment_failed": _read_end,
    "checkout.session.expired": _read_end,
    "charge.refunded": _read_refund,
    "charge.dispute.created": _read_dispute,
    "charge.dispute.updated": _read_dispute,
    "charge.dispute.closed": _read_dispute,
}
