"""What a request is counted at: the upstream's own usage where it is plausible, else our own count.

A usage is absurd when it is negative, inconsistent or beyond any model (row M-3: negative, huge, null). Our own count
runs over the text that was delivered, whatever the pieces it came in (row M-8), and keeps at most 4 KiB of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core import tokens
from techstone.wire.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

# Ten times the largest context window on the market (10 M tokens, 2026); above it the number is a defect.
_LARGEST = 100_000_000
_HELD = 4096

_USAGE = msgspec.json.Decoder(Usage)
_TEXT = msgspec.json.Decoder(str)


def read_usage(raw: bytes | msgspec.Raw) -> Usage | None:
    """Return the usage if it is plausible; the total is put right where it alone is wrong."""
    try:
        usage = _USAGE.decode(raw)
    except msgspec.MsgspecError:
        return None
    if not is_plausible(usage):
        return None
    total = usage.prompt_tokens + usage.completion_tokens
    return usage if usage.total_tokens == total else msgspec.structs.replace(usage, total_tokens=total)


def is_plausible(usage: Usage) -> bool:
    """Say whether the counts that are billed can be true."""
    if not (0 <= usage.prompt_tokens <= _LARGEST and 0 <= usage.completion_tokens <= _LARGEST):
        return False
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = prompt.cached_tokens if prompt is not None else None
    reasoning = completion.reasoning_tokens if completion is not None else None
    return 0 <= (cached or 0) <= _LARGEST and 0 <= (reasoning or 0) <= _LARGEST


class Tally:
    """The count of one answer while it goes by. `estimate` gives the prompt's tokens by our own count.

    Each text of it (a choice's content, a tool's arguments) is counted by itself, so that a stream, which interleaves
    them, counts like a whole answer.
    """

    __slots__ = ("_counters", "_estimate", "_held", "_pieces", "size", "usage")

    def __init__(self, estimate: Callable[[], int]) -> None:
        self._estimate = estimate
        self.usage: Usage | None = None
        self.size = 0  # of the texts so far, in bytes or characters: never less than their tokens
        self._counters: dict[tuple[int, str], tokens.Counter] = {}
        self._pieces: list[bytes] = []
        self._held = 0

    def take_escaped(self, piece: bytes) -> None:
        """Take content of choice 0 as it stands between the quotes of a JSON string, checked before."""
        self._pieces.append(piece)
        size = len(piece)
        self.size += size
        self._held += size
        if self._held > _HELD:
            self._flush()

    def take(self, text: str, choice: int, part: str) -> None:
        """Take text of a choice; `part` says which of its texts."""
        if text:
            self._flush()
            self.size += len(text)
            self._count(text, (choice, part))

    def _flush(self) -> None:
        if self._pieces:
            text = _TEXT.decode(b'"' + b"".join(self._pieces) + b'"')
            self._pieces = []
            self._held = 0
            self._count(text, (0, "content"))

    def _count(self, text: str, key: tuple[int, str]) -> None:
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = tokens.Counter()
        counter.feed(text)

    def counted(self) -> Usage:
        """Return our own count of what went by so far."""
        self._flush()
        completion = sum(counter.count for counter in self._counters.values())
        prompt = self._estimate()
        return Usage(prompt, completion, prompt + completion)

    def settled(self) -> Usage:
        """Return what the request is counted at; no tokens at all for a text that came are no count of it."""
        usage = self.usage
        return self.counted() if usage is None or (self.size and not usage.completion_tokens) else usage
