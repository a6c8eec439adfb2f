"""Transcripts in the database; implements `TranscriptStore`. Nothing here raises the store's revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import delete, func, select

from techstone.adapters.storage.dialect import insert_or
from techstone.adapters.storage.schema import TRANSCRIPTS
from techstone.control.transcripts.records import StoredTranscript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techstone.adapters.storage.database import Database

# In one transaction, for which gateways' records wait.
_FORGOTTEN_AT_ONCE = 500


class SqlTranscripts:
    """Beside the ledger, in the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_transcripts(self, found: Sequence[StoredTranscript]) -> None:
        """Store them; one that is there already stays as it is."""
        async with self._database.change(noted=False) as connection:
            # In one order, so that two who store the same ones do not wait for each other.
            rows = [msgspec.structs.asdict(one) for one in sorted(found, key=lambda one: one.request_id)]
            await connection.execute(insert_or(connection, TRANSCRIPTS).on_conflict_do_nothing(), rows)

    async def find_transcript(self, account: str, request_id: str, now: int) -> StoredTranscript | None:
        """Return the transcript of the account's request, unless it has ended."""
        wanted = select(TRANSCRIPTS).where(
            TRANSCRIPTS.c.request_id == request_id, TRANSCRIPTS.c.account == account, TRANSCRIPTS.c.expires_at > now
        )
        async with self._database.look() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else StoredTranscript(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name

    async def count_transcripts(self, project: str, now: int) -> int:
        """Return how many of a project there are that have not ended."""
        wanted = select(func.count()).where(TRANSCRIPTS.c.project == project, TRANSCRIPTS.c.expires_at > now)
        async with self._database.look() as connection:
            return int(await connection.scalar(wanted) or 0)

    async def erase_transcripts(self, project: str) -> int:
        """Delete all of a project; return how many there were."""
        async with self._database.change() as connection:
            done = await connection.execute(delete(TRANSCRIPTS).where(TRANSCRIPTS.c.project == project))
            return done.rowcount

    async def forget_transcripts(self, now: int) -> int:
        """Delete what has ended; return how many."""
        ended = select(TRANSCRIPTS.c.request_id).where(TRANSCRIPTS.c.expires_at <= now).limit(_FORGOTTEN_AT_ONCE)
        forgotten = 0
        while True:
            async with self._database.change(noted=False) as connection:
                done = await connection.execute(delete(TRANSCRIPTS).where(TRANSCRIPTS.c.request_id.in_(ended)))
            forgotten += done.rowcount
            if done.rowcount < _FORGOTTEN_AT_ONCE:
                return forgotten
