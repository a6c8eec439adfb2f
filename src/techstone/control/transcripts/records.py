"""Transcripts as they are stored and as they are shown. Times are unix seconds."""

from __future__ import annotations

import msgspec


class StoredTranscript(msgspec.Struct, frozen=True):
    """A request's prompt and answer, compressed and sealed; good until `expires_at`."""

    request_id: str
    account: str
    project: str
    at: int
    expires_at: int
    sealed: bytes


class TranscriptShown(msgspec.Struct, frozen=True):
    """A request's prompt and answer as people see them; `cut`: one of the two was longer than is kept."""

    request_id: str
    body: str
    answer: str
    cut: bool
    expires_at: int
