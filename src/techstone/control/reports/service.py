"""Takes what gateways report: states stay in memory, refusals go into the store. Knows no HTTP and no database."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from techstone.control.ports import StoreError
from techstone.control.reports.records import KEPT_SECONDS, Heard, Refusal, RefusalFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.control.keys.records import Key
    from techstone.control.reports.ports import ReportStore
    from techstone.wire.report import RefusalNote, Report

_EVERYTHING = RefusalFilter()
# Gateways that are silent for a day are gone for good. `docs/scale.md` plans hundreds; the state of one is some KB.
_FORGOTTEN_SECONDS = 86_400
_GATEWAYS = 4096
# Of keys that a gateway does not know, so many are looked up a report: enough for a program that was forgotten.
_LOOKED_UP = 20


class Revoked(Protocol):
    """Knows keys that gateways do not know any more."""

    async def find_key_by_digest(self, digest: bytes) -> Key | None:
        """Return the key of that digest."""


class Reports:
    """Take, list, find, forget. `clock` is in unix seconds."""

    def __init__(self, store: ReportStore, revoked: Revoked, clock: Callable[[], float]) -> None:
        self._store = store
        self._revoked = revoked
        self._clock = clock
        self._gateways: dict[str, Heard] = {}

    async def take(self, report: Report) -> None:
        """Take one report."""
        name = report.gateway.id
        before = self._gateways.pop(name, None)
        if len(self._gateways) >= _GATEWAYS:
            self._gateways.pop(next(iter(self._gateways)))  # who was silent longest
        dropped = report.dropped + (before.dropped if before else 0)
        self._gateways[name] = Heard(report.gateway, self._clock(), dropped)
        if report.refusals:
            known = await self._look_up(report.refusals)
            found = [refusal for note in report.refusals if (refusal := _attribute(note, known)) is not None]
            if found:
                await self._store.add_refusals(found)

    async def _look_up(self, notes: tuple[RefusalNote, ...]) -> dict[str, Key]:
        digests = list(dict.fromkeys(note.digest for note in notes if note.digest))[:_LOOKED_UP]
        found = {digest: await self._revoked.find_key_by_digest(bytes.fromhex(digest)) for digest in digests}
        return {digest: key for digest, key in found.items() if key is not None}

    def gateways(self) -> tuple[Heard, ...]:
        """Return the gateways that were heard within a day, the one that was silent longest first."""
        now = self._clock()
        return tuple(heard for heard in self._gateways.values() if now - heard.at < _FORGOTTEN_SECONDS)

    def heard_at(self, name: str) -> float | None:
        """Return when (unix seconds) the gateway of that id reported last, None where it never did."""
        found = self._gateways.get(name)
        return None if found is None else found.at

    async def list(self, account: str, wanted: RefusalFilter = _EVERYTHING) -> tuple[Refusal, ...]:
        """Return an account's refusals (by its id) that are wanted, newest first."""
        found = await self._store.list_refusals(account, self._oldest())
        return tuple(refusal for refusal in found if wanted.wants(refusal))

    async def find(self, account: str, request_id: str) -> Refusal | None:
        """Return the refusal of a request of an account (by its id)."""
        return await self._store.find_refusal(account, request_id)

    async def run(self, pause: float = 3600.0) -> None:
        """Forget what is older than a day, every so many seconds, until cancelled."""
        while True:
            # A store that fails is the publisher's to tell; what is too old is not listed anyway.
            with contextlib.suppress(StoreError):
                await self._store.forget_refusals(self._oldest())
            await asyncio.sleep(pause)

    def _oldest(self) -> int:
        return int((self._clock() - KEPT_SECONDS) * 1000)


def _attribute(note: RefusalNote, known: dict[str, Key]) -> Refusal | None:
    """Return the refusal with whose it was; None where it was nobody's."""
    account, key = note.account, note.key
    if not account:
        found = known.get(note.digest)
        if found is None:
            return None
        account, key = found.account, found.id
    return Refusal(
        note.request_id,
        account,
        key,
        note.at,
        note.status,
        note.code,
        note.axis,
        note.scope,
        note.wait,
        note.model,
        note.param,
        note.message,
    )
