"""What the projects room needs of the world: a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from techstone.control.projects.records import Project


class ProjectStore(Protocol):
    """Projects by id. They are never deleted: what their keys cost must stay explainable."""

    async def add_project(self, project: Project) -> None:
        """Store it; raise Taken("name")."""

    async def find_project(self, project_id: str) -> Project | None:
        """Return the project of that id."""

    async def list_projects(self, account: str | None = None) -> tuple[Project, ...]:
        """Return those of the account, or all; oldest first."""

    async def rename_project(self, project_id: str, name: str) -> None:
        """Give it another name; raise Taken("name")."""

    async def set_archived(self, project_id: str, at: int | None) -> None:
        """Archive it, or take it back (None)."""

    async def set_retention(self, project_id: str, days: int | None) -> None:
        """Keep prompts and answers of its keys for so many days, or none (None); gateways are told by its keys."""

    async def find_retention(self, keys: Collection[str]) -> dict[str, tuple[str, int]]:
        """Return the project of each of these keys whose project keeps transcripts, and for how many days, by key."""
