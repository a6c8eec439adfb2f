"""The account's projects: list, make, rename and archive them, with an admin key."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from openai.pagination import AsyncPage, SyncPage

from ._management import locate
from ._record import Record

if TYPE_CHECKING:
    from openai._base_client import AsyncPaginator
    from typing_extensions import TypedDict, Unpack

    from ._client import AsyncTechStoneAI, TechStoneAI

    class ProjectChange(TypedDict, total=False):
        """What is to be otherwise about a project; what is left out stays as it is."""

        name: str
        archived: bool
        kept_days: int | None


class Project(Record):
    """A project: `keys` that have not ended, US dollars in this UTC month by all of its keys.

    Times are unix seconds. `kept_days`: for how long prompts and answers of its keys are kept; None: they are not.
    """

    object: Literal["project"]
    id: str
    name: str
    archived: bool
    keys: int
    spent_this_month: Decimal
    created_at: int
    archived_at: int | None = None
    kept_days: int | None = None


class Projects:
    """`client.projects`."""

    def __init__(self, client: TechStoneAI) -> None:
        self._client = client

    def list(self) -> SyncPage[Project]:
        """Return all projects, oldest first."""
        url, options = locate(self._client, "projects")
        return self._client.get_api_list(url, model=Project, page=SyncPage[Project], options=options)

    def retrieve(self, project_id: str) -> Project:
        """Return one project."""
        url, options = locate(self._client, _path(project_id))
        return self._client.get(url, cast_to=Project, options=options)

    def create(self, *, name: str) -> Project:
        """Make a project; keys are put into it by `client.keys`."""
        url, options = locate(self._client, "projects")
        return self._client.post(url, cast_to=Project, body={"name": name}, options=options)

    def update(self, project_id: str, **change: Unpack[ProjectChange]) -> Project:
        """Rename a project, archive it or take it back."""
        url, options = locate(self._client, _path(project_id))
        return self._client.patch(url, cast_to=Project, body=dict(change), options=options)


class AsyncProjects:
    """`client.projects` of the async client."""

    def __init__(self, client: AsyncTechStoneAI) -> None:
        self._client = client

    def list(self) -> AsyncPaginator[Project, AsyncPage[Project]]:
        """Return all projects, oldest first."""
        url, options = locate(self._client, "projects")
        return self._client.get_api_list(url, model=Project, page=AsyncPage[Project], options=options)

    async def retrieve(self, project_id: str) -> Project:
        """Return one project."""
        url, options = locate(self._client, _path(project_id))
        return await self._client.get(url, cast_to=Project, options=options)

    async def create(self, *, name: str) -> Project:
        """Make a project; keys are put into it by `client.keys`."""
        url, options = locate(self._client, "projects")
        return await self._client.post(url, cast_to=Project, body={"name": name}, options=options)

    async def update(self, project_id: str, **change: Unpack[ProjectChange]) -> Project:
        """Rename a project, archive it or take it back."""
        url, options = locate(self._client, _path(project_id))
        return await self._client.patch(url, cast_to=Project, body=dict(change), options=options)


def _path(project_id: str) -> str:
    if not project_id:
        # An empty id would make another address: that of all projects.
        raise ValueError(f"Expected a non-empty value for `project_id` but received {project_id!r}")
    return f"projects/{quote(project_id, safe='')}"
