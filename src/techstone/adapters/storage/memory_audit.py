"""The audit log in memory; implements `AuditStore`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from techstone.control import acts
from techstone.control.audit import chain

if TYPE_CHECKING:
    from techstone.control.audit.records import AuditFilter, Entry


class MemoryAudit:
    """A list; every change of the memory store appends to it."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def append(self) -> None:
        """Append the current act; raise Unnoted."""
        before = self._entries[-1].digest if self._entries else chain.ROOT
        self._entries.append(chain.append(before, len(self._entries) + 1, int(time.time()), *acts.current()))

    async def note(self) -> None:
        """Append the current act by itself."""
        self.append()

    async def list_entries(self, filters: AuditFilter, before: int | None, limit: int) -> tuple[Entry, ...]:
        """Return the newest that are wanted, newest first: those before a number, at most so many."""
        found = [
            entry
            for entry in reversed(self._entries)
            if (before is None or entry.number < before)
            and filters.account in (None, entry.account)
            and filters.actor in (None, entry.actor)
            and (filters.action is None or f"{entry.action}.".startswith(f"{filters.action}."))
        ]
        return tuple(found[:limit])

    async def read_entries(self, after: int, limit: int) -> tuple[Entry, ...]:
        """Return those after a number, oldest first, at most so many."""
        return tuple(self._entries[after : after + limit])
