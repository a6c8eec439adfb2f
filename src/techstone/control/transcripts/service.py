"""What may be done with transcripts: keep what a project wants kept, show it to its account, forget it in time.

They are sealed at rest, each for its own request: whoever has the database alone reads no prompt, and cannot put one
request's words into another's page.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import zlib
from typing import TYPE_CHECKING

import msgspec

from techstone.control.acts import acting
from techstone.control.ports import StoreError
from techstone.control.transcripts.records import StoredTranscript, TranscriptShown
from techstone.core.sealing import Unsealable
from techstone.wire.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techstone.control.catalog.ports import Sealer
    from techstone.control.ports import Clock
    from techstone.control.projects.ports import ProjectStore
    from techstone.control.transcripts.ports import TranscriptStore

_DAY = 86_400
_LOG = logging.getLogger("techstone.control")


class Transcripts:
    """Keep, show, forget."""

    def __init__(self, store: TranscriptStore, retention: ProjectStore, sealer: Sealer | None, clock: Clock) -> None:
        self._store = store
        self._retention = retention
        self._sealer = sealer
        self._clock = clock

    async def keep(self, batch: Sequence[Transcript]) -> None:
        """Keep those whose project wants it now; the others are dropped here, whatever a gateway still believed."""
        if self._sealer is None:
            return
        wanted = await self._retention.find_retention({one.key for one in batch})
        chosen = [(one, *wanted[one.key]) for one in batch if one.key in wanted]
        if chosen:
            await self._store.add_transcripts(await asyncio.to_thread(_seal, self._sealer, chosen, self._clock()))

    async def find(self, account: str, request_id: str) -> TranscriptShown | None:
        """Return what an account's request said and was answered, if it is kept and can be opened."""
        found = await self._store.find_transcript(account, request_id, self._clock())
        if found is None or self._sealer is None:
            return None
        try:
            opened = await asyncio.to_thread(self._sealer.open, found.sealed, _name_context(request_id))
        except Unsealable as error:
            _LOG.error("the transcript of %s: %s", request_id, error)
            return None
        kept = msgspec.msgpack.decode(zlib.decompress(opened), type=Transcript)
        return TranscriptShown(request_id, _read(kept.body), _read(kept.answer), kept.cut, found.expires_at)

    async def count(self, project: str) -> int:
        """Return how many of a project are kept."""
        return await self._store.count_transcripts(project, self._clock())

    async def erase(self, project: str, account: str) -> int:
        """Delete all of an account's project now; return how many there were."""
        with acting("project.erase_transcripts", project, account):
            return await self._store.erase_transcripts(project)

    async def run(self, pause: float = 600.0) -> None:
        """Forget what has ended, every so many seconds, until cancelled."""
        while True:
            # A store that fails is the publisher's to tell; what has ended is shown to nobody anyway.
            with contextlib.suppress(StoreError):
                await self._store.forget_transcripts(self._clock())
            await asyncio.sleep(pause)


def _seal(sealer: Sealer, chosen: Sequence[tuple[Transcript, str, int]], now: int) -> list[StoredTranscript]:
    return [
        StoredTranscript(
            one.request_id,
            one.account,
            project,
            one.at // 1000,
            now + days * _DAY,
            sealer.seal(zlib.compress(msgspec.msgpack.encode(one), 1), _name_context(one.request_id)),
        )
        for one, project, days in chosen
    ]


def _name_context(request_id: str) -> str:
    return f"transcript {request_id}"


def _read(text: bytes) -> str:
    """Return a body as it was sent; JSON is set out in lines."""
    with contextlib.suppress(msgspec.MsgspecError):  # an event stream, or what was cut
        text = msgspec.json.format(text, indent=2)
    return text.decode("utf-8", "replace")
