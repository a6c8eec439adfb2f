"""Claims and people over the internal API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router, post
from litestar.params import FromQuery

from techstone.control.identity.records import Claim, PersonShown

if TYPE_CHECKING:
    from techstone.control.identity.claims import Claims
    from techstone.control.identity.people import People


def route_claims(claims: Claims) -> Router:
    """Return the routes under /internal/claims; `who` is an email or id."""

    @post("/")
    async def make(who: FromQuery[str]) -> Claim:
        return await claims.make(who)

    return Router("/claims", route_handlers=[make])


def route_identities(people: People) -> Router:
    """Return the routes under /internal/people; `who` is an email or id."""

    @post("/reset-two-factor")
    async def reset_two_factor(who: FromQuery[str]) -> PersonShown:
        return await people.reset_two_factor(who)

    return Router("/people", route_handlers=[reset_two_factor])
