"""A transcript: what a request said and what it was answered, kept where its project wants that, and nowhere else."""

from __future__ import annotations

import msgspec


class Transcript(msgspec.Struct, frozen=True):
    """As a gateway ships it, in MessagePack; `at` is unix milliseconds. `cut`: one of the two was longer than kept."""

    request_id: str
    account: str
    key: str
    at: int
    body: bytes
    answer: bytes
    cut: bool = False

    def __repr__(self) -> str:
        """Leave the texts out: a traceback or a log line must not show them."""
        return f"Transcript({self.request_id})"

    __str__ = __repr__


Batch = tuple[Transcript, ...]
"""What is shipped at once."""
