"""Limits now: what is in use of the plan and of each key's own limits, live from the gateway, and who was refused.

The page asks the gateway itself, by a view ticket that is renewed while the page is open; without script it shows what
the ledger knew when it was made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from litestar import MediaType, Response, Router, get

from techstone.control.console.pages import Pages, seat_of, visitor_of
from techstone.control.console.remedies import advise_refusal
from techstone.control.console.session import PageRequest
from techstone.control.ledger.records import PAGE, RequestFilter
from techstone.control.reports.records import RefusalFilter
from techstone.core import tickets
from techstone.core.roles import may

if TYPE_CHECKING:
    from techstone.control.identity.records import Seat
    from techstone.control.keys.records import KeyShown
    from techstone.control.ledger.records import RequestPage, RequestShown
    from techstone.core.snapshot import Plan

_MINUTE = 60
_LIMITED = 429
# So many refusals are shown; the logs have the others.
_SHOWN = 20


class TicketShown(msgspec.Struct, frozen=True):
    """A view ticket, and for how many seconds it is good."""

    ticket: str
    seconds: int


class Known(msgspec.Struct):
    """What the ledger knows of the last minute, of an account or a key."""

    requests: int = 0
    tokens: int = 0


class Ends(msgspec.Struct, frozen=True):
    """Where an account's meters end: the plan's numbers, or its own."""

    rpm: int
    tpm: int
    concurrent: int


def make_ticket(pages: Pages, seat: Seat) -> TicketShown:
    """Return a ticket for the account that is looked at: with money only for who may see it."""
    seen = tickets.Ticket(seat.account, may(seat.role, "billing.read"))
    expires = pages.services.now() + tickets.LONGEST_SECONDS
    return TicketShown(tickets.sign(pages.view_secret, seen, expires), tickets.LONGEST_SECONDS)


def route_limits(pages: Pages) -> Router:
    """Return the routes under /console/limits."""
    services, shell = pages.services, pages.shell

    @get("/")
    async def show(request: PageRequest) -> Response[str]:
        seat = seat_of(request, "usage.read")
        account = await services.accounts.show(seat.account)
        plan = services.catalog.find_plan(account.plan)
        now = services.now()
        lately = RequestFilter(since=(now - _MINUTE) * 1000)
        ended = await services.ledger.find_requests(seat.account, lately, limit=PAGE)
        keys = await services.keys.list(seat.account)
        refusals = await services.reports.list(seat.account, RefusalFilter(status=_LIMITED))
        return shell.show(
            request,
            "limits.html",
            visitor_of(request),
            account=account,
            ends=find_ends(plan, (account.rpm, account.tpm, account.concurrent)),
            prepaid=plan.billing == "prepaid",
            money=may(seat.role, "billing.read"),
            keys=[key for key in keys if is_limited(key)],
            names={key.id: key.name for key in keys},
            known=sum_up(ended),
            least=ended.more,
            known_at=now,
            refusals=[(refusal, advise_refusal(refusal)) for refusal in refusals[:_SHOWN]],
            view=make_ticket(pages, seat),
        )

    @get("/ticket")
    async def renew(request: PageRequest) -> Response[TicketShown]:
        seat = seat_of(request, "usage.read")
        headers = {"cache-control": "no-store"}
        return Response(make_ticket(pages, seat), media_type=MediaType.JSON, headers=headers)

    return Router("/console/limits", route_handlers=[show, renew])


def find_ends(plan: Plan, own: tuple[int | None, int | None, int | None]) -> Ends:
    """Return an account's limits: its own numbers go before its plan's."""
    rpm, tpm, concurrent = own
    return Ends(
        plan.rpm if rpm is None else rpm,
        plan.tpm if tpm is None else tpm,
        plan.concurrent if concurrent is None else concurrent,
    )


def is_limited(key: KeyShown) -> bool:
    """Say whether a key that is good has limits or caps of its own."""
    own = (key.rpm, key.tpm, key.concurrent, key.daily_cap, key.monthly_cap)
    return key.state == "active" and key.kind == "inference" and any(value is not None for value in own)


def sum_up(page: RequestPage[RequestShown]) -> dict[str, Known]:
    """Return what the requests of a page come to: all of them under "", and by key."""
    found = {"": Known()}
    for row in page.rows:
        for known in (found[""], found.setdefault(row.key, Known())):
            known.requests += 1
            known.tokens += row.prompt_tokens + row.completion_tokens
    return found
