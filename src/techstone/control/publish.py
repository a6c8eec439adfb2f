"""Publishes the snapshot to the gateways: one whole, then every change, and a heartbeat while there is none.

The store says what changed since a revision; so it does not matter which process made the change. A subscriber that
does not keep up is let go: it comes back and gets the whole.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from techstone.control.billing.prices import PriceBook
from techstone.control.ports import StoreError
from techstone.core import snapshot as seam
from techstone.wire.figure import Figure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from techstone.control.accounts.records import Account
    from techstone.control.catalog.records import Catalog
    from techstone.control.catalog.service import Offers
    from techstone.control.keys.records import Key
    from techstone.control.ledger.records import Spending
    from techstone.control.ports import Records, Store

_Named = TypeVar("_Named", seam.Model, seam.Provider, seam.Plan)

# So many frames may wait for one subscriber: some minutes of a busy day.
_LONGEST_QUEUE = 1000


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
        self._current = seam.Snapshot(0)
        self._turn = asyncio.Lock()
        self._followers: set[asyncio.Queue[bytes | None]] = set()

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
        """Read the whole; must be done before `run` and `subscribe`."""
        self._current = await self._read()

    async def _read(self) -> seam.Snapshot:
        records = await self._store.read_all()
        # After the records, so that no account is told before its plan.
        await self._catalog.refresh()
        catalog = self._catalog.catalog
        return seam.Snapshot(
            records.revision,
            plans=catalog.plans,
            accounts=tuple(_tell_account(account, records.spending) for account in records.accounts),
            keys=tuple(_tell_key(key, records) for key in records.keys),
            # After the records: what is newer than these is told again by the change that it belongs to.
            models=await self._book.read(),
            providers=catalog.providers,
            applied=records.spending.applied,
            as_of_day=records.spending.day,
            view_secret=self._view_secret,
        )

    async def _refresh(self) -> seam.Snapshot:
        """Return the whole as it is now: what was spent changes all the time, without a revision of its own."""
        while True:
            await self._advance()
            fresh = await self._read()
            if fresh.revision == self._current.revision:
                return fresh

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
            await asyncio.sleep(self._poll)
            try:
                await self._advance()
                told = False
            except StoreError as error:
                # The gateways serve on with what they have; the line is said once, not five times a second.
                if not told:
                    self._report(str(error))
                told = True

    async def _advance(self) -> None:
        async with self._turn:
            await self._follow()

    async def _follow(self) -> None:
        base = self._current.revision
        if await self._store.read_revision() == base:
            return
        delta = await self._tell_catalog(_tell_changes(base, await self._store.read_changes(base)))
        self._current = seam.advance(self._current, delta)
        frame = seam.encode(delta)
        for queue in list(self._followers):
            try:
                queue.put_nowait(frame)
            except asyncio.QueueFull:
                self._let_go(queue)

    async def _tell_catalog(self, delta: seam.Delta) -> seam.Delta:
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
        self._followers.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)

    async def subscribe(self) -> AsyncIterator[bytes]:
        """Yield frames as lines: the whole snapshot, then what changes; ends when the subscriber is let go."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_LONGEST_QUEUE)
        whole = await self._refresh()
        self._followers.add(queue)
        try:
            yield seam.encode(whole)
            while True:
                try:
                    async with asyncio.timeout(self._heartbeat):
                        frame = await queue.get()
                except TimeoutError:
                    # A change that came in this very moment goes first: a heartbeat tells of nothing unsaid.
                    if not queue.empty():
                        continue
                    frame = seam.encode(seam.Heartbeat(self._current.revision))
                if frame is None:
                    return
                yield frame
        finally:
            self._followers.discard(queue)

    def close(self) -> None:
        """End every subscription."""
        for queue in list(self._followers):
            self._let_go(queue)


def _compare(told: tuple[_Named, ...], now: tuple[_Named, ...]) -> tuple[tuple[_Named, ...], tuple[str, ...]]:
    """Return what of now is new or other than what was told, and the names of what is gone."""
    before = {record.name: record for record in told}
    after = {record.name for record in now}
    return (
        tuple(record for record in now if before.get(record.name) != record),
        tuple(name for name in before if name not in after),
    )


def _tell_changes(base: int, records: Records) -> seam.Delta:
    return seam.Delta(
        base,
        records.revision,
        accounts=tuple(_tell_account(account, records.spending) for account in records.accounts),
        keys=tuple(_tell_key(key, records) for key in records.keys if key.revoked_at is None),
        gone_keys=tuple(key.id for key in records.keys if key.revoked_at is not None),
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
