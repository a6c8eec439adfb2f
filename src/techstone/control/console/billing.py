"""Billing: what is left, how fast it goes, how to add to it, what bounds it, and whom invoices are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromQuery

from techstone.control.billing.records import AlertShown, Redeemed, Redemption
from techstone.control.console.pages import Pages, seat_of, visitor_of
from techstone.control.console.session import PageRequest, read_form
from techstone.control.console.shell import go
from techstone.control.invoicing.records import Party
from techstone.control.ledger.records import MEASURED
from techstone.control.payments.records import CENT, Payment
from techstone.core import money
from techstone.core.errors import ApiError, Forbidden

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from techstone.control.management.records import Balance

_DAY = 86_400
_WEEK = 7
# Documents on the page itself; all others are found by their statement's month.
_LISTED = 24


class CodeForm(msgspec.Struct, forbid_unknown_fields=True):
    """A top-up code."""

    code: str = ""


class CardForm(msgspec.Struct, forbid_unknown_fields=True):
    """An amount to pay by card; `order` is the form's own name, so that it can be sent twice."""

    usd: str = ""
    order: str = ""


class CapForm(msgspec.Struct, forbid_unknown_fields=True):
    """The most that a month may cost; left empty: no cap."""

    monthly_cap: str = "none"


class BuyerForm(msgspec.Struct, forbid_unknown_fields=True):
    """Whom invoices are for."""

    name: str = ""
    address: str = ""
    tax_id: str = ""


class Typed(msgspec.Struct, frozen=True):
    """What was typed into a form that could not be done."""

    code: str = ""
    usd: str = ""
    monthly_cap: str | None = None
    buyer: Party | None = None


class Burn(msgspec.Struct, frozen=True):
    """What a day costs, USD, on the average of the last seven; and for how many days the credit lasts at that."""

    a_day: str
    days: int | None


class Done(msgspec.Struct, frozen=True):
    """What to say about what was just done: a code redeemed, something saved, a payment that was made."""

    redeemed: Redeemed | None = None
    saved: str = ""
    payment: Payment | None = None
    paid: str = ""


def route_billing(pages: Pages) -> Router:
    """Return the routes of money."""
    return Router("/console", route_handlers=[*_list_account(pages), *_list_models(pages)])


def _list_account(pages: Pages) -> list[HTTPRouteHandler]:
    services = pages.services
    top_ups = services.top_ups

    @get("/billing")
    async def show_all(request: PageRequest, payment: FromQuery[str] = "", saved: FromQuery[str] = "") -> Response[str]:
        seat = seat_of(request, "billing.read")
        found = await top_ups.find(payment, seat.account) if payment else None
        paid = "" if found is None else money.show(found.cents * CENT)
        return await _show(pages, request, done=Done(payment=found, paid=paid, saved=saved))

    @post("/billing")
    async def redeem(request: PageRequest) -> Response[Any]:
        seat = seat_of(request, "billing.write")
        code = (await read_form(request, CodeForm)).code
        try:
            redeemed = await services.codes.redeem(Redemption(code, seat.account))
        except ApiError as problem:
            return await _show(pages, request, problem, Typed(code=code))
        return await _show(pages, request, done=Done(redeemed=redeemed))

    @post("/billing/checkout")
    async def check_out(request: PageRequest) -> Response[Any]:
        seat = seat_of(request, "billing.write")
        form = await read_form(request, CardForm)
        if not pages.is_on("checkout"):
            raise Forbidden("Credit cannot be bought here now. Ask who runs this cloud.")
        account = await services.accounts.find(seat.account)
        try:
            checkout = await top_ups.begin(account, form.order, form.usd, visitor_of(request).person.email)
        except ApiError as problem:
            return await _show(pages, request, problem, Typed(usd=form.usd))
        return go(checkout.url)

    @post("/billing/cap")
    async def set_cap(request: PageRequest) -> Response[Any]:
        seat = seat_of(request, "billing.write")
        cap = (await read_form(request, CapForm)).monthly_cap
        try:
            await services.accounts.set_cap(seat.account, cap)
        except ApiError as problem:
            return await _show(pages, request, problem, Typed(monthly_cap=cap))
        return go("/console/billing?saved=cap")

    @post("/billing/buyer")
    async def set_buyer(request: PageRequest) -> Response[Any]:
        seat = seat_of(request, "billing.write")
        form = await read_form(request, BuyerForm)
        buyer = Party(form.name, form.address, form.tax_id)
        try:
            await services.invoices.set_buyer(seat.account, buyer)
        except ApiError as problem:
            return await _show(pages, request, problem, Typed(buyer=buyer))
        return go("/console/billing?saved=buyer")

    return [show_all, redeem, check_out, set_cap, set_buyer]


async def _show(
    pages: Pages,
    request: PageRequest,
    problem: ApiError | None = None,
    typed: Typed | None = None,
    done: Done | None = None,
) -> Response[str]:
    services = pages.services
    top_ups = services.top_ups
    seat = seat_of(request, "billing.read")
    account = await services.accounts.find(seat.account)
    balance = await services.management.balance(account)
    left = account.granted_nano - account.spent_nano - account.held_nano
    week = await services.ledger.sum_usage(account.id, services.now() - _WEEK * _DAY, "day")
    # The day of so long ago is a whole one more.
    days = sorted(week, key=lambda day: int(day.group))[-_WEEK:]
    processor = top_ups.processor if pages.is_on("checkout") else None
    return pages.shell.show(
        request,
        "billing/account.html",
        visitor_of(request),
        problem=problem,
        form_to=processor.origin if processor else "",
        balance=balance,
        burn=foresee(left if balance.billing == "prepaid" else None, sum(money.parse(day.cost) for day in days)),
        used=_measure(balance),
        owes=left < 0,
        open=money.show(abs(left)),
        alerts=[(alert, describe(alert)) for alert in (await services.alerts.list(account.id))[::-1]],
        amounts=[money.show(cents * CENT) for cents in top_ups.offer.amounts] if processor else [],
        bounds=[money.show(cents * CENT) for cents in (top_ups.offer.minimum, top_ups.offer.maximum)],
        order=top_ups.make_order(),
        documents=await services.invoices.list(account.id, _LISTED),
        buyer=await services.invoices.find_buyer(account.id),
        typed=typed or Typed(),
        done=done or Done(),
    )


def _measure(balance: Balance) -> float | None:
    """Return how much of the month's cap is used, in per cent; None without a cap."""
    cap = money.parse(balance.monthly_cap) if balance.monthly_cap is not None else 0
    return None if not cap else min(100.0, money.parse(balance.spent_this_month) * 1000 // cap / 10)


def describe(alert: AlertShown) -> str:
    """Return what an alert is about."""
    kind, _, value = alert.period.partition(":")
    if kind == "credit":
        return "The credit"
    cap = f"The cap of {'the day' if kind == 'day' else 'the month'} {value}"
    return f"{cap}, {alert.subject}" if alert.subject.startswith("key_") else cap


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
