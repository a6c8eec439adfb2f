"""A gateway that takes nothing is let go, and is told nothing of the database, which is as well as before."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import databases
from haste import within

from techstone.adapters.storage.reading import SqlReading
from techstone.control import publish
from techstone.control.accounts.records import Account
from techstone.control.catalog.records import Catalog
from techstone.control.keys.records import Key, KeySettings
from techstone.control.publish import Publisher, Wish
from techstone.control.services import Services
from techstone.core.assembly import Assembly
from techstone.core.snapshot import Plan
from techstone.core.stream import Heartbeat, decode

if TYPE_CHECKING:
    import pytest
    from databases import Place

    from techstone.control.ports import Extent

_CATALOG = Catalog((Plan("free", 60, 10_000, 5, "prepaid"),), (), ())


async def test_changes_do_not_hold_up_a_beginning(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting what there is takes its time; what changes in it comes after the whole, which is not begun again."""
    store = await databases.open_at(place.address)
    await store.add_account(Account("acct_1", "a@example.com", "free"))
    publisher = Publisher(store, Services(store, _CATALOG).catalog, poll=60, heartbeat=60, report=print)
    await publisher.load()
    measure = SqlReading.measure
    counts = itertools.count(2)

    async def change_meanwhile(reading: SqlReading) -> Extent:
        await store.add_account(Account(f"acct_{next(counts)}", f"{next(counts)}@example.com", "free"))
        await publisher.publish()
        return await measure(reading)

    monkeypatch.setattr(SqlReading, "measure", change_meanwhile)
    stream, assembly = publisher.subscribe(Wish(2)), Assembly()
    async with asyncio.timeout(within(5)):
        while (view := assembly.take(decode(await anext(stream)))) is None:
            pass
        assert list(view.accounts) == ["acct_1"]
        view = assembly.take(decode(await anext(stream)))
    assert view is not None
    assert list(view.accounts) == ["acct_1", "acct_2"]
    await store.close()


async def test_gateway_that_takes_nothing_is_not_told_of_an_outage(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within its transaction, too: what it hears is the end of the stream, after which it comes back."""
    monkeypatch.setattr(publish, "_STALLED_SECONDS", 0.05)
    monkeypatch.setattr(publish, "_AHEAD", 1)
    store = await databases.open_at(place.address)
    await store.add_account(Account("acct_1", "a@example.com", "free"))
    await store.add_key(Key("key_1", b"1" * 32, "acct_1", "k", "ts_live_", KeySettings()))
    said: asyncio.Queue[str] = asyncio.Queue()
    publisher = Publisher(store, Services(store, _CATALOG).catalog, poll=60, heartbeat=60, report=said.put_nowait)
    await publisher.load()
    stream = publisher.subscribe(Wish(2))
    await anext(stream)
    async with asyncio.timeout(5):
        assert await said.get() == "a gateway was let go: it takes nothing"
        rest = [decode(line) async for line in stream]
    assert not [frame for frame in rest if isinstance(frame, Heartbeat)]
    assert publisher.subscribers == 0
    await store.close()
