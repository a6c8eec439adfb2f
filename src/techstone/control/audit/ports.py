"""What the audit room needs of the world: a store that notes every act with the change that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from techstone.control.audit.records import AuditFilter, Entry


class AuditStore(Protocol):
    """Entries by number. The store itself appends one to every change; no entry is ever changed or deleted."""

    async def note(self) -> None:
        """Append the current act by itself, where it changes nothing that is noted with it."""

    async def list_entries(self, filters: AuditFilter, before: int | None, limit: int) -> tuple[Entry, ...]:
        """Return the newest that are wanted, newest first: those before a number, at most so many."""

    async def read_entries(self, after: int, limit: int) -> tuple[Entry, ...]:
        """Return those after a number, oldest first, at most so many."""
