"""What the room of transcripts needs of the world: a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techstone.control.transcripts.records import StoredTranscript


class TranscriptStore(Protocol):
    """Transcripts by request."""

    async def add_transcripts(self, found: Sequence[StoredTranscript]) -> None:
        """Store them; one that is there already stays as it is."""

    async def find_transcript(self, account: str, request_id: str, now: int) -> StoredTranscript | None:
        """Return the transcript of the account's request, unless it has ended."""

    async def count_transcripts(self, project: str, now: int) -> int:
        """Return how many of a project there are that have not ended."""

    async def erase_transcripts(self, project: str) -> int:
        """Delete all of a project; return how many there were."""

    async def forget_transcripts(self, now: int) -> int:
        """Delete what has ended; return how many."""
