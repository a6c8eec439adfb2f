"""Claims over the internal API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router, post
from litestar.params import FromQuery

from techstone.control.identity.records import Claim

if TYPE_CHECKING:
    from techstone.control.identity.claims import Claims


def route_claims(claims: Claims) -> Router:
    """Return the routes under /internal/claims; `who` is an email or id."""

    @post("/")
    async def make(who: FromQuery[str]) -> Claim:
        return await claims.make(who)

    return Router("/claims", route_handlers=[make])
