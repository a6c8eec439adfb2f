"""The journal of a gateway that does not come back: read from its folder, or from a copy of it, and booked.

Exactly once, as the gateway itself would have: records go by the journal's id and their numbers, and what the ledger
has it passes over. What ends the requests that it left open was never in the journal: that is booked as a journal of
its own, so that the numbers which follow stay the gateway's. So it does no harm to do it twice, nor where the gateway
comes back all the same; only a stream that it still ran then is not billed for more than the copy had of it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

import msgspec

from techstone.adapters.journal.answers import Answers
from techstone.adapters.journal.commitlog import find_lost
from techstone.adapters.journal.segments import JournalDamaged, JournalInUse, Lock, recover
from techstone.core import frames
from techstone.core.usage import encode

if TYPE_CHECKING:
    from pathlib import Path

    from techstone.adapters.journal.segments import Recovered
    from techstone.control.ledger.records import Applied, Following

# A gateway that lives reports once a second; one that was heard of within this time may be well, or be coming back.
_SILENT_SECONDS = 60.0


class Ledger(Protocol):
    """Who books."""

    async def book(self, journal: str, first: int, body: bytes) -> Applied:
        """Book frames of a journal, from the record of that number on; return how far the ledger has come with it."""

    async def find_journal(self, journal: str) -> Following:
        """Return how far a journal is booked, and when its gateway was heard last."""


class Shipped(msgspec.Struct, frozen=True):
    """What became of it: the journal's id, how many records there are, how many of them the ledger did not have."""

    journal: str
    records: int
    booked: int


async def ship(folder: Path, ledger: Ledger, now: float, *, force: bool = False) -> Shipped:
    """Book what the ledger lacks; raise JournalDamaged, JournalInUse, OSError, and what the ledger raises.

    Requests that the crash left open are ended as at the start of a gateway: for what was written of them last. `now`
    is in unix seconds; `force`: whatever was heard of the gateway, it is known to be dead.
    """
    lock = Lock(folder)
    try:
        recovered = recover(folder, lambda: "")
        if not recovered.journal:
            raise JournalDamaged(f"journal {folder}: there are no files of a journal")
        found = await ledger.find_journal(recovered.journal)
        if found.applied > recovered.last:
            raise JournalDamaged(
                f"journal {folder}: the ledger has {found.applied:,} records of it and it has only "
                f"{recovered.last:,}: it is an older copy, and what the ledger has is all that can be known"
            )
        ends = _find_ends(folder, recovered)
        body = b"".join(ends)
        ending = _name_ends(recovered, body)
        booked = (recovered.last - found.applied, len(ends) - (await ledger.find_journal(ending)).applied)
        if any(booked) and not force:
            _refuse_the_living(recovered.journal, found.heard_at, now)
        for batch in recovered.batches:
            if batch.last > found.applied:
                read = recovered.disk.read_part(batch.segment.path, batch.start, batch.end)
                await _book(ledger, recovered.journal, (batch.first, batch.last), read)
        if booked[1]:
            await _book(ledger, ending, (1, len(ends)), body)
        return Shipped(recovered.journal, recovered.last + len(ends), sum(booked))
    finally:
        lock.release()


def _find_ends(folder: Path, recovered: Recovered) -> list[bytes]:
    """Return, framed, what the gateway would record first if it came back."""
    answers = Answers(folder, recovered.disk)
    try:
        return [frames.frame(encode(record)) for record in find_lost(recovered, answers)]
    finally:
        answers.close()


def _name_ends(recovered: Recovered, body: bytes) -> str:
    """Return the journal that the ends are booked as: another one for each copy that has other ends."""
    return hashlib.sha256(b"%b %d " % (recovered.journal.encode(), recovered.last) + body).hexdigest()[:16]


def _refuse_the_living(journal: str, heard_at: float | None, now: float) -> None:
    if heard_at is not None and now - heard_at <= _SILENT_SECONDS:
        raise JournalInUse(
            f"the gateway of the journal {journal} was heard {max(0.0, now - heard_at):.0f} s ago: if it lives it "
            f"ships by itself. Wait until it was silent for {_SILENT_SECONDS:.0f} s, or say --force if it is known to "
            "be dead"
        )


async def _book(ledger: Ledger, journal: str, numbers: tuple[int, int], body: bytes) -> None:
    first, last = numbers
    applied = (await ledger.book(journal, first, body)).applied
    if applied < last:
        raise JournalDamaged(f"journal {journal}: the ledger took {applied:,} of {last:,} records")
