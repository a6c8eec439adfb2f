"""A database that lost its newest changes, by a failover or a recovery: no gateway keeps what it no longer has."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import databases
import pytest

from techstone.control.accounts.records import NewAccount
from techstone.control.catalog.records import Catalog
from techstone.control.keys.records import NewKey
from techstone.control.publish import Publisher, Wish
from techstone.control.services import Services
from techstone.core.assembly import Assembly
from techstone.core.snapshot import Head, Plan
from techstone.core.stream import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from databases import Place

    from techstone.adapters.storage.store import SqlStore
    from techstone.core.view import View

_CATALOG = Catalog((Plan("free", 60, 10_000, 5, "prepaid"),), (), ())
_WHO = "a@example.com"


class Control:
    """A control plane that publishes when a test says so, and what it complained of."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.services = Services(store, _CATALOG)
        self.lines: list[str] = []
        self.publisher = Publisher(store, self.services.catalog, poll=60, heartbeat=60, report=self.lines.append)


@contextlib.asynccontextmanager
async def controlling(place: Place) -> AsyncIterator[Control]:
    control = Control(await databases.open_at(place.address))
    try:
        await control.publisher.load()
        yield control
    finally:
        await control.store.close()


async def begin(publisher: Publisher, since: int | None = None) -> tuple[Head, View, AsyncIterator[bytes]]:
    """Return what a gateway begins with, and the rest of its stream."""
    stream, assembly = publisher.subscribe(Wish(2, since)), Assembly()
    async with asyncio.timeout(5):
        head = decode(await anext(stream))
        assert isinstance(head, Head)
        view = assembly.take(head)
        while view is None:
            view = assembly.take(decode(await anext(stream)))
    return head, view, stream


@pytest.fixture
async def control(place: Place) -> AsyncIterator[Control]:
    """Give a control plane with an account and a key of it."""
    async with controlling(place) as made:
        await made.services.accounts.create(NewAccount(_WHO))
        await made.services.keys.create(NewKey(_WHO, "kept"))
        yield made


async def lose(place: Place, revision: int) -> None:
    """Take back what came after a revision, as a standby has it that never got it."""
    await place.execute(
        f"DELETE FROM keys WHERE changed > {revision}",  # noqa: S608 - a number
        f"UPDATE revision SET number = {revision}",  # noqa: S608 - the same
    )


@pytest.mark.parametrize("changes", [0, 1])
async def test_gateway_that_follows_is_told_the_whole(place: Place, control: Control, changes: int) -> None:
    """Its stream ends, and what it is told anew has no key that was lost; nothing leads on from what it had."""
    store, keys, publisher = control.store, control.services.keys, control.publisher
    before = await store.read_revision()
    await keys.create(NewKey(_WHO, "lost"))
    await keys.create(NewKey(_WHO, "lost, too"))
    _, told, stream = await begin(publisher)
    await lose(place, before)
    for _ in range(changes):
        await keys.create(NewKey(_WHO, "after"))
    assert await publisher.publish() > told.snapshot.revision + 10**6
    with pytest.raises(StopAsyncIteration):
        async with asyncio.timeout(5):
            await anext(stream)
    head, view, _ = await begin(publisher, told.snapshot.revision)
    assert head.since is None
    assert sorted(key.name for key in view.keys) == ["after"] * changes + ["kept"]
    assert len(control.lines) == 1
    assert "lost" in control.lines[0]
    noted = (await control.services.audit.list())[0]
    assert (noted.action, noted.actor_kind) == ("database.set_back", "system")


async def test_other_control_plane_begins_no_era_of_its_own(place: Place, control: Control) -> None:
    """Of several that see it one begins the era; the others' gateways are told the whole as well."""
    async with controlling(place) as other:
        _, _, stream = await begin(other.publisher)
        before = await control.store.read_revision()
        await control.services.keys.create(NewKey(_WHO, "lost"))
        for each in (control, other):
            await each.publisher.publish()
        async with asyncio.timeout(5):
            await anext(stream)  # the key
        await lose(place, before)
        assert await control.publisher.publish() == await other.publisher.publish()
        assert (len(control.lines), other.lines) == (1, [])
        with pytest.raises(StopAsyncIteration):
            async with asyncio.timeout(5):
                await anext(stream)


async def test_gateway_that_comes_back_with_more_than_there_is(place: Place, control: Control) -> None:
    """Where no control plane ran when it was lost, gateways still know: what they have is not passed unseen."""
    before = await control.store.read_revision()
    await control.services.keys.create(NewKey(_WHO, "lost"))
    _, first, _ = await begin(control.publisher)
    await lose(place, before)
    async with controlling(place) as later:
        head, view, _ = await begin(later.publisher, first.snapshot.revision)
        assert head.since is None
        assert [key.name for key in view.keys] == ["kept"]
        for name in ("x", "y"):
            await later.services.keys.create(NewKey(_WHO, name))
        await later.publisher.publish()
        # Another one of the same knowledge, later: the numbers are past it by now.
        head, view, _ = await begin(later.publisher, first.snapshot.revision)
        assert head.since is None
        assert sorted(key.name for key in view.keys) == ["kept", "x", "y"]


async def test_revision_that_never_was_begins_no_era(control: Control) -> None:
    """A gateway that names the end of all numbers is told the whole, and costs nobody else anything."""
    before = await control.store.read_revision()
    head, _, _ = await begin(control.publisher, 2**53)
    assert (head.since, head.revision) == (None, before)
