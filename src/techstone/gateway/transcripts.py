"""Transcripts on their way to the control plane: a bounded heap beside the requests, which none of them waits for.

They are no books: where control is away for long, or more comes than it takes, what does not fit is dropped and
counted. What is billed is in the journal.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from techstone.wire.transcript import Transcript

if TYPE_CHECKING:
    from techstone.core.snapshot import Key

LARGEST = 1024 * 1024
"""Bytes of a body, and of an answer, that are kept at most."""
ROOM = 32 * 1024 * 1024
_OVERHEAD = 512  # of a transcript itself


class Transcripts:
    """What waits to be shipped, oldest first."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._waiting: deque[Transcript] = deque()
        self.size = 0
        self.dropped = 0

    def take(self, request_id: bytes, key: Key, at: int, body: bytes, answer: bytes) -> None:
        """Take a request's transcript."""
        cut = len(body) > LARGEST or len(answer) > LARGEST
        made = Transcript(request_id.decode(), key.account, key.id, at, body[:LARGEST], answer[:LARGEST], cut)
        if self.size + _weigh(made) > self._room:
            self.dropped += 1
            return
        self.size += _weigh(made)
        self._waiting.append(made)

    def pick(self, most: int) -> tuple[Transcript, ...]:
        """Return what is to be shipped next: of at most so many bytes, but at least one. It stays until `done`."""
        picked: list[Transcript] = []
        weight = 0
        for one in self._waiting:
            weight += _weigh(one)
            if picked and weight > most:
                break
            picked.append(one)
        return tuple(picked)

    def done(self, count: int) -> None:
        """Let go of the first, which are shipped."""
        for _ in range(count):
            self.size -= _weigh(self._waiting.popleft())


def _weigh(transcript: Transcript) -> int:
    return len(transcript.body) + len(transcript.answer) + _OVERHEAD
