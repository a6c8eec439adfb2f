"""What may be done with projects: create, list, rename, archive. Knows no HTTP and no database.

A project bounds nothing: it says what keys are for. An archived one takes no more keys and is not offered; those that
it has go on working, and what they cost stays.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import UNSET

from techstone.control.acts import acting
from techstone.control.ports import Taken
from techstone.control.projects.records import NewProject, Project, ProjectChange, ProjectShown
from techstone.core import money
from techstone.core.credit import month_start
from techstone.core.errors import InvalidRequest, ProjectNotFound

if TYPE_CHECKING:
    from techstone.control.ports import Clock, Holders, KeyStore, Randomness, Store
    from techstone.control.projects.ports import ProjectStore

_LONGEST_NAME = 100
# Prompts are somebody's words: a year is the longest that anyone is to have them lying about.
LONGEST_KEPT = 365


class Projects:
    """Create, list and change projects."""

    def __init__(self, store: Store, holders: Holders, clock: Clock, randomness: Randomness) -> None:
        self._store: ProjectStore = store.projects
        self._keys: KeyStore = store
        self._ledger = store.ledger
        self._holders = holders
        self._clock = clock
        self._randomness = randomness

    async def create(self, wanted: NewProject) -> ProjectShown:
        """Create a project; raise InvalidRequest for `name`."""
        holder = await self._holders.find(wanted.account)
        name = _check_name(wanted.name)
        project = Project("proj_" + self._randomness(10).hex(), holder.id, name, self._clock())
        try:
            with acting("project.create", project.id, holder.id, name=name):
                await self._store.add_project(project)
        except Taken as taken:
            raise _refuse_name(name) from taken
        return ProjectShown(project.id, holder.email, name, False, 0, money.show(0), project.created_at, None)

    async def list(self, account: str | None = None) -> tuple[ProjectShown, ...]:
        """Return those of the account (email or id), or all; oldest first."""
        holder = None if account is None else (await self._holders.find(account)).id
        return await self._show(await self._store.list_projects(holder), holder)

    async def show(self, project_id: str, owner: str | None = None) -> ProjectShown:
        """Return a project, of an account (id) or of any; raise ProjectNotFound."""
        project = await self._find(project_id, owner)
        return (await self._show((project,), project.account))[0]

    async def change(self, project_id: str, change: ProjectChange, owner: str | None = None) -> ProjectShown:
        """Rename a project, archive it or take it back, keep transcripts; raise ProjectNotFound or InvalidRequest."""
        project = await self._find(project_id, owner)
        if change.name is not UNSET:
            name = _check_name(change.name)
            try:
                with acting("project.rename", project.id, project.account, name=f"{project.name} -> {name}"):
                    await self._store.rename_project(project.id, name)
            except Taken as taken:
                raise _refuse_name(name) from taken
        if change.archived is not UNSET and change.archived != (project.archived_at is not None):
            verb = "archive" if change.archived else "restore"
            with acting(f"project.{verb}", project.id, project.account, name=project.name):
                await self._store.set_archived(project.id, self._clock() if change.archived else None)
        if change.kept_days is not UNSET and change.kept_days != project.kept_days:
            days = _check_days(change.kept_days)
            with acting("project.keep_transcripts", project.id, project.account, name=project.name, days=days or "off"):
                await self._store.set_retention(project.id, days)
        return await self.show(project.id)

    async def _find(self, project_id: str, owner: str | None) -> Project:
        found = await self._store.find_project(project_id.strip())
        if found is None or owner not in {None, found.account}:
            raise ProjectNotFound
        return found

    async def _show(self, projects: tuple[Project, ...], account: str | None) -> tuple[ProjectShown, ...]:
        """Return projects of an account, or of any, with their keys and what those cost."""
        emails = await self._holders.emails({project.account for project in projects})
        keys = await self._keys.list_keys(account)
        now = self._clock()
        sums = await self._ledger.sum_usage(account, month_start(now), "key")
        spent = {found.group: found.cost_nano for found in sums}
        counts: Counter[str | None] = Counter()
        costs: Counter[str | None] = Counter()
        for key in keys:
            ended = key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now)
            counts[key.settings.project] += not ended
            costs[key.settings.project] += spent.get(key.id, 0)
        return tuple(
            ProjectShown(
                id=project.id,
                account=emails[project.account],
                name=project.name,
                archived=project.archived_at is not None,
                keys=counts[project.id],
                spent_this_month=money.show(costs[project.id]),
                created_at=project.created_at,
                archived_at=project.archived_at,
                kept_days=project.kept_days,
            )
            for project in projects
        )


def _check_days(days: int | None) -> int | None:
    if days is not None and not 1 <= days <= LONGEST_KEPT:
        raise InvalidRequest(f"kept_days must be 1 to {LONGEST_KEPT}, or null for none.", param="kept_days")
    return days


def _check_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"name must be 1 to {_LONGEST_NAME} printable characters.", param="name")
    return name


def _refuse_name(name: str) -> InvalidRequest:
    return InvalidRequest(f"There is a project `{name}` already.", param="name")
