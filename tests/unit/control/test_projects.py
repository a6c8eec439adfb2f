"""Projects: whose keys cost what, to the last digit, however keys are moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from techstone.control.accounts.records import NewAccount
from techstone.control.keys.records import KeyChange, NewKey
from techstone.control.ledger.records import NO_PROJECT
from techstone.control.projects.records import NewProject, ProjectChange
from techstone.core import money
from techstone.core.credit import month_start
from techstone.core.errors import InvalidRequest, ProjectNotFound
from techstone.core.usage import UsageRecord

if TYPE_CHECKING:
    from rooms import House

_COUNTS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")


async def book(house: House, account: str, key: str, number: int, cost: int, at: int | None = None) -> None:
    counts = ((at or house.clock.now) * 1000, 1, 2, 10 + number, 4, 5, 2, cost, 0, 1)
    record = UsageRecord(f"r{number}", "settled", account, key, f"m{number % 2}", "up", "x", 200, False, *counts)
    await house.store.ledger.apply("a" * 16, number, [record])


async def test_project_is_made_listed_renamed_archived_and_restored(house: House, ann: str) -> None:
    """Each is in the audit log; what is as it was is not."""
    projects = house.services.projects
    made = await projects.create(NewProject(ann, " web "))
    assert made.id.startswith("proj_")
    assert (made.account, made.name, made.keys, made.spent_this_month, made.archived) == (ann, "web", 0, "0.00", False)
    assert await projects.list(ann) == await projects.list() == (made,)
    assert (await projects.change(made.id, ProjectChange(name="site"))).name == "site"
    archived = await projects.change(made.id, ProjectChange(archived=True))
    assert (archived.archived, archived.archived_at) == (True, house.clock.now)
    assert await projects.change(made.id, ProjectChange(archived=True)) == archived
    assert not (await projects.change(made.id, ProjectChange(archived=False))).archived
    assert [entry.action for entry in await house.services.audit.list()][:4] == [
        "project.restore",
        "project.archive",
        "project.rename",
        "project.create",
    ]


async def test_name_is_the_accounts_once(house: House, ann: str) -> None:
    """Another account may have the same; a project may keep its own."""
    projects = house.services.projects
    await house.accounts.create(NewAccount("bob@example.com"))
    web, other = [await projects.create(NewProject(ann, name)) for name in ("web", "batch")]
    await projects.create(NewProject("bob@example.com", "web"))
    for attempt in (projects.create(NewProject(ann, "web")), projects.change(other.id, ProjectChange(name="web"))):
        with pytest.raises(InvalidRequest, match="already") as caught:
            await attempt
        assert caught.value.param == "name"
    assert (await projects.change(web.id, ProjectChange(name="web"))).name == "web"
    for name in ("", "\x07", "x" * 101):
        with pytest.raises(InvalidRequest):
            await projects.create(NewProject(ann, name))


async def test_project_of_another_account_is_not_there(house: House, ann: str) -> None:
    """To be seen, changed or asked about."""
    await house.accounts.create(NewAccount("bob@example.com"))
    bob = await house.accounts.find("bob@example.com")
    made = await house.services.projects.create(NewProject(ann, "web"))
    for attempt in (
        house.services.projects.show(made.id, bob.id),
        house.services.projects.change(made.id, ProjectChange(name="x"), bob.id),
        house.services.ledger.sum_usage(bob.id, 0, "model", made.id),
        house.services.ledger.sum_usage(None, 0, "model", made.id),
        house.services.projects.show("proj_none"),
    ):
        with pytest.raises(ProjectNotFound):
            await attempt


async def test_sums_of_projects_are_those_of_their_keys(house: House, ann: str) -> None:
    """Tokens and money, to the last digit; keys of none are a group of their own; all together are the ledger's."""
    account = await house.accounts.find(ann)
    web, batch = [await house.services.projects.create(NewProject(ann, name)) for name in ("web", "batch")]
    made = [await house.keys.create(NewKey(ann, project=project)) for project in (web.id, web.id, batch.id, None)]
    for number in range(1, 13):
        await book(house, account.id, made[number % 4].id, number, 10**9 // 3 + number)
    ledger = house.services.ledger
    by_key = {row.group: row for row in await ledger.sum_usage(ann, 0, "key")}
    rows = {row.group: row for row in await ledger.sum_usage(ann, 0, "project")}
    assert rows.keys() == {web.id, batch.id, NO_PROJECT}
    for group, members in ((web.id, made[:2]), (batch.id, made[2:3]), (NO_PROJECT, made[3:])):
        parts = [by_key[key.id] for key in members]
        assert money.parse(rows[group].cost) == sum(money.parse(part.cost) for part in parts)
        for count in _COUNTS:
            assert getattr(rows[group], count) == sum(getattr(part, count) for part in parts)
        for by in ("model", "hour", "day", "key"):
            shown = await ledger.sum_usage(ann, 0, by, group)
            assert sum(money.parse(one.cost) for one in shown) == money.parse(rows[group].cost)
        assert [one.group for one in await ledger.sum_usage(ann, 0, "project", group)] == [group]


async def test_moved_key_takes_its_usage_along(house: House, ann: str) -> None:
    """A project's sums are those of the keys that belong to it now; this month's stand in the list."""
    account = await house.accounts.find(ann)
    house.clock.now = 40 * 86_400
    web = await house.services.projects.create(NewProject(ann, "web"))
    key = await house.keys.create(NewKey(ann))
    await book(house, account.id, key.id, 1, 5, month_start(house.clock.now) - 1)
    await book(house, account.id, key.id, 2, 7, month_start(house.clock.now))
    await house.keys.change(key.id, KeyChange(project=web.id))
    (shown,) = await house.services.projects.list(ann)
    assert (shown.keys, shown.spent_this_month) == (1, "0.000000007")
    await house.keys.revoke(key.id)
    (shown,) = await house.services.projects.list(ann)
    assert (shown.keys, shown.spent_this_month) == (0, "0.000000007")
    (row,) = await house.services.ledger.sum_usage(ann, 0, "project")
    assert (row.group, row.cost) == (web.id, "0.000000012")
