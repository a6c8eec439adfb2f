"""Where the processor's events come in. Only its signature says who it is: no session, no key.

What has no signature is refused before its body is looked at; no refusal touches the database or writes a line, so that
a flood of them costs what any wrong request costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, Response, Router, post

from techstone.control.acts import Actor, act_as
from techstone.core.errors import InvalidRequest, PayloadTooLarge

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler

    from techstone.control.payments.ports import Payments
    from techstone.control.payments.service import TopUps

# Stripe's largest events of those that we know have some 10 KB.
LARGEST = 256 * 1024
_LONGEST_SIGNATURE = 1024
_LONGEST_LENGTH = 9  # digits
_SIGNATURE = "stripe-signature"


def route_events(top_ups: TopUps, processor: Payments) -> Router:
    """Return the route of Stripe's events."""

    def require_signature(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        # A guard runs before the body is read.
        if not 0 < len(connection.headers.get(_SIGNATURE, "")) <= _LONGEST_SIGNATURE:
            raise InvalidRequest("The request is not signed.")
        if len(length := connection.headers.get("content-length", "")) > _LONGEST_LENGTH or int(length or 0) > LARGEST:
            raise PayloadTooLarge(LARGEST)
        act_as(Actor("system", "stripe", connection.headers.get("x-forwarded-for", "")))

    @post("/webhooks/stripe", request_max_body_size=LARGEST, status_code=200, guards=[require_signature])
    async def take(request: Request[Any, Any, Any]) -> Response[bytes]:
        event = processor.read_event(await request.body(), request.headers[_SIGNATURE])
        if event is not None:
            await top_ups.take(event)
        return Response(b"", status_code=200)

    return Router("/", route_handlers=[take])
