"""A server on loopback that answers what Stripe's API answers when a Checkout Session is made, in Stripe's form.

https://docs.stripe.com/api/checkout/sessions/create, https://docs.stripe.com/api/idempotent_requests,
https://docs.stripe.com/api/errors. `sign` makes what Stripe sends, by the library's own algorithm.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import stripe

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY, SECRET = "sk_test_made_up", "whsec_made_up"


class Stripe:
    """What was asked of the server, and what it answers with. `failing`: so many times a 500 first."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, str]] = []
        self.failing = 0
        self.url = ""
        self._kept: dict[str, str] = {}

    def create(self, key: str, fields: dict[str, str]) -> dict[str, Any]:
        """Return the session of an idempotency key."""
        self.asked.append(fields)
        if key not in self._kept:
            name = f"cs_test_{len(self.sessions):04d}"
            self._kept[key] = name
            self.sessions[name] = {
                "id": name,
                "object": "checkout.session",
                "url": f"{self.url}/c/pay/{name}",
                "mode": fields["mode"],
                "status": "open",
                "payment_status": "unpaid",
                "payment_intent": None,
                "currency": fields["line_items[0][price_data][currency]"],
                "amount_total": int(fields["line_items[0][price_data][unit_amount]"]),
                "client_reference_id": fields["client_reference_id"],
                "customer_email": fields["customer_email"],
                "metadata": {"account": fields["metadata[account]"], "payment": fields["metadata[payment]"]},
                "success_url": fields["success_url"],
                "cancel_url": fields["cancel_url"],
                "livemode": False,
                "created": int(time.time()),
                "expires_at": int(time.time()) + 86_400,
            }
        return self.sessions[self._kept[key]]

    def pay(self, name: str, kind: str = "checkout.session.completed", **changed: object) -> str:
        """Return the event that says that a session is paid, as it is on the wire."""
        intent = f"pi_{name.removeprefix('cs_test_')}"
        paid = {"status": "complete", "payment_status": "paid", "payment_intent": intent}
        return compose_event(kind, self.sessions[name] | paid | changed)


def compose_event(kind: str, thing: dict[str, Any], created: int | None = None) -> str:
    """Return an event, as it is on the wire: https://docs.stripe.com/api/events/object."""
    event = {
        "id": f"evt_{time.time_ns()}",
        "object": "event",
        "api_version": "2025-03-31.basil",
        "created": created if created is not None else int(time.time()),
        "data": {"object": thing},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }
    return json.dumps(event, indent=2)  # Stripe's are indented


def sign(body: str, secret: str = SECRET, age: int = 0) -> str:
    """Return the header Stripe-Signature."""
    return str(stripe.WebhookSignature.generate_signature_header(body, secret, int(time.time()) - age))


@contextlib.contextmanager
def serving_stripe() -> Iterator[Stripe]:
    """Serve for a while."""
    found = Stripe()

    class Handler(http.server.BaseHTTPRequestHandler):
        """One request."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # the page of a session
            self._answer(200, "<!doctype html><title>Pay</title><h1>Stripe's page</h1>", "text/html")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if self.headers["authorization"] != f"Bearer {KEY}":
                self._fail(401, "invalid_request_error", "Invalid API Key provided")
            elif self.path != "/v1/checkout/sessions":
                self._fail(404, "invalid_request_error", f"Unrecognized request URL (POST: {self.path})")
            elif found.failing:
                found.failing -= 1
                self._fail(500, "api_error", "An unknown error occurred")
            else:
                fields = dict(urllib.parse.parse_qsl(body))
                self._answer(200, json.dumps(found.create(self.headers["idempotency-key"], fields)))

        def _fail(self, status: int, kind: str, message: str) -> None:
            self._answer(status, json.dumps({"error": {"type": kind, "message": message}}))

        def _answer(self, status: int, text: str, media: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("content-type", media)
            self.send_header("content-length", str(len(text.encode())))
            self.send_header("request-id", "req_made_up")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
