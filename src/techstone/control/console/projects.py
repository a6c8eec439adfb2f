"""Projects: what keys are for, and what that costs this month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from techstone.control.console.pages import Pages, seat_of, visitor_of
from techstone.control.console.session import Nothing, PageRequest, read_form
from techstone.control.console.shell import go
from techstone.control.projects.records import NewProject, ProjectChange
from techstone.core.errors import ApiError

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

_HERE = "/console/projects"
# Days that prompts and answers can be kept for.
_SPANS = (1, 7, 30, 90, 365)


class ProjectForm(msgspec.Struct, forbid_unknown_fields=True):
    """A project's name."""

    name: str = ""


class KeepForm(msgspec.Struct, forbid_unknown_fields=True):
    """For how many days prompts and answers are kept; left empty: they are not."""

    days: int | None = None


def route_projects(pages: Pages) -> Router:
    """Return the routes under /console/projects."""
    return Router(_HERE, route_handlers=[*_list_named(pages), *_list_ends(pages), *_list_kept(pages)])


def _list_named(pages: Pages) -> list[HTTPRouteHandler]:
    services = pages.services

    async def show(
        request: PageRequest, form: ProjectForm, problem: ApiError | None = None, renamed: str | None = None
    ) -> Response[str]:
        """Show the list; `renamed` is the project whose new name the form holds, None where it is a new one's."""
        seat = seat_of(request, "usage.read")
        projects = await services.projects.list(seat.account)
        return pages.shell.show(
            request,
            "projects.html",
            visitor_of(request),
            projects=projects,
            kept={one.id: await services.transcripts.count(one.id) for one in projects},
            spans=_SPANS,
            form=form,
            problem=problem,
            renamed=renamed,
        )

    @get("/")
    async def list_all(request: PageRequest) -> Response[str]:
        return await show(request, ProjectForm())

    @post("/")
    async def create(request: PageRequest) -> Response[Any]:
        seat = seat_of(request, "projects.write")
        form = await read_form(request, ProjectForm)
        try:
            await services.projects.create(NewProject(seat.account, form.name))
        except ApiError as problem:
            return await show(request, form, problem)
        return go(_HERE)

    @post("/{project_id:str}/rename")
    async def rename(request: PageRequest, project_id: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "projects.write")
        form = await read_form(request, ProjectForm)
        project = await services.projects.show(project_id, seat.account)
        try:
            await services.projects.change(project.id, ProjectChange(name=form.name), seat.account)
        except ApiError as problem:
            return await show(request, form, problem, project.id)
        return go(_HERE)

    return [list_all, create, rename]


def _list_ends(pages: Pages) -> list[HTTPRouteHandler]:
    async def change(request: PageRequest, project_id: str, *, archived: bool) -> Response[Any]:
        seat = seat_of(request, "projects.write")
        await read_form(request, Nothing)
        await pages.services.projects.change(project_id, ProjectChange(archived=archived), seat.account)
        return go(_HERE)

    @post("/{project_id:str}/archive")
    async def archive(request: PageRequest, project_id: FromPath[str]) -> Response[Any]:
        return await change(request, project_id, archived=True)

    @post("/{project_id:str}/restore")
    async def restore(request: PageRequest, project_id: FromPath[str]) -> Response[Any]:
        return await change(request, project_id, archived=False)

    return [archive, restore]


def _list_kept(pages: Pages) -> list[HTTPRouteHandler]:
    services = pages.services

    @post("/{project_id:str}/keep")
    async def keep(request: PageRequest, project_id: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "projects.write")
        days = (await read_form(request, KeepForm)).days
        await services.projects.change(project_id, ProjectChange(kept_days=days), seat.account)
        return go(_HERE)

    @post("/{project_id:str}/erase")
    async def erase(request: PageRequest, project_id: FromPath[str]) -> Response[Any]:
        seat = seat_of(request, "projects.write")
        await read_form(request, Nothing)
        project = await services.projects.show(project_id, seat.account)
        await services.transcripts.erase(project.id, seat.account)
        return go(_HERE)

    return [keep, erase]
