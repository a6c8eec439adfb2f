"""The operator's pages of what accounts get: plans, and the switches of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromQuery

from techstone.control.catalog.records import NewPlan
from techstone.control.console.pages import Pages, require_operator, visitor_of
from techstone.control.console.session import PageRequest, read_form
from techstone.control.console.shell import go
from techstone.core.errors import ApiError, InvalidRequest

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from techstone.control.catalog.records import PlanShown


class PlanForm(msgspec.Struct, forbid_unknown_fields=True):
    """A plan's numbers."""

    name: str = ""
    rpm: int = 60
    tpm: int = 150_000
    concurrent: int = 5
    billing: Literal["prepaid", "postpaid"] = "prepaid"

    def wish(self) -> NewPlan:
        """Return what the form asks for."""
        return NewPlan(self.name, self.rpm, self.tpm, self.concurrent, self.billing)


class PlanChosen(msgspec.Struct, forbid_unknown_fields=True):
    """One plan by its name."""

    name: str = ""


class FeatureForm(msgspec.Struct, forbid_unknown_fields=True):
    """Whether a feature is to be on; left out: as by default."""

    name: str
    on: bool | None = None


def route_terms(pages: Pages) -> Router:
    """Return the routes of plans and switches under /console/operate."""
    return Router("/console/operate", route_handlers=[*_list_plans(pages), *_list_switches(pages)])


def _list_plans(pages: Pages) -> list[HTTPRouteHandler]:
    plans = pages.services.plans

    async def show(
        request: PageRequest, form: PlanForm, problem: ApiError | None = None, *, edited: str = ""
    ) -> Response[str]:
        return pages.shell.show(
            request,
            "operate/plans.html",
            visitor_of(request),
            plans=await plans.list(),
            form=form,
            edited=edited,
            problem=problem,
        )

    @get("/plans")
    async def list_all(request: PageRequest, name: FromQuery[str] = "") -> Response[str]:
        require_operator(request)
        return await show(request, _fill(await plans.show(name)) if name else PlanForm(), edited=name)

    @post("/plans")
    async def create(request: PageRequest) -> Response[Any]:
        require_operator(request)
        form = PlanForm()
        try:
            form = await read_form(request, PlanForm)
            await plans.create(form.wish())
        except ApiError as problem:
            return await show(request, form, problem)
        return go("/console/operate/plans")

    @post("/plans/change")
    async def change(request: PageRequest) -> Response[Any]:
        require_operator(request)
        form = await read_form(request, PlanForm)
        try:
            await plans.change(form.wish())
        except ApiError as problem:
            return await show(request, form, problem, edited=form.name)
        return go("/console/operate/plans")

    @post("/plans/remove")
    async def remove(request: PageRequest) -> Response[Any]:
        require_operator(request)
        name = (await read_form(request, PlanChosen)).name
        try:
            await plans.remove(name)
        except ApiError as problem:
            return await show(request, PlanForm(), _set_aside(problem))
        return go("/console/operate/plans")

    return [list_all, create, change, remove]


def _list_switches(pages: Pages) -> list[HTTPRouteHandler]:
    switches = pages.services.switches

    @get("/switches")
    async def list_all(request: PageRequest) -> Response[str]:
        visitor = require_operator(request)
        return pages.shell.show(request, "operate/switches.html", visitor, switches=await switches.list())

    @post("/switches")
    async def set_switch(request: PageRequest) -> Response[Any]:
        require_operator(request)
        form = await read_form(request, FeatureForm)
        await switches.set(form.name, on=form.on)
        return go("/console/operate/switches")

    return [list_all, set_switch]


def _set_aside(problem: ApiError) -> InvalidRequest:
    """Return a problem of a row: it is told above the page and not at a field of the form below."""
    return InvalidRequest(problem.message)


def _fill(plan: PlanShown) -> PlanForm:
    return PlanForm(plan.name, plan.rpm, plan.tpm, plan.concurrent, plan.billing)
