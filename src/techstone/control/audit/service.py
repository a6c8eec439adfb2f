"""What may be known of the audit log, and whether it is sound. Nothing here can write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.audit import chain
from techstone.control.audit.records import AuditFilter, EntryShown, Soundness

if TYPE_CHECKING:
    from techstone.control.audit.ports import AuditStore
    from techstone.control.audit.records import Entry
    from techstone.control.ports import Holders

PAGE = 100
_BATCH = 1000


class AuditLog:
    """Show entries, check the chain."""

    def __init__(self, store: AuditStore, holders: Holders) -> None:
        self._store = store
        self._holders = holders

    async def list(
        self, filters: AuditFilter | None = None, before: int | None = None, limit: int = PAGE
    ) -> tuple[EntryShown, ...]:
        """Return the newest entries that are wanted, newest first: those before a number; raise AccountNotFound."""
        wanted = filters or AuditFilter()
        if wanted.account is not None:
            wanted = msgspec.structs.replace(wanted, account=(await self._holders.find(wanted.account)).id)
        found = await self._store.list_entries(wanted, before, limit)
        return tuple(map(_show, found))

    async def check(self) -> Soundness:
        """Follow the whole chain from its root."""
        before, last = chain.ROOT, 0
        while batch := await self._store.read_entries(last, _BATCH):
            for entry in batch:
                if entry.number != last + 1 or entry.digest != chain.seal(before, entry):
                    return Soundness(last, before.hex(), broken=last + 1)
                before, last = entry.digest, entry.number
        return Soundness(last, before.hex())


def _show(entry: Entry) -> EntryShown:
    return EntryShown(**msgspec.structs.asdict(entry) | {"digest": entry.digest.hex()})
