"""The first start makes one account and one key, whoever else starts at the same time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rooms import House

from techstone.adapters.storage.sqlite import open_store
from techstone.control.accounts.records import NewAccount
from techstone.control.bootstrap import bootstrap
from techstone.control.services import Services
from techstone.core import keys

if TYPE_CHECKING:
    from pathlib import Path

OWNER = "owner@localhost"


async def test_empty_store_gets_an_account_and_a_key() -> None:
    """The key is good, its account the owner's; the second start makes nothing."""
    house = House()
    first = await bootstrap(house.services, OWNER)
    assert first is not None
    assert keys.well_formed(first.key)
    (shown,) = await house.keys.list()
    assert (shown.id, shown.account, shown.state) == (first.key_id, first.account, "active")
    assert first.account == OWNER
    assert await bootstrap(house.services, OWNER) is None


async def test_owner_is_on_the_plan_that_is_named() -> None:
    """Else on the first of the catalog, as everybody."""
    for plan, expected in ((None, "free"), ("pro", "pro")):
        house = House()
        await bootstrap(house.services, OWNER, plan)
        assert (await house.accounts.show(OWNER)).plan == expected


async def test_first_key_is_in_no_repr() -> None:
    """A traceback that shows the value does not show the key."""
    house = House()
    first = await bootstrap(house.services, OWNER)
    assert first is not None
    assert first.key[8:] not in repr(first) + str(first)


async def test_account_of_the_operator_is_enough() -> None:
    """Where the command line made an account before the first start, none is added."""
    house = House()
    await house.accounts.create(NewAccount("a@example.com"))
    assert await bootstrap(house.services, OWNER) is None
    assert await house.keys.list() == ()


async def test_of_many_starts_one_makes_the_first(tmp_path: Path) -> None:
    """Eight stores on one file, all at once: one account, one key, shown to one."""
    stores = await asyncio.gather(*(open_store(tmp_path / "t.db") for _ in range(8)))
    rooms = [Services(store, House().catalog) for store in stores]
    made = await asyncio.gather(*(bootstrap(room, OWNER) for room in rooms))
    (first,) = (one for one in made if one is not None)
    assert [key.id for key in await rooms[0].keys.list()] == [first.key_id]
    assert len(await rooms[0].accounts.list()) == 1
    await asyncio.gather(*(store.close() for store in stores))
