"""Transcripts in memory; implements `TranscriptStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from techstone.control.transcripts.records import StoredTranscript


class MemoryTranscripts:
    """A dict by request; `note` notes the act."""

    def __init__(self, note: Callable[[], None]) -> None:
        self._note = note
        self._kept: dict[str, StoredTranscript] = {}

    async def add_transcripts(self, found: Sequence[StoredTranscript]) -> None:
        """Store them; one that is there already stays as it is."""
        for one in found:
            self._kept.setdefault(one.request_id, one)

    async def find_transcript(self, account: str, request_id: str, now: int) -> StoredTranscript | None:
        """Return the transcript of the account's request, unless it has ended."""
        found = self._kept.get(request_id)
        return found if found is not None and found.account == account and found.expires_at > now else None

    async def count_transcripts(self, project: str, now: int) -> int:
        """Return how many of a project there are that have not ended."""
        return sum(one.project == project and one.expires_at > now for one in self._kept.values())

    async def erase_transcripts(self, project: str) -> int:
        """Delete all of a project; return how many there were."""
        gone = [one.request_id for one in self._kept.values() if one.project == project]
        return self._delete(gone, note=True)

    async def forget_transcripts(self, now: int) -> int:
        """Delete what has ended; return how many."""
        return self._delete([one.request_id for one in self._kept.values() if one.expires_at <= now], note=False)

    def _delete(self, gone: list[str], *, note: bool) -> int:
        if gone and note:
            self._note()
        for request_id in gone:
            del self._kept[request_id]
        return len(gone)
