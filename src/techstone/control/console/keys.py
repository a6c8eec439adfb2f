"""Keys: made in one form, shown once, watched until their first request arrives; each has a page of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from techstone.control.console.bounds import KeyForm, change, fill, wish
from techstone.control.console.limits import make_ticket
from techstone.control.console.pages import Pages, seat_of, visitor_of
from techstone.control.console.playground import is_over
from techstone.control.console.remedies import Advice, advise_refusal, advise_request
from techstone.control.console.session import Nothing, PageRequest, read_form
from techstone.control.console.shell import go
from techstone.control.ledger.records import RequestFilter, RequestShown
from techstone.control.reports.records import Refusal, RefusalFilter
from techstone.core import money
from techstone.core.credit import month_start
from techstone.core.errors import ApiError
from techstone.core.roles import KEY_PERMISSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from litestar.handlers import HTTPRouteHandler

    from techstone.control.keys.records import CreatedKey, KeyShown
    from techstone.control.ledger.records import HourSums

# For how long an old key stays good beside its successor where nothing else is said.
_DAY = _OVERLAP = 86_400
_HOURS = 24


class Overlap(msgspec.Struct, forbid_unknown_fields=True):
    """For how many seconds a replaced key stays good."""

    overlap: int = _OVERLAP


class First(msgspec.Struct, frozen=True):
    """A key's first request, as far as it has come: one that was admitted, or one that was refused, with advice."""

    request: RequestShown | None = None
    refusal: Refusal | None = None
    advice: Advice | None = None


def route_keys(pages: Pages) -> Router:
    """Return the routes under /console/keys."""
    return Router("/console/keys", route_handlers=[*_list_shown(pages), *_list_made(pages), *_list_changes(pages)])


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
            view=make_ticket(pages, seat),
            sparks=draw(await services.ledger.sum_by_hour(seat.account, services.now() - _DAY), services.now()),
            projects={project.id: project for project in await services.projects.list(seat.account)},
        )

    @get("/{key_id:str}")
    async def show(request: PageRequest, key_id: FromPath[str]) -> Response[str]:
        seat = seat_of(request, "keys.read")
        key = await services.keys.show(key_id, seat.account)
        return await show_one(pages, request, key, fill(key))

    @get("/{key_id:str}/first")
    async def watch(request: PageRequest, key_id: FromPath[str]) -> Response[str]:
        seat = seat_of(request, "keys.read")
        key = await services.keys.show(key_id, seat.account)
        first = await _find_first(pages, seat.account, key.id)
        return shell.show(request, "keys/first.html", visitor_of(request), key=key, first=first)

    return [show_all, show, watch]


def _list_made(pages: Pages) -> list[HTTPRouteHandler]:
    services, shell = pages.services, pages.shell

    async def reveal(request: PageRequest, created: CreatedKey) -> Response[str]:
        offered = [model.name for model in await services.catalog.list_models()]
        usable = [name for name in offered if created.models is None or name in created.models]
        model = usable[0] if usable else None
        return shell.show(
            request, "keys/created.html", visitor_of(request), created=created, model=model, first=First()
        )

    async def show_form(request: PageRequest, form: KeyForm, problem: ApiError | None = None) -> Response[str]:
        return shell.show(
            request,
            "keys/new.html",
            visitor_of(request),
            form=form,
            models=await services.catalog.list_models(),
            projects=await services.projects.list(seat_of(request, "keys.write").account),
            problem=problem,
        )

    @get("/new")
    async def ask(request: PageRequest) -> Response[str]:
        seat = seat_of(request, "keys.write")
        offered = {project.id for project in await services.projects.list(seat.account) if not project.archived}
        wanted = request.query_params.get("project", "")
        return await show_form(request, KeyForm(project=wanted if wanted in offered else ""))

    @post("/new")
    async def create(request: PageRequest) -> Response[str]:
        seat = seat_of(request, "keys.write")
        form = await read_form(request, KeyForm)
        seat_of(request, KEY_PERMISSIONS[form.kind])
        try:
            created = await services.keys.create(wish(seat.account, form))
        except ApiError as problem:
            return await show_form(request, form, problem)
        return await reveal(request, created)

    @post("/{key_id:str}/rotate")
    async def rotate(request: PageRequest, key_id: FromPath[str]) -> Response[str]:
        seat = seat_of(request, "keys.write")
        overlap = (await read_form(request, Overlap)).overlap
        await _admit(pages, request, key_id)
        return await reveal(request, await services.keys.rotate(key_id, overlap, seat.account))

    return [ask, create, rotate]


def _list_changes(pages: Pages) -> list[HTTPRouteHandler]:
    services = pages.services

    @post("/{key_id:str}")
    async def alter(request: PageRequest, key_id: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "keys.write")
        form = await read_form(request, KeyForm)
        await _admit(pages, request, key_id)
        key = await services.keys.show(key_id, seat.account)
        try:
            await services.keys.change(key_id, change(form), seat.account)
        except ApiError as problem:
            return await show_one(pages, request, key, form, problem)
        return go(f"/console/keys/{key.id}")

    @post("/{key_id:str}/disable")
    async def disable(request: PageRequest, key_id: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "keys.write")
        await read_form(request, Nothing)
        await _admit(pages, request, key_id)
        key = await services.keys.disable(key_id, seat.account)
        return go(f"/console/keys/{key.id}")

    @post("/{key_id:str}/enable")
    async def enable(request: PageRequest, key_id: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "keys.write")
        await read_form(request, Nothing)
        await _admit(pages, request, key_id)
        key = await services.keys.enable(key_id, seat.account)
        return go(f"/console/keys/{key.id}")

    @post("/{key_id:str}/revoke")
    async def revoke(request: PageRequest, key_id: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "keys.write")
        await read_form(request, Nothing)
        await _admit(pages, request, key_id)
        await services.keys.revoke(key_id, seat.account)
        return go("/console/keys")

    return [alter, disable, enable, revoke]


async def _admit(pages: Pages, request: PageRequest, key_id: str) -> None:
    """Raise Forbidden where a key of this kind is not the role's to change."""
    key = await pages.services.keys.show(key_id, seat_of(request, "keys.write").account)
    # One that runs the cloud is nobody's here: the service does not find it.
    seat_of(request, KEY_PERMISSIONS.get(key.kind, "keys.write"))


async def show_one(
    pages: Pages, request: PageRequest, key: KeyShown, form: KeyForm, problem: ApiError | None = None
) -> Response[str]:
    """Return a key's own page: how it is used, and the form of its settings."""
    services, now = pages.services, pages.services.now()
    account = seat_of(request, "keys.read").account
    hours = await services.ledger.sum_by_hour(account, now - _DAY, (key.id,))
    months = await services.ledger.sum_by_hour(account, month_start(now), (key.id,))
    return pages.shell.show(
        request,
        "keys/one.html",
        visitor_of(request),
        key=key,
        form=form,
        problem=problem,
        models=await services.catalog.list_models(),
        projects=await services.projects.list(account),
        used=(await services.ledger.last_used(account)).get(key.id),
        spark=draw(hours, now).get(key.id),
        requests=sum(hour.requests for hour in hours),
        month_requests=sum(hour.requests for hour in months),
        month_cost=money.show(sum(hour.cost_nano for hour in months)),
    )


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


async def _find_first(pages: Pages, account: str, key: str) -> First:
    """Return the newest request of a key that went well, else the newest that did not, admitted or not."""
    ledger = pages.services.ledger
    good = await ledger.find_requests(account, RequestFilter(key=key, status="ok"), limit=1)
    if good.rows:
        return First(good.rows[0])
    bad = await ledger.find_requests(account, RequestFilter(key=key, status="failed"), limit=1)
    refusals = await pages.services.reports.list(account, RefusalFilter(key=key))
    failed, refusal = next(iter(bad.rows), None), next(iter(refusals), None)
    if refusal is not None and (failed is None or refusal.at >= failed.at * 1000):
        return First(refusal=refusal, advice=advise_refusal(refusal))
    return First(failed, advice=advise_request(failed)) if failed is not None else First()
