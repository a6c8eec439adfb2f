"""Keys: made in one form, shown once, watched until their first request arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from techstone.control.console.pages import Pages, seat_of, visitor_of
from techstone.control.console.playground import is_over
from techstone.control.console.session import Nothing, PageRequest, read_form
from techstone.control.console.shell import go
from techstone.control.keys.records import NewKey
from techstone.control.ledger.records import RequestFilter
from techstone.core.errors import ApiError, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from litestar.handlers import HTTPRouteHandler

    from techstone.control.keys.records import CreatedKey
    from techstone.control.ledger.records import HourSums

# For how long an old key stays good beside its successor where nothing else is said.
_DAY = _OVERLAP = 86_400
_HOURS = 24


class KeyForm(msgspec.Struct, forbid_unknown_fields=True):
    """What the form of a new key holds. `models` are names, separated by commas or spaces."""

    name: str = ""
    kind: str = "inference"
    models: str = ""
    expires: str = ""
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    daily_cap: str | None = None
    monthly_cap: str | None = None


class Overlap(msgspec.Struct, forbid_unknown_fields=True):
    """For how many seconds a replaced key stays good."""

    overlap: int = _OVERLAP


def route_keys(pages: Pages) -> Router:
    """Return the routes under /console/keys."""
    return Router("/console/keys", route_handlers=[*_list_shown(pages), *_list_changes(pages)])


def _list_shown(pages: Pages) -> list[HTTPRouteHandler]:
    services, shell = pages.services, pages.shell

    @get("/")
    async def show_all(request: PageRequest) -> Response[str]:
        seat = seat_of(request, "keys.read")
        every = await services.keys.list(seat.account)
        keys = every if "all" in request.query_params else tuple(key for key in every if not is_over(key))
        return shell.show(
            request,
            "keys/list.html",
            visitor_of(request),
            keys=keys[::-1],
            hidden=len(every) - len(keys),
            used=await services.ledger.last_used(seat.account),
            sparks=draw(await services.ledger.sum_by_hour(seat.account, services.now() - _DAY), services.now()),
        )

    @get("/new")
    async def ask(request: PageRequest) -> Response[str]:
        seat_of(request, "keys.write")
        return await _show_form(pages, request, KeyForm(), None)

    @get("/{key_id:str}/first")
    async def watch(request: PageRequest, key_id: FromPath[str]) -> Response[str]:
        seat = seat_of(request, "keys.read")
        key = await services.keys.show(key_id, seat.account)
        page = await services.ledger.find_requests(seat.account, RequestFilter(key=key.id), limit=1)
        first = page.rows[0] if page.rows else None
        return shell.show(request, "keys/first.html", visitor_of(request), key=key, first=first)

    return [show_all, ask, watch]


def _list_changes(pages: Pages) -> list[HTTPRouteHandler]:
    services, shell = pages.services, pages.shell

    async def reveal(request: PageRequest, created: CreatedKey) -> Response[str]:
        models = await services.catalog.list_models()
        return shell.show(
            request, "keys/created.html", visitor_of(request), created=created, model=models[0].name, first=None
        )

    @post("/new")
    async def create(request: PageRequest) -> Response[str]:
        seat = seat_of(request, "keys.write")
        form = await read_form(request, KeyForm)
        try:
            created = await services.keys.create(_wish(seat.account, form))
        except ApiError as problem:
            return await _show_form(pages, request, form, problem)
        return await reveal(request, created)

    @post("/{key_id:str}/rotate")
    async def rotate(request: PageRequest, key_id: FromPath[str]) -> Response[str]:
        seat = seat_of(request, "keys.write")
        overlap = (await read_form(request, Overlap)).overlap
        return await reveal(request, await services.keys.rotate(key_id, overlap, seat.account))

    @post("/{key_id:str}/revoke")
    async def revoke(request: PageRequest, key_id: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "keys.write")
        await read_form(request, Nothing)
        await services.keys.revoke(key_id, seat.account)
        return go("/console/keys")

    return [create, rotate, revoke]


def draw(sums: Iterable[HourSums], now: int) -> dict[str, str]:
    """Return a line through the last 24 hours' requests for each key that has any: points of a 24 by 10 drawing."""
    first = now // 3600 - _HOURS + 1
    by_key: dict[str, list[int]] = {}
    for one in sums:
        place = one.start // 3600 - first
        if 0 <= place < _HOURS:
            by_key.setdefault(one.key, [0] * _HOURS)[place] += one.requests
    return {
        key: " ".join(f"{place},{10 - 10 * count / max(counts):.1f}" for place, count in enumerate(counts))
        for key, counts in by_key.items()
    }


async def _show_form(pages: Pages, request: PageRequest, form: KeyForm, problem: ApiError | None) -> Response[str]:
    models = await pages.services.catalog.list_models()
    return pages.shell.show(request, "keys/new.html", visitor_of(request), form=form, models=models, problem=problem)


def _wish(account: str, form: KeyForm) -> NewKey:
    if form.kind not in {"inference", "admin"}:
        raise InvalidRequest("kind must be inference or admin.", param="kind")
    models = tuple(form.models.replace(",", " ").split())
    return NewKey(
        account,
        name=form.name or "default",
        models=models or None,
        expires=form.expires or None,
        rpm=form.rpm,
        tpm=form.tpm,
        concurrent=form.concurrent,
        daily_cap=form.daily_cap,
        monthly_cap=form.monthly_cap,
        kind="admin" if form.kind == "admin" else "inference",
    )
