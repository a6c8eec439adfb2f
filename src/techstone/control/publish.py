"""Publishes the snapshot to the gateways: one whole, then every change, and a heartbeat while there is none.

The store says what changed since a revision; so it does not matter which process made the change, or which told a
gateway so far. Accounts and keys are never kept here: they go from the store to the gateway in parts. A subscriber that
does not keep up is let go: it comes back and is told what it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

import msgspec

from techstone.control.acts import acting_alone
from techstone.control.billing.prices import PriceBook
from techstone.control.ports import Records, StoreError
from techstone.core import snapshot as seam
from techstone.core import stream
from techstone.core.revision import follows, was_told
from techstone.wire.figure import Figure

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from techstone.control.accounts.records import Account
    from techstone.control.catalog.records import Catalog
    from techstone.control.catalog.service import Offers
    from techstone.control.keys.records import Key
    from techstone.control.ledger.records import Spending
    from techstone.control.ports import Extent, Reading, Store

_Named = TypeVar("_Named", seam.Model, seam.Provider, seam.Plan)

# So many frames may wait for one subscriber: some minutes of a busy day.
_LONGEST_QUEUE = 1000
# So many parts of a whole are read ahead of a gateway's connection: 4 MB. What is read from a database that changes
# holds its log back, so a gateway that takes nothing for so long (seconds) is let go.
_AHEAD = 8
_STALLED_SECONDS = 30.0
# Gateways that begin at the same time wait for each other: each costs the database a read of everything. A space for a
# heartbeat says that they are not forgotten: every format's reader makes it the beginning of the next line.
_WHOLES_AT_ONCE = 2
_WAITING = b" "
# Who has its turn, and hears nothing of a database that is there for so long (seconds), is left to ask elsewhere. The
# one frame of format 1, 200 MB at a million keys, takes half a minute.
_LONGEST_READ = 120.0
# The database is asked several times a second; one that did not answer for so long is told as away.
_AWAY_SECONDS = 3.0


class Wish(msgspec.Struct, frozen=True):
    """What a gateway asks for: the newest format that it reads, the revision that it has, whether it knows spending."""

    format: int = 1
    since: int | None = None
    spending: bool = True


_PLAIN = Wish()


class _Stalled(Exception):
    """A gateway takes nothing. No TimeoutError: the store would tell that one as its own."""


class Publisher:
    """The newest snapshot and who follows it. `poll` and `heartbeat` are in seconds; `report` takes a line."""

    def __init__(
        self,
        store: Store,
        catalog: Offers,
        *,
        poll: float,
        heartbeat: float,
        report: Callable[[str], None],
        view_secret: bytes = b"",
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._told: Catalog | None = None
        self._book = PriceBook(store.billing, catalog.models)
        self._poll = poll
        self._heartbeat = heartbeat
        self._report = report
        self._view_secret = view_secret.hex()
        self._current = seam.Head(0)
        self._reached = 0.0
        self._turn = asyncio.Lock()
        self._wholes = asyncio.Semaphore(_WHOLES_AT_ONCE)
        self._followers: dict[asyncio.Queue[bytes | None], int] = {}  # with the format of each

    @property
    def subscribers(self) -> int:
        """How many gateways follow."""
        return len(self._followers)

    async def publish(self) -> int:
        """Tell the gateways what this process has changed; return the revision that they then have.

        A store that fails is told by `run`.
        """
        with contextlib.suppress(StoreError):
            await self._advance()
        return self._current.revision

    async def load(self) -> None:
        """Read what there is but for accounts and keys; must be done before `run` and `subscribe`."""
        revision = await self._store.read_revision()
        self._reached = asyncio.get_running_loop().time()
        # After the revision: what is newer than that is told again by the change that it belongs to.
        await self._catalog.refresh()
        catalog = self._told = self._catalog.catalog
        self._current = seam.Head(
            revision,
            plans=catalog.plans,
            models=await self._book.read(),
            providers=catalog.providers,
            view_secret=self._view_secret,
        )

    async def read_figure(self, account: str) -> Figure | None:
        """Return what an account has spent by now, of one moment; None: there is none of that id."""
        records = await self._store.read_one(account)
        if not records.accounts:
            return None
        spending, found = records.spending, records.accounts[0]
        return Figure(
            found.spent_nano,
            spending.accounts_month.get(account, 0),
            {key.id: (spending.keys_day.get(key.id, 0), spending.keys_month.get(key.id, 0)) for key in records.keys},
            spending.applied,
            spending.day,
        )

    async def run(self) -> None:
        """Publish what other processes change, until cancelled."""
        told = False
        while True:
            await self._store.wait(self._poll)
            try:
                await self._advance()
                if told:
                    self._tell_all(0.0)
                told = False
            except StoreError as error:
                # The gateways serve on with what they have, for a while; it is said once, not five times a second.
                if not told:
                    self._report(str(error))
                    self._tell_all(self._measure())
                told = True

    def _tell_all(self, away: float) -> None:
        """Tell now what the heartbeat would."""
        for queue, spoken in list(self._followers.items()):
            self._put(queue, stream.encode(stream.Heartbeat(self._current.revision, spoken, away)))

    def _measure(self) -> float:
        """Return for how many seconds the database was not reached; more than 0, which says that it is."""
        return max(asyncio.get_running_loop().time() - self._reached, 0.001)

    def _judge(self) -> float:
        """Return for how many seconds the database has been away; 0: it is not."""
        away = self._measure()
        return away if away > self._poll + _AWAY_SECONDS else 0.0

    def _put(self, queue: asyncio.Queue[bytes | None], line: bytes) -> None:
        try:
            queue.put_nowait(line)
        except asyncio.QueueFull:
            self._let_go(queue)

    async def _advance(self) -> None:
        async with self._turn:
            await self._follow()

    async def _follow(self) -> None:
        base = self._current.revision
        found = await self._store.read_revision()
        self._reached = asyncio.get_running_loop().time()
        if found == base:
            return
        records = await self._store.read_changes(base)
        if not follows(base, records.revision):
            await self._start_over(base)
            return
        delta = await self._tell_catalog(_tell_changes(base, records))
        self._current = stream.advance(self._current, delta)
        frames = {stream.FORMAT: stream.encode(delta)}
        for queue, spoken in list(self._followers.items()):
            if spoken not in frames:
                told = stream.lower(delta.providers)
                frames[spoken] = stream.encode(msgspec.structs.replace(delta, format=spoken, providers=told))
            self._put(queue, frames[spoken])

    async def _start_over(self, told: int) -> None:
        """Have every gateway begin anew: what they were told did not become what there is now."""
        await self._note_lost(told)
        await self.load()
        for queue in list(self._followers):
            self._let_go(queue)

    async def _note_lost(self, told: int) -> None:
        """Begin an era where the database has lost what was told: its next changes would have the same numbers."""
        with acting_alone("database.set_back", "every account", told=told):
            if await self._store.begin_era(told):
                self._report(f"the database has lost changes that gateways were told, up to {told}: they begin anew")

    async def _tell_catalog(self, delta: stream.Delta) -> stream.Delta:
        """Return the change with what it says of the catalog; of another catalog all that differs from what was told.

        It is read after the records, so that no account is told before its plan.
        """
        await self._catalog.refresh()
        catalog, current = self._catalog.catalog, self._current
        if catalog is self._told:
            return msgspec.structs.replace(delta, models=await self._book.read_changes(delta.base))
        models = await self._book.read()
        self._told = catalog
        changed_models, gone_models = _compare(current.models, models)
        providers, gone_providers = _compare(current.providers, catalog.providers)
        plans, gone_plans = _compare(current.plans, catalog.plans)
        return msgspec.structs.replace(
            delta,
            models=changed_models,
            gone_models=gone_models,
            providers=providers,
            gone_providers=gone_providers,
            plans=plans,
            gone_plans=gone_plans,
        )

    def _let_go(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._followers.pop(queue, None)
        _cut(queue)

    async def subscribe(self, wish: Wish = _PLAIN) -> AsyncIterator[bytes]:
        """Yield frames as lines: what there is, then what changes; ends when the subscriber is let go.

        Raise SnapshotError for a gateway that reads no format of these.
        """
        spoken = stream.choose_format(wish.format)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_LONGEST_QUEUE)
        try:
            async with contextlib.aclosing(self._begin(wish, spoken, queue)) as beginning:
                async for line in beginning:
                    yield line
            while True:
                try:
                    async with asyncio.timeout(self._heartbeat):
                        frame = await queue.get()
                except TimeoutError:
                    # A change that came in this very moment goes first: a heartbeat tells of nothing unsaid.
                    if not queue.empty():
                        continue
                    frame = stream.encode(stream.Heartbeat(self._current.revision, spoken, self._judge()))
                if frame is None:
                    return
                yield frame
        finally:
            self._followers.pop(queue, None)

    async def _begin(self, wish: Wish, spoken: int, queue: asyncio.Queue[bytes | None]) -> AsyncGenerator[bytes, None]:
        """Yield what a subscriber begins with, while its queue already takes the changes that come after it."""
        lines: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        turn = asyncio.Event()
        reading = asyncio.create_task(self._read(wish, spoken, queue, lines, turn))
        waited = 0.0
        try:
            while True:
                try:
                    async with asyncio.timeout(self._heartbeat):
                        line = await lines.get()
                except TimeoutError:
                    waited += self._heartbeat if turn.is_set() else 0.0
                    if away := self._judge():
                        yield stream.encode(stream.Heartbeat(self._current.revision, spoken, away))
                    elif waited <= _LONGEST_READ:
                        yield _WAITING
                    continue
                if line is None:
                    return
                waited = 0.0
                yield line
        finally:
            reading.cancel()

    async def _read(
        self,
        wish: Wish,
        spoken: int,
        queue: asyncio.Queue[bytes | None],
        lines: asyncio.Queue[bytes | None],
        turn: asyncio.Event,
    ) -> None:
        """Read the store for one subscriber, no further ahead than its lines have room; `turn` is set as that begins.

        Who only goes on waits for nobody: what changed is little, and may be a revocation.
        """
        try:
            whole = spoken == 1 or wish.since is None or not follows(wish.since, await self._store.read_revision())
            async with self._wholes if whole else contextlib.nullcontext():
                turn.set()
                while not await self._tell(wish, spoken, queue, lines):
                    pass
            await lines.put(None)
        except (StoreError, _Stalled) as error:
            self._report(f"a gateway was let go: {error}")
            self._let_go(queue)
            # Who begins now would else believe that there is no control plane.
            away = stream.Heartbeat(self._current.revision, spoken, self._measure())
            _cut(lines, *([stream.encode(away)] if isinstance(error, StoreError) else []))

    async def _tell(
        self, wish: Wish, spoken: int, queue: asyncio.Queue[bytes | None], lines: asyncio.Queue[bytes | None]
    ) -> bool:
        """Tell what there is at one revision; False where another change came in between: then nothing was told."""
        since = wish.since if spoken > 1 else None
        if since is not None and not follows(since, await self._store.read_revision()):
            if was_told(since, int(time.time())):
                await self._note_lost(since)
            since = None  # of a database that was restored from a backup since, or that lost its newest changes
        async with self._store.reading(since, spending=wish.spending) as reading:
            revision = await reading.read_revision()
            # After the records, so that no account is told before its plan.
            await self._advance()
            models = await self._book.read()
            current = self._current
            if revision != current.revision:
                return False
            # From here on it misses no change; what takes its time comes after that, or it would have to begin again.
            self._followers[queue] = spoken
            extent = await reading.measure()
            head = msgspec.structs.replace(
                current, models=models, applied=extent.applied, as_of_day=extent.day, since=since,
                spending=since is None or wish.spending,
            )  # fmt: skip
            async for line in _tell_whole(head, reading) if spoken == 1 else _tell_parts(head, extent, reading):
                try:
                    async with asyncio.timeout(_STALLED_SECONDS):
                        await lines.put(line)
                except TimeoutError as error:
                    raise _Stalled("it takes nothing") from error
        return True

    def close(self) -> None:
        """End every subscription."""
        for queue in list(self._followers):
            self._let_go(queue)


def _cut(queue: asyncio.Queue[bytes | None], *last: bytes) -> None:
    """End what a queue says here and now, with these last words."""
    while not queue.empty():
        queue.get_nowait()
    for line in (*last, None):
        queue.put_nowait(line)


async def _tell_parts(head: seam.Head, extent: Extent, reading: Reading) -> AsyncIterator[bytes]:
    """Yield the frames of format 2."""
    yield stream.encode(head)
    async for records in reading.parts():
        yield stream.encode(
            stream.Part(
                tuple(_tell_account(account, records.spending) for account in records.accounts),
                tuple(_tell_key(key, records) for key in records.keys if key.revoked_at is None),
                tuple(key.digest.hex() for key in records.keys if key.revoked_at is not None),
            )
        )
    yield stream.encode(stream.Whole(head.revision, extent.accounts, extent.keys))


async def _tell_whole(head: seam.Head, reading: Reading) -> AsyncIterator[bytes]:
    """Yield the one frame of format 1."""
    accounts: list[seam.Account] = []
    keys: list[seam.Key] = []
    async for records in reading.parts():
        accounts += (_tell_account(account, records.spending) for account in records.accounts)
        keys += (_tell_key(key, records) for key in records.keys)
    yield stream.encode(
        seam.Snapshot(
            head.revision,
            head.plans,
            tuple(accounts),
            tuple(keys),
            head.models,
            stream.lower(head.providers),
            head.applied,
            head.as_of_day,
            head.view_secret,
        )
    )


def _compare(told: tuple[_Named, ...], now: tuple[_Named, ...]) -> tuple[tuple[_Named, ...], tuple[str, ...]]:
    """Return what of now is new or other than what was told, and the names of what is gone."""
    before = {record.name: record for record in told}
    after = {record.name for record in now}
    return (
        tuple(record for record in now if before.get(record.name) != record),
        tuple(name for name in before if name not in after),
    )


def _tell_changes(base: int, records: Records) -> stream.Delta:
    gone = [key for key in records.keys if key.revoked_at is not None]
    return stream.Delta(
        base,
        records.revision,
        accounts=tuple(_tell_account(account, records.spending) for account in records.accounts),
        keys=tuple(_tell_key(key, records) for key in records.keys if key.revoked_at is None),
        gone_keys=tuple(key.id for key in gone),
        gone_digests=tuple(key.digest.hex() for key in gone),
    )


def _tell_account(account: Account, spending: Spending) -> seam.Account:
    return seam.Account(
        id=account.id,
        email=account.email,
        plan=account.plan,
        suspended=account.suspended,
        rpm=account.rpm,
        tpm=account.tpm,
        concurrent=account.concurrent,
        granted=account.granted_nano,
        spent=account.spent_nano,
        spent_month=spending.accounts_month.get(account.id, 0),
        monthly_cap=account.monthly_cap,
    )


def _tell_key(key: Key, records: Records) -> seam.Key:
    spending = records.spending
    settings = key.settings
    return seam.Key(
        id=key.id,
        digest=key.digest.hex(),
        account=key.account,
        name=key.name,
        hint=key.hint,
        models=settings.models,
        expires_at=key.expires_at,
        rpm=settings.rpm,
        tpm=settings.tpm,
        concurrent=settings.concurrent,
        daily_cap=settings.daily_cap,
        monthly_cap=settings.monthly_cap,
        spent_day=spending.keys_day.get(key.id, 0),
        spent_month=spending.keys_month.get(key.id, 0),
        disabled=key.disabled_at is not None,
        scopes=settings.scopes,
        ips=settings.ips,
        keeps=settings.project in records.keeping,
    )
