"""The journal of a gateway that does not come back: read from its folder, or from a copy of it, and booked.

Exactly once, as the gateway itself would have: records go by the journal's id and their numbers, and what the ledger
has it passes over. So it does no harm to do it twice, nor where the gateway comes back all the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from techstone.adapters.journal.segments import JournalDamaged, Lock, recover
from techstone.adapters.journal.writer import JournalWriter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Book = Callable[[str, int, bytes], Awaitable[int]]
    """Books frames of a journal from a number on, and returns how far the ledger has come with it."""

_LARGEST = 1024 * 1024


class Shipped(msgspec.Struct, frozen=True):
    """What became of it: the journal's id, how many records it has, how many of them the ledger did not have."""

    journal: str
    records: int
    booked: int


async def ship(folder: Path, book: Book) -> Shipped:
    """Book what the ledger lacks; raise JournalDamaged, JournalInUse, OSError, and what `book` raises.

    Requests that the crash left open are ended as at the start of a gateway: for what was written of them last.
    """
    lock = Lock(folder)
    try:
        recovered = recover(folder, lambda: "")
        if not recovered.journal:
            raise JournalDamaged(f"journal {folder}: there are no files of a journal")
        known = await book(recovered.journal, 1, b"")
        if known > recovered.last:
            raise JournalDamaged(
                f"journal {folder}: the ledger has {known:,} records of it and it has only {recovered.last:,}: it is "
                "an older copy, and what the ledger has is all that can be known"
            )
        writer = JournalWriter(asyncio.get_running_loop(), folder, recovered)
        writer.close()
        while writer.unshipped:
            batches = writer.gather(_LARGEST)
            first, last = batches[0], batches[-1]
            body = writer.disk.read_part(first.segment.path, first.start, last.end)
            applied = await book(writer.journal, first.first, body)
            if applied < last.last:
                raise JournalDamaged(f"journal {folder}: the ledger took {applied:,} of {last.last:,} records")
            writer.shipped(applied)
        records = writer.segments[-1].last
        return Shipped(writer.journal, records, records - known)
    finally:
        lock.release()
