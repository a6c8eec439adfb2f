"""The gate of the port that gateways on other machines reach: a pass says which application a request gets to.

Without a good pass nothing is read but the head: no body, no path, no address that a header claims.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core import passes

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send


class Gate:
    """An ASGI application before two others: what gateways do themselves, and the pages that they forward."""

    def __init__(self, token: bytes, seam: ASGIApp, pages: ASGIApp) -> None:
        self._doors = ((passes.make(token, "seam"), seam), (passes.make(token, "pages"), pages))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in or refuse it with 401."""
        shown = [value for name, value in scope["headers"] if name == passes.HEADER]
        application = self._choose(shown[0]) if len(shown) == 1 else None
        if application is None:
            await _refuse(send)
            return
        # Nobody behind the gate needs it, and what is not there is not logged.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != passes.HEADER]
        await application(scope, receive, send)

    def _choose(self, shown: bytes) -> ASGIApp | None:
        found = None
        for expected, application in self._doors:
            if passes.same(shown, expected):
                found = application
        return found


async def _refuse(send: Send) -> None:
    body = b'{"error":{"message":"This port is for gateways with the token of this control plane.",'
    body += b'"type":"authentication_error","param":null,"code":"invalid_pass"}}'
    fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 401, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": False})
