"""Projects in memory; implements `ProjectStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.ports import Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from techstone.control.keys.records import Key
    from techstone.control.projects.records import Project


class MemoryProjects:
    """A dict by id; `note` notes the act, `touch` stamps a project's keys with a new revision."""

    def __init__(self, keys: Mapping[str, Key], note: Callable[[], None], touch: Callable[[str], None]) -> None:
        self._keys = keys
        self._note = note
        self._touch = touch
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

    async def set_retention(self, project_id: str, days: int | None) -> None:
        """Keep prompts and answers of its keys for so many days, or none (None); gateways are told by its keys."""
        self._put(self._projects[project_id], kept_days=days)
        self._touch(project_id)

    async def find_retention(self, keys: Collection[str]) -> dict[str, tuple[str, int]]:
        """Return the project of each of these keys whose project keeps transcripts, and for how many days, by key."""
        keeping = {one.id: one.kept_days for one in self._projects.values() if one.kept_days is not None}
        of = {key: self._keys[key].settings.project for key in keys if key in self._keys}
        return {key: (project, keeping[project]) for key, project in of.items() if project in keeping}

    @property
    def keeping(self) -> frozenset[str]:
        """The ids of those that keep transcripts."""
        return frozenset(one.id for one in self._projects.values() if one.kept_days is not None)

    def _put(self, project: Project, **changes: object) -> None:
        self._note()
        self._projects[project.id] = msgspec.structs.replace(project, **changes)

    def _require_free(self, account: str, name: str, but: str) -> None:
        if any((one.account, one.name) == (account, name) and one.id != but for one in self._projects.values()):
            raise Taken("name")
