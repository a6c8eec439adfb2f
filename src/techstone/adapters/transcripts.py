"""Ships transcripts to the control plane. What it does not take is shipped again, as far as there is room for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.adapters.errand import Errand
from techstone.gateway.ports import UpstreamProblem

if TYPE_CHECKING:
    from techstone.adapters.errand import Line
    from techstone.gateway.transcripts import Transcripts

PAUSE_SECONDS = 0.5
_SHIPPED_AT_ONCE = 4 * 1024 * 1024


def ship(line: Line, transcripts: Transcripts) -> Errand:
    """Return the errand that ships what waits."""

    async def attempt() -> bool:
        batch = transcripts.pick(_SHIPPED_AT_ONCE)
        if not batch:
            return False
        try:
            await line.post("transcripts", "application/msgpack", msgspec.msgpack.encode(batch))
        except (UpstreamProblem, OSError):
            return False  # control is away, or busy: the same batch again, later
        transcripts.done(len(batch))
        return True

    return Errand(attempt, PAUSE_SECONDS)
