"""The operator's pages of models, with their routes, and of prices, with their history."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromQuery

from techstone.control.billing.records import NewPrice
from techstone.control.catalog.records import NewModel
from techstone.control.console.pages import Pages, require_operator, visitor_of
from techstone.control.console.session import PageRequest, read_form
from techstone.control.console.shell import go
from techstone.core import pricing
from techstone.core.errors import ApiError, InvalidRequest
from techstone.core.snapshot import Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar.handlers import HTTPRouteHandler

    from techstone.control.catalog.records import CatalogEntry

_MODELS, _PRICES = "/console/operate/models", "/console/operate/prices"
# So many empty rows are ready for further routes; a saved form comes back with as many again.
_EMPTY_ROWS = 2
_MINUTE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")


class ModelForm(msgspec.Struct, forbid_unknown_fields=True):
    """A model to be added or changed; its routes are rows of four fields."""

    name: str = ""
    display: str = ""
    context_window: int | None = None
    max_output_tokens: int | None = None
    input: str | None = None
    output: str | None = None
    cached_input: str | None = None
    reasoning: str | None = None
    provider: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    weight: tuple[str, ...] = ()
    priority: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return the rows that say something, and some empty ones."""
        rows = zip_longest(self.provider, self.upstream, self.weight, self.priority, fillvalue="")
        return [row for row in rows if row[1]] + [("", "", "", "")] * _EMPTY_ROWS


class EntryForm(msgspec.Struct, forbid_unknown_fields=True):
    """One model by its name."""

    name: str = ""


class SwitchForm(msgspec.Struct, forbid_unknown_fields=True):
    """Whether a model is to be on."""

    name: str
    on: bool


class PriceForm(msgspec.Struct, forbid_unknown_fields=True):
    """A price, from a moment in UTC on; none: from now on."""

    model: str = ""
    input: str = ""
    output: str = ""
    cached_input: str | None = None
    reasoning: str | None = None
    begins: str | None = None


def route_catalog(pages: Pages) -> Router:
    """Return the routes of models and prices under /console/operate."""
    models = Router(_MODELS, route_handlers=[*_list_models(pages), *_list_changes(pages)])
    return Router("/", route_handlers=[models, Router(_PRICES, route_handlers=_list_prices(pages))])


def _list_models(pages: Pages) -> list[HTTPRouteHandler]:
    services = pages.services

    @get("/")
    async def list_all(request: PageRequest) -> Response[str]:
        visitor = require_operator(request)
        prices = {price.model: price for price in await services.prices.list() if price.state == "in force"}
        return pages.shell.show(
            request, "operate/models.html", visitor, models=await services.models.list(), prices=prices
        )

    @get("/new")
    async def ask(request: PageRequest, provider: FromQuery[str] = "", model: FromQuery[str] = "") -> Response[str]:
        require_operator(request)
        form = ModelForm(model, provider=(provider,), upstream=(model,), weight=("1",), priority=("0",))
        if provider and model and (price := await services.models.suggest(provider, model)) is not None:
            form.input, form.output = pricing.show(price.input), pricing.show(price.output)
            form.cached_input = None if price.cached_input is None else pricing.show(price.cached_input)
        return await _ask(pages, request, form)

    @get("/one")
    async def show(request: PageRequest, name: FromQuery[str]) -> Response[str]:
        require_operator(request)
        entry = await services.models.show(name)
        return await _ask(pages, request, _fill(entry), entry=entry)

    return [list_all, ask, show]


def _list_changes(pages: Pages) -> list[HTTPRouteHandler]:
    models = pages.services.models

    @post("/new")
    async def create(request: PageRequest) -> Response[Any]:
        require_operator(request)
        form = ModelForm()
        try:
            form = await read_form(request, ModelForm)
            await models.create(_wish(form))
        except ApiError as problem:
            return await _ask(pages, request, form, problem)
        return go(_MODELS)

    @post("/one")
    async def change(request: PageRequest) -> Response[Any]:
        require_operator(request)
        form = await read_form(request, ModelForm)
        try:
            await models.change(_wish(form))
        except ApiError as problem:
            return await _ask(pages, request, form, problem, entry=await models.show(form.name))
        return go(_MODELS)

    @post("/switch")
    async def switch(request: PageRequest) -> Response[Any]:
        require_operator(request)
        form = await read_form(request, SwitchForm)
        await models.switch(form.name, on=form.on)
        return go(_MODELS)

    @post("/remove")
    async def remove(request: PageRequest) -> Response[Any]:
        require_operator(request)
        await models.remove((await read_form(request, EntryForm)).name)
        return go(_MODELS)

    return [create, change, switch, remove]


def _list_prices(pages: Pages) -> list[HTTPRouteHandler]:
    prices, shell = pages.services.prices, pages.shell

    async def show(request: PageRequest, form: PriceForm, problem: ApiError | None = None) -> Response[str]:
        return shell.show(
            request,
            "operate/price.html",
            visitor_of(request),
            history=(await prices.history(form.model))[::-1],
            form=form,
            problem=problem,
        )

    @get("/")
    async def list_all(request: PageRequest) -> Response[str]:
        visitor = require_operator(request)
        return shell.show(request, "operate/prices.html", visitor, prices=await prices.list())

    @get("/one")
    async def show_one(request: PageRequest, model: FromQuery[str]) -> Response[str]:
        require_operator(request)
        return await show(request, PriceForm(model))

    @post("/one")
    async def set_price(request: PageRequest) -> Response[Any]:
        require_operator(request)
        form = await read_form(request, PriceForm)
        begins = form.begins
        if begins is not None and _MINUTE.fullmatch(begins):
            begins += "Z"  # what a browser's field for a moment sends has no zone
        try:
            await prices.set(NewPrice(form.model, form.input, form.output, form.cached_input, form.reasoning, begins))
        except InvalidRequest as problem:
            if problem.param == "model":
                raise
            return await show(request, form, problem)
        return await show(request, PriceForm(form.model))

    @post("/reset")
    async def reset(request: PageRequest) -> Response[Any]:
        require_operator(request)
        form = PriceForm((await read_form(request, EntryForm)).name)
        try:
            await prices.reset(form.model)
        except InvalidRequest as problem:
            return await show(request, form, problem)
        return await show(request, form)

    return [list_all, show_one, set_price, reset]


async def _ask(
    pages: Pages,
    request: PageRequest,
    form: ModelForm,
    problem: ApiError | None = None,
    *,
    entry: CatalogEntry | None = None,
) -> Response[str]:
    return pages.shell.show(
        request,
        "operate/model.html",
        visitor_of(request),
        form=form,
        model=entry,
        providers=await pages.services.providers.list(),
        problem=problem,
    )


def _fill(entry: CatalogEntry) -> ModelForm:
    return ModelForm(
        entry.name,
        entry.display or "",
        entry.context_window,
        entry.max_output_tokens,
        entry.input,
        entry.output,
        entry.cached_input,
        entry.reasoning,
        tuple(route.provider for route in entry.routes),
        tuple(route.model for route in entry.routes),
        tuple(str(route.weight) for route in entry.routes),
        tuple(str(route.priority) for route in entry.routes),
    )


def _wish(form: ModelForm) -> NewModel:
    return NewModel(
        form.name,
        tuple(_read_routes(form)),
        form.display or None,
        form.context_window,
        form.max_output_tokens,
        form.input,
        form.output,
        form.cached_input,
        form.reasoning,
    )


def _read_routes(form: ModelForm) -> Iterator[Route]:
    """Yield the routes of the rows that name a model."""
    place = 0
    for provider, model, weight, priority in form.rows():
        if not model:
            continue
        numbers = []
        for field, text, default in (("weight", weight, 1), ("priority", priority, 0)):
            if text and not (text.isascii() and text.isdigit() and len(text) < 10):
                raise InvalidRequest(f"{field} must be a whole number.", param=f"routes[{place}].{field}")
            numbers.append(int(text) if text else default)
        yield Route(provider, model.strip(), *numbers)
        place += 1
