"""Billing: what is left, how fast it goes, and a code that adds to it; and what every model costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post

from techstone.control.billing.records import Redeemed, Redemption
from techstone.control.console.pages import Pages, seat_of, visitor_of
from techstone.control.console.session import PageRequest, read_form
from techstone.control.ledger.records import MEASURED
from techstone.core import money
from techstone.core.errors import ApiError

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

_DAY = 86_400
_WEEK = 7


class CodeForm(msgspec.Struct, forbid_unknown_fields=True):
    """A top-up code."""

    code: str = ""


class Burn(msgspec.Struct, frozen=True):
    """What a day costs, USD, on the average of the last seven; and for how many days the credit lasts at that."""

    a_day: str
    days: int | None


def route_billing(pages: Pages) -> Router:
    """Return the routes of money."""
    return Router("/console", route_handlers=[*_list_account(pages), *_list_models(pages)])


def _list_account(pages: Pages) -> list[HTTPRouteHandler]:
    services, shell = pages.services, pages.shell

    async def show(
        request: PageRequest, problem: ApiError | None = None, redeemed: Redeemed | None = None
    ) -> Response[str]:
        seat = seat_of(request, "billing.read")
        account = await services.accounts.find(seat.account)
        balance = await services.management.balance(account)
        left = account.granted_nano - account.spent_nano - account.held_nano
        week = await services.ledger.sum_usage(account.id, services.now() - _WEEK * _DAY, "day")
        return shell.show(
            request,
            "billing.html",
            visitor_of(request),
            balance=balance,
            burn=foresee(left if balance.billing == "prepaid" else None, sum(money.parse(day.cost) for day in week)),
            alerts=(await services.alerts.list(account.id))[::-1],
            problem=problem,
            redeemed=redeemed,
        )

    @get("/billing")
    async def show_all(request: PageRequest) -> Response[str]:
        return await show(request)

    @post("/billing")
    async def redeem(request: PageRequest) -> Response[Any]:
        seat = seat_of(request, "billing.write")
        code = (await read_form(request, CodeForm)).code
        try:
            return await show(request, redeemed=await services.codes.redeem(Redemption(code, seat.account)))
        except ApiError as problem:
            return await show(request, problem)

    return [show_all, redeem]


def _list_models(pages: Pages) -> list[HTTPRouteHandler]:
    services, shell = pages.services, pages.shell

    @get("/models")
    async def show(request: PageRequest) -> Response[str]:
        seat_of(request, "usage.read")
        prices = {price.model: price for price in await services.prices.list() if price.state == "in force"}
        return shell.show(
            request,
            "models.html",
            visitor_of(request),
            models=await services.catalog.list_models(),
            prices=prices,
            measured=MEASURED,
            performance=await services.ledger.measure_models(services.now() - _DAY),
        )

    return [show]


def foresee(left_nano: int | None, week_nano: int) -> Burn:
    """Return the burn rate of a week's cost, and for how many whole days what is left lasts (None: no end)."""
    a_day = week_nano // _WEEK
    days = None if left_nano is None or not a_day else max(0, left_nano) // a_day
    return Burn(money.show(a_day), days)
