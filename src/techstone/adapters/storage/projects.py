"""Projects in the database; implements `ProjectStore`.

A gateway knows nothing of projects but whether a key's keeps transcripts; nothing else raises the store's revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError

from techstone.adapters.storage.database import raise_revision
from techstone.adapters.storage.dialect import is_duplicate
from techstone.adapters.storage.schema import KEYS, PROJECTS
from techstone.control.ports import StoreError, Taken
from techstone.control.projects.records import Project

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Executable, Row

    from techstone.adapters.storage.database import Database


class SqlProjects:
    """Beside the keys, in the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_project(self, project: Project) -> None:
        """Store it; raise Taken("name")."""
        await self._write(insert(PROJECTS).values(msgspec.structs.asdict(project)))

    async def find_project(self, project_id: str) -> Project | None:
        """Return the project of that id."""
        async with self._database.look() as connection:
            row = (await connection.execute(select(PROJECTS).where(PROJECTS.c.id == project_id))).one_or_none()
        return None if row is None else _read(row)

    async def list_projects(self, account: str | None = None) -> tuple[Project, ...]:
        """Return those of the account, or all; oldest first."""
        wanted = select(PROJECTS).order_by(PROJECTS.c.created_at, literal_column("rowid"))
        if account is not None:
            wanted = wanted.where(PROJECTS.c.account == account)
        async with self._database.look() as connection:
            return tuple(map(_read, (await connection.execute(wanted)).all()))

    async def rename_project(self, project_id: str, name: str) -> None:
        """Give it another name; raise Taken("name")."""
        await self._write(update(PROJECTS).where(PROJECTS.c.id == project_id).values(name=name))

    async def set_archived(self, project_id: str, at: int | None) -> None:
        """Archive it, or take it back (None)."""
        await self._write(update(PROJECTS).where(PROJECTS.c.id == project_id).values(archived_at=at))

    async def set_retention(self, project_id: str, days: int | None) -> None:
        """Keep prompts and answers of its keys for so many days, or none (None); gateways are told by its keys."""
        async with self._database.change() as connection:
            changed = await raise_revision(connection)
            await connection.execute(update(PROJECTS).where(PROJECTS.c.id == project_id).values(kept_days=days))
            await connection.execute(update(KEYS).where(KEYS.c.project == project_id).values(changed=changed))

    async def find_retention(self, keys: Collection[str]) -> dict[str, tuple[str, int]]:
        """Return the project of each of these keys whose project keeps transcripts, and for how many days, by key."""
        wanted = (
            select(KEYS.c.id, KEYS.c.project, PROJECTS.c.kept_days)
            .join(PROJECTS, PROJECTS.c.id == KEYS.c.project)
            .where(KEYS.c.id.in_(keys), PROJECTS.c.kept_days.is_not(None))
        )
        async with self._database.look() as connection:
            return {row.id: (row.project, row.kept_days) for row in (await connection.execute(wanted)).all()}

    async def _write(self, statement: Executable) -> None:
        async with self._database.change() as connection:
            try:
                await connection.execute(statement)
            except IntegrityError as error:
                if is_duplicate(error):
                    raise Taken("name") from error
                raise StoreError(str(error.orig)) from error


def _read(row: Row[tuple[object, ...]]) -> Project:
    return Project(**row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to columns by name
