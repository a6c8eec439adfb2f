"""What the rooms of the store need of a database, and what all of them ask of it.

Two have it: `sqlite` (one file, one machine) and `postgres` (a server, any number of control planes). The rooms speak
SQLAlchemy's Core, which both understand; what the two word differently stands in `dialect`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sqlalchemy import select, update

from techstone.adapters.storage.schema import REVISION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection

    from techstone.control.ledger.records import Rating, Run
    from techstone.control.ports import StoreFacts


class Database(Protocol):
    """A database, open. Every method raises StoreError where it cannot be used."""

    def change(self, *, noted: bool = True) -> AbstractAsyncContextManager[AsyncConnection]:
        """Begin a writing transaction: commits at the end, rolls back on any error.

        What it changed is noted in the audit log as the current act; raise Unnoted where there is none. Of those that
        are noted one runs at a time, whichever process began it: what is read in one stays true in it. `noted` is
        False for what nobody does: what was used last, what has ended; on a server these run side by side.
        """

    def look(self, *, patient: bool = False, lasting: bool = False) -> AbstractAsyncContextManager[AsyncConnection]:
        """Begin a reading transaction: everything in it is of one moment.

        `patient`: a query may take minutes; `lasting`: between two of them a minute may pass.
        """

    async def note(self) -> None:
        """Append the current act to the audit log by itself."""

    async def apply(self, journal: str, run: Run, now: int) -> int:
        """Book what is new of a run of a journal's records, in one transaction, as `LedgerStore.apply` says.

        Return the number of the last one booked. `now` is in unix seconds.
        """

    async def rerate(self, ratings: Sequence[Rating], now: int) -> None:
        """Give settled requests other costs, with all that follows. `now` is in unix milliseconds."""

    async def read_revision(self) -> int:
        """Return the newest revision."""

    async def wait(self, longest: float) -> None:
        """Return when the revision may have been raised, after `longest` seconds in any case."""

    async def read_facts(self) -> StoreFacts:
        """Return what `doctor` tells."""

    async def upgrade(self) -> None:
        """Bring it to the newest schema; of any number of processes that begin at once one does."""

    async def close(self) -> None:
        """Give everything up."""


async def number_of(connection: AsyncConnection) -> int:
    """Return the newest revision, as of a transaction."""
    return int(await connection.scalar(select(REVISION.c.number)) or 0)


async def raise_revision(connection: AsyncConnection) -> int:
    """Raise the revision and return it.

    Its row is locked until the transaction ends: a revision that is seen has all before it, without a gap.
    """
    await connection.execute(update(REVISION).values(number=REVISION.c.number + 1))
    return await number_of(connection)
