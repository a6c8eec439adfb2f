"""What the gateways are told, and when."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from wholes import tell_whole

from techstone.adapters.storage.sqlite import open_store
from techstone.control import publish
from techstone.control.accounts.records import NewAccount, PlanChange
from techstone.control.billing.records import NewPrice
from techstone.control.catalog.records import NewProvider
from techstone.control.keys.records import NewKey
from techstone.control.ports import StoreError
from techstone.control.publish import Publisher, Wish
from techstone.control.services import Services
from techstone.core import keys
from techstone.core.assembly import Assembly
from techstone.core.snapshot import Head, Limits, Snapshot
from techstone.core.stream import Delta, Frame, Heartbeat, SnapshotError, decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from rooms import House

    from techstone.control.ports import Store
    from techstone.core.view import View


@contextlib.asynccontextmanager
async def publishing(
    house: House, *, poll: float = 60, heartbeat: float = 60, store: Store | None = None
) -> AsyncIterator[tuple[Publisher, list[str]]]:
    lines: list[str] = []
    publisher = Publisher(
        store or house.store, house.services.catalog, poll=poll, heartbeat=heartbeat, report=lines.append
    )
    await publisher.load()
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher, lines
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def hear(stream: AsyncIterator[bytes]) -> Frame:
    """Return the next frame: as a line, with the spaces that came before it."""
    line = b""
    async with asyncio.timeout(2):
        while not line.endswith(b"\n"):
            line += await anext(stream)
    return decode(line)


async def see(stream: AsyncIterator[bytes], assembly: Assembly) -> View:
    """Return the view after the next frame that leads to one."""
    while (view := assembly.take(await hear(stream))) is None:
        pass
    return view


async def test_whole_comes_first_then_what_changes(house: House, ann: str) -> None:
    """A gateway that followed from the first frame knows what one that came later is told whole."""
    made = await house.keys.create(NewKey(ann, "ci", ("m1",), "30d", 1, 2, 3))
    async with publishing(house) as (publisher, _):
        stream = publisher.subscribe()
        whole = await hear(stream)
        assert isinstance(whole, Snapshot)
        assert (whole.plans, whole.models, whole.providers) == (
            house.catalog.plans,
            house.catalog.models,
            house.catalog.providers,
        )
        assembly = Assembly()
        view = assembly.take(whole)
        assert view is not None
        known = view.principals[keys.digest(made.key)].key
        assert (known.models, known.expires_at, known.rpm) == (("m1",), made.expires_at, 1)
        await house.accounts.set_plan(ann, PlanChange("pro"))
        await publisher.publish()
        view = await see(stream, assembly)
        assert view.principals[keys.digest(made.key)].plan.name == "pro"
        assert await hear(publisher.subscribe()) == tell_whole(view)


async def test_gateway_goes_on_from_the_revision_that_it_has(house: House, ann: str) -> None:
    """It is told what changed since, keys that are gone included, and then what changes; the rest it has."""
    kept, gone = [await house.keys.create(NewKey(ann)) for _ in range(2)]
    async with publishing(house) as (publisher, _):
        assembly = Assembly()
        before = await see(publisher.subscribe(Wish(2)), assembly)
        assert len(list(before.keys)) == 2
        await house.keys.revoke(gone.id)
        later = await house.keys.create(NewKey(ann))
        stream = publisher.subscribe(Wish(2, before.snapshot.revision, spending=False))
        head = await hear(stream)
        assert isinstance(head, Head)
        assert (head.since, head.spending) == (before.snapshot.revision, False)
        resumed = Assembly(before)
        resumed.take(head)
        view = await see(stream, resumed)
        assert {key.id for key in view.keys} == {kept.id, later.id}
        await house.accounts.suspend(ann)
        await publisher.publish()
        assert [one.suspended for one in (await see(stream, resumed)).accounts.values()] == [True]


async def test_revision_of_a_newer_database_is_told_the_whole(house: House, ann: str) -> None:
    """A database that was restored from a backup has a lower revision than the gateway."""
    await house.keys.create(NewKey(ann))
    async with publishing(house) as (publisher, _):
        head = await hear(publisher.subscribe(Wish(2, since=10_000)))
        assert isinstance(head, Head)
        assert head.since is None


async def test_older_gateway_is_told_in_its_own_format(house: House, ann: str) -> None:
    """The whole in one frame, and changes of that format; one of no known format is refused."""
    async with publishing(house) as (publisher, _):
        stream = publisher.subscribe(Wish(1, since=1))
        assert isinstance(await hear(stream), Snapshot)
        await house.accounts.suspend(ann)
        await publisher.publish()
        assert (await hear(stream)).format == 1
        with pytest.raises(SnapshotError):
            await hear(publisher.subscribe(Wish(0)))


async def test_older_gateway_is_told_of_engines_as_what_it_knows(house: House) -> None:
    """One that reads no other kinds would refuse the frame, and with it every revocation from then on."""
    async with publishing(house) as (publisher, _):
        older, newer = publisher.subscribe(Wish(1)), publisher.subscribe(Wish(2))
        await hear(older)
        assembly = Assembly()
        await see(newer, assembly)
        await house.services.providers.create(NewProvider("gpu", "https://gpu.example/v1", kind="vllm"))
        await publisher.publish()
        changed = await hear(older)
        assert isinstance(changed, Delta)
        assert [one.kind for one in changed.providers] == ["openai"]
        assert (await see(newer, assembly)).providers["gpu"].kind == "vllm"
        begun = await hear(publisher.subscribe(Wish(1)))
        assert isinstance(begun, Snapshot)
        assert [one.kind for one in begun.providers] == ["openai", "openai"]


async def test_key_itself_is_never_told(house: House, ann: str) -> None:
    """Digest and hint are all that leaves."""
    made = await house.keys.create(NewKey(ann))
    async with publishing(house) as (publisher, _):
        line = await anext(publisher.subscribe())
        assert made.key[8:-4].encode() not in line


async def test_revoked_key_is_gone(house: House, ann: str) -> None:
    """In the change as gone, in a later whole not at all."""
    made = await house.keys.create(NewKey(ann))
    async with publishing(house) as (publisher, _):
        stream = publisher.subscribe()
        await hear(stream)
        await house.keys.revoke(made.id)
        await publisher.publish()
        change = await hear(stream)
        assert isinstance(change, Delta)
        assert (change.keys, change.gone_keys) == ((), (made.id,))
        assert cast("Snapshot", await hear(publisher.subscribe())).keys == ()


async def test_change_of_another_process_is_found(house: House, ann: str) -> None:
    """Nobody says so: the revision is looked at every `poll` seconds."""
    async with publishing(house, poll=0.01) as (publisher, _):
        stream = publisher.subscribe()
        await hear(stream)
        await house.accounts.suspend(ann)
        change = await hear(stream)
        assert isinstance(change, Delta)
        assert [account.suspended for account in change.accounts] == [True]


async def test_terms_of_accounts_and_keys_are_told(house: House, ann: str) -> None:
    """Custom numbers in place of the plan's, caps of account and key; back to the plan's with the next plan."""
    made = await house.keys.create(NewKey(ann, daily_cap="1", monthly_cap="2"))
    async with publishing(house) as (publisher, _):
        stream = publisher.subscribe()
        assembly = Assembly()
        await see(stream, assembly)
        limits = []
        for change in (PlanChange("pro", 7, None, 9, monthly_cap="3"), PlanChange("pro")):
            await house.accounts.set_plan(ann, change)
            await publisher.publish()
            principal = (await see(stream, assembly)).principals[keys.digest(made.key)]
            limits.append((principal.limits, principal.account.monthly_cap))
        assert limits == [(Limits(7, 2_000_000, 9), 3 * 10**9), (Limits(500, 2_000_000, 50), 3 * 10**9)]
        assert (principal.key.daily_cap, principal.key.monthly_cap) == (10**9, 2 * 10**9)


async def test_price_is_told_as_a_change_of_its_model(house: House) -> None:
    """Only the models whose price changed, with every version that can be in force from now on."""
    async with publishing(house) as (publisher, _):
        stream = publisher.subscribe()
        assembly = Assembly()
        view = await see(stream, assembly)
        for usd in ("1", "2"):
            await house.services.prices.set(NewPrice("m1", usd, usd))
            await publisher.publish()
            change = await hear(stream)
            assert isinstance(change, Delta)
            assert [model.name for model in change.models] == ["m1"]
            view = assembly.take(change) or view
        assert view.models["m1"].prices[-1].input == 2 * 10**9
        assert await hear(publisher.subscribe()) == tell_whole(view)


async def test_price_of_another_process_is_found(house: House, tmp_path: Path) -> None:
    """Written past the control plane, straight into the file: found all the same."""
    ours, theirs = await open_store(tmp_path / "t.db"), await open_store(tmp_path / "t.db")
    async with publishing(house, poll=0.01, store=ours) as (publisher, _):
        stream = publisher.subscribe()
        await hear(stream)
        await Services(theirs, house.catalog).prices.set(NewPrice("m2", "1", "2"))
        change = await hear(stream)
        assert isinstance(change, Delta)
        assert [(model.name, model.prices[0].output) for model in change.models] == [("m2", 2 * 10**9)]
        publisher.close()
    await ours.close()
    await theirs.close()


async def test_who_waits_for_its_turn_hears_that_it_is_not_forgotten(house: House) -> None:
    """Spaces, which every format passes over before a frame: its reader would take silence for the end."""
    async with publishing(house, heartbeat=0.02) as (publisher, _):
        streams = [publisher.subscribe(Wish(told)) for told in (1, 2)]
        async with publisher._wholes, publisher._wholes:
            for stream in streams:
                async with asyncio.timeout(2):
                    assert [await anext(stream) for _ in range(3)] == [b" "] * 3
        assert isinstance(await hear(streams[0]), Snapshot)
        assert isinstance(await hear(streams[1]), Head)


async def test_who_waits_hears_that_the_database_is_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """As who follows does: another control plane may reach it."""
    monkeypatch.setattr(publish, "_AWAY_SECONDS", 0.0)
    async with publishing(house, poll=0.01, heartbeat=0.05) as (publisher, _), publisher._wholes, publisher._wholes:
        async with publisher._turn:  # a poll that hangs
            stream = publisher.subscribe()
            away = await hear(stream)
        assert isinstance(away, Heartbeat)
        assert away.away > 0.01


async def test_who_goes_on_waits_for_nobody(house: House) -> None:
    """What changed is little, and may be a revocation; the whole that a restored database leads to waits like any."""
    async with publishing(house, heartbeat=0.02) as (publisher, _), publisher._wholes, publisher._wholes:
        head = await hear(publisher.subscribe(Wish(2, since=0)))
        assert isinstance(head, Head)
        assert head.since == 0
        assert await anext(publisher.subscribe(Wish(2, since=10_000))) == b" "


async def test_reading_that_hangs_is_not_waited_for_without_an_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has its turn and hears nothing asks another control plane in the end, as where this one is gone."""
    monkeypatch.setattr(publish, "_LONGEST_READ", 0.1)
    hanging = _Faulty(house.store)
    heard: list[bytes] = []
    async with publishing(house, heartbeat=0.02, store=cast("Store", hanging)) as (publisher, _):
        hanging.reading = lambda *_, **__: _Hanging()

        async def listen() -> None:
            async for line in publisher.subscribe():
                heard.append(line)  # noqa: PERF401 - a comprehension would be gone with the timeout

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listen(), 0.5)
    assert 1 < len(heard) <= 6
    assert set(heard) == {b" "}


async def test_quiet_stream_has_heartbeats(house: House) -> None:
    """Of the revision that stands, so that a follower knows that it missed nothing."""
    await house.accounts.create(NewAccount("a@example.com"))
    async with publishing(house, heartbeat=0.01) as (publisher, _):
        stream = publisher.subscribe()
        assert [await hear(stream) for _ in range(3)][1:] == [Heartbeat(1, 1), Heartbeat(1, 1)]


@pytest.mark.parametrize("steps", range(8))
async def test_heartbeats_never_run_ahead_of_changes(house: House, ann: str, steps: int) -> None:
    """A change that comes at any step of the loop while a heartbeat falls due: every frame follows the one before."""
    publisher = Publisher(house.store, house.services.catalog, poll=60, heartbeat=0, report=print)
    await publisher.load()
    stream = publisher.subscribe()
    assembly = Assembly()
    await see(stream, assembly)
    await house.accounts.set_plan(ann, PlanChange("pro"))
    coming = asyncio.ensure_future(anext(stream))
    for _ in range(steps):
        await asyncio.sleep(0)
    await publisher._advance()  # the store in memory never gives way, so this is one step of the loop
    view = assembly.take(decode(await coming))
    while view is None or view.snapshot.revision < 2:
        view = await see(stream, assembly)


async def test_slow_follower_is_let_go(house: House, ann: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stream ends and it comes back for the whole; what waits for it stays bounded."""
    monkeypatch.setattr(publish, "_LONGEST_QUEUE", 2)
    async with publishing(house) as (publisher, _):
        stream = publisher.subscribe()
        await hear(stream)
        assert publisher.subscribers == 1
        async with asyncio.timeout(2):
            while publisher.subscribers:
                await house.accounts.suspend(ann)
                await publisher.publish()
                await asyncio.sleep(0)
        with pytest.raises(StopAsyncIteration):
            await hear(stream)
        assert publisher.subscribers == 0


async def test_close_ends_every_stream(house: House) -> None:
    """So that a stopping process does not wait for its gateways."""
    async with publishing(house) as (publisher, _):
        streams = [publisher.subscribe() for _ in range(3)]
        for stream in streams:
            await hear(stream)
        publisher.close()
        for stream in streams:
            with pytest.raises(StopAsyncIteration):
                await hear(stream)


async def test_follower_that_left_is_forgotten(house: House) -> None:
    """Nothing is kept for it."""
    async with publishing(house) as (publisher, _):
        stream = publisher.subscribe()
        await hear(stream)
        await stream.aclose()  # type: ignore[attr-defined] # it is an async generator
        assert publisher.subscribers == 0


class _Hanging:
    """A reading that does not begin."""

    async def __aenter__(self) -> None:
        await asyncio.Event().wait()

    async def __aexit__(self, *_: object) -> None:
        """Never come to."""


class _Faulty:
    """A store that fails while it is told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fails = False
        self.asked = 0
        self.billing = store.billing
        self.reading: Callable[..., Any] = store.reading
        self.read_changes = store.read_changes
        self.wait = store.wait

    async def read_revision(self) -> int:
        self.asked += 1
        if self.fails:
            raise StoreError("database: disk I/O error")
        return await self._store.read_revision()


async def test_failing_store_is_told_once_and_outlived(house: House, ann: str) -> None:
    """One line for the operator, not one a poll; gateways hear that it is away, and then what changed meanwhile."""
    faulty = _Faulty(house.store)
    async with publishing(house, poll=0.002, store=cast("Store", faulty)) as (publisher, lines):
        stream = publisher.subscribe()
        await hear(stream)
        faulty.fails = True
        asked = faulty.asked
        async with asyncio.timeout(2):
            while faulty.asked < asked + 5:  # noqa: ASYNC110 - counted, there is no event
                await asyncio.sleep(0.002)
        assert lines == ["database: disk I/O error"]
        away = await hear(stream)
        assert isinstance(away, Heartbeat)
        assert 0 < away.away < 2
        begun = await hear(publisher.subscribe(Wish(2, 1)))
        assert isinstance(begun, Heartbeat)
        assert begun.away > 0, "who begins meanwhile hears of it, too"
        await house.accounts.set_plan(ann, PlanChange("pro"))
        faulty.fails = False
        change = await hear(stream)
        assert isinstance(change, Delta)
        assert msgspec.structs.replace(change, accounts=()) == Delta(1, 2, format=1)
        assert await hear(stream) == Heartbeat(2, 1), "all is well again"
