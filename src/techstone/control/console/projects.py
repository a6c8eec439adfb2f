"""Projects: what keys are for, what that costs this month, and whether prompts and answers are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from techstone.control.console.pages import Pages, seat_of, visitor_of
from techstone.control.console.session import Nothing, PageRequest, read_form
from techstone.control.console.shell import go
from techstone.control.projects.records import NewProject, ProjectChange, ProjectShown
from techstone.core.errors import ApiError

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

_HERE = "/console/projects"
# Days that prompts and answers can be kept for.
_SPANS = (1, 7, 30, 90, 365)


class NewForm(msgspec.Struct, forbid_unknown_fields=True):
    """A new project's name."""

    name: str = ""


class ProjectForm(msgspec.Struct, forbid_unknown_fields=True):
    """A project's name, and for how many days its prompts and answers are kept; left empty: they are not."""

    name: str = ""
    days: int | None = None


def route_projects(pages: Pages) -> Router:
    """Return the routes under /console/projects."""
    return Router(_HERE, route_handlers=[*_list_all(pages), *_list_one(pages), *_list_ends(pages)])


def _list_all(pages: Pages) -> list[HTTPRouteHandler]:
    services = pages.services

    async def show(request: PageRequest, form: NewForm, problem: ApiError | None = None) -> Response[str]:
        projects = await services.projects.list(seat_of(request, "usage.read").account)
        return pages.shell.show(
            request, "projects/list.html", visitor_of(request), projects=projects, form=form, problem=problem
        )

    @get("/")
    async def list_all(request: PageRequest) -> Response[str]:
        return await show(request, NewForm())

    @post("/")
    async def create(request: PageRequest) -> Response[Any]:
        seat = seat_of(request, "projects.write")
        form = await read_form(request, NewForm)
        try:
            await services.projects.create(NewProject(seat.account, form.name))
        except ApiError as problem:
            return await show(request, form, problem)
        return go(_HERE)

    return [list_all, create]


def _list_one(pages: Pages) -> list[HTTPRouteHandler]:
    services = pages.services

    async def show(
        request: PageRequest, project: ProjectShown, form: ProjectForm, problem: ApiError | None = None
    ) -> Response[str]:
        return pages.shell.show(
            request,
            "projects/one.html",
            visitor_of(request),
            project=project,
            kept=await services.transcripts.count(project.id),
            # What was set by the management API may be a number of days that the page does not offer.
            spans=sorted({*_SPANS, *([project.kept_days] if project.kept_days else [])}),
            form=form,
            problem=problem,
        )

    @get("/{project_id:str}")
    async def open_one(request: PageRequest, project_id: FromPath[str]) -> Response[str]:
        project = await services.projects.show(project_id, seat_of(request, "usage.read").account)
        return await show(request, project, ProjectForm(project.name, project.kept_days))

    @post("/{project_id:str}")
    async def change(request: PageRequest, project_id: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "projects.write")
        form = await read_form(request, ProjectForm)
        project = await services.projects.show(project_id, seat.account)
        wanted = ProjectChange(name=form.name, kept_days=form.days)
        try:
            await services.projects.change(project.id, wanted, seat.account)
        except ApiError as problem:
            return await show(request, project, form, problem)
        return go(f"{_HERE}/{project.id}")

    @post("/{project_id:str}/erase")
    async def erase(request: PageRequest, project_id: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "projects.write")
        await read_form(request, Nothing)
        project = await services.projects.show(project_id, seat.account)
        await services.transcripts.erase(project.id, seat.account)
        return go(f"{_HERE}/{project.id}")

    return [open_one, change, erase]


def _list_ends(pages: Pages) -> list[HTTPRouteHandler]:
    async def end(request: PageRequest, project_id: str, *, archived: bool) -> Response[Any]:
        seat = seat_of(request, "projects.write")
        await read_form(request, Nothing)
        await pages.services.projects.change(project_id, ProjectChange(archived=archived), seat.account)
        return go(_HERE)

    @post("/{project_id:str}/archive")
    async def archive(request: PageRequest, project_id: FromPath[str]) -> Response[Any]:
        return await end(request, project_id, archived=True)

    @post("/{project_id:str}/restore")
    async def restore(request: PageRequest, project_id: FromPath[str]) -> Response[Any]:
        return await end(request, project_id, archived=False)

    return [archive, restore]
