"""The doors of providers: off to one, and back with its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Response, Router, get
from litestar.params import FromPath

from techstone.control.console.doors import let_in
from techstone.control.console.session import PageRequest, bring, drop, identify, keep, recognise
from techstone.control.console.shell import Shell, go
from techstone.control.identity import federation
from techstone.control.identity.federation import Answer
from techstone.core.errors import ApiError, InvalidRequest

if TYPE_CHECKING:
    from techstone.control.identity.federation import Arrival, Federation
    from techstone.control.identity.foreigners import Foreigners
    from techstone.control.identity.service import Identity


def route_federation(shell: Shell, identity: Identity, providers: Federation, foreigners: Foreigners) -> Router:
    """Return the routes under /console/oidc. Both are read only as far as we go: an answer opens a session, no form."""

    async def refuse(request: PageRequest, problem: ApiError) -> Response[Any]:
        if await recognise(identity, request):
            return shell.show(
                request, "refused.html", status=problem.status, title="That did not work", text=problem.message
            )
        return shell.show(request, "doors/log-in.html", email="", providers=providers.terms, problem=problem)

    async def receive(request: PageRequest, arrival: Arrival) -> Response[Any]:
        caller = identify(request)
        if arrival.person is None:
            person = await foreigners.admit(arrival, caller.address)
            return await let_in(identity, request, await identity.enter(person, caller.agent, caller.address))
        visitor = await recognise(identity, request)
        if visitor is None or visitor.held or visitor.person.id != arrival.person:
            raise InvalidRequest("You are not logged in as who began this. Log in and begin again.")
        await foreigners.connect(arrival, visitor)
        return go("/console/me")

    @get("/{slug:str}")
    async def depart(request: PageRequest, slug: FromPath[str]) -> Response[Any]:
        try:
            url, sealed = await providers.depart(slug)
        except ApiError as problem:
            return await refuse(request, problem)
        answer = go(url)
        keep(answer, request, "journey", sealed, federation.LASTS)
        return answer

    @get("/{slug:str}/back")
    async def arrive(request: PageRequest, slug: FromPath[str]) -> Response[Any]:
        given = {name: request.query_params.get(name, "") for name in ("code", "state", "error", "iss")}
        answer = Answer(given["code"], given["state"], given["error"], given["iss"])
        try:
            page = await receive(request, await providers.arrive(slug, bring(request, "journey"), answer))
        except ApiError as problem:
            page = await refuse(request, problem)
        if bring(request, "journey"):
            drop(page, request, "journey")
        return page

    return Router("/console/oidc", route_handlers=[depart, arrive])
