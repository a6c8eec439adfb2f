"""Projects in memory; implements `ProjectStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.ports import Taken

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.control.projects.records import Project


class MemoryProjects:
    """A dict by id; `note` notes the act."""

    def __init__(self, note: Callable[[], None]) -> None:
        self._note = note
        self._projects: dict[str, Project] = {}

    async def add_project(self, project: Project) -> None:
        """Store it; raise Taken("name")."""
        self._require_free(project.account, project.name, project.id)
        self._note()
        self._projects[project.id] = project

    async def find_project(self, project_id: str) -> Project | None:
        """Return the project of that id."""
        return self._projects.get(project_id)

    async def list_projects(self, account: str | None = None) -> tuple[Project, ...]:
        """Return those of the account, or all; oldest first."""
        return tuple(project for project in self._projects.values() if account in (None, project.account))

    async def rename_project(self, project_id: str, name: str) -> None:
        """Give it another name; raise Taken("name")."""
        project = self._projects[project_id]
        self._require_free(project.account, name, project_id)
        self._put(project, name=name)

    async def set_archived(self, project_id: str, at: int | None) -> None:
        """Archive it, or take it back (None)."""
        self._put(self._projects[project_id], archived_at=at)

    def _put(self, project: Project, **changes: object) -> None:
        self._note()
        self._projects[project.id] = msgspec.structs.replace(project, **changes)

    def _require_free(self, account: str, name: str, but: str) -> None:
        if any((one.account, one.name) == (account, name) and one.id != but for one in self._projects.values()):
            raise Taken("name")
