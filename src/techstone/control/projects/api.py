"""Projects over the internal API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router, get, post
from litestar.params import FromQuery, JSONBody

from techstone.control.projects.records import NewProject, ProjectChange, ProjectShown

if TYPE_CHECKING:
    from techstone.control.projects.service import Projects


def route_projects(projects: Projects) -> Router:
    """Return the routes under /internal/projects."""

    @post("/")
    async def create(data: JSONBody[NewProject]) -> ProjectShown:
        return await projects.create(data)

    @get("/")
    async def list_all(account: FromQuery[str | None] = None) -> list[ProjectShown]:
        return list(await projects.list(account))

    @post("/one")
    async def change(project: FromQuery[str], data: JSONBody[ProjectChange]) -> ProjectShown:
        return await projects.change(project, data)

    return Router("/projects", route_handlers=[create, list_all, change])
