"""Usage records as tests need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core.usage import UsageRecord
from techstone.gateway.ports import StoredAnswer

if TYPE_CHECKING:
    from techstone.core.usage import State

AT = 1_764_000_000_000


def make_record(number: int, state: State = "settled", *, tokens: int = 5, at: int = AT) -> UsageRecord:
    """Return the record of request `r<number>`; one that is open holds twice what it cost so far."""
    return UsageRecord(
        f"r{number}", state, "a1", "k1", "gpt-4o", "up", "up", 200, state == "open", at,
        first_byte=100, duration=2000, prompt_tokens=3, cached_tokens=0, completion_tokens=tokens, reasoning_tokens=0,
        cost=7 * tokens, held=14 * tokens if state == "open" else 0, price=1,
    )  # fmt: skip


def make_answer(number: int, payload: bytes = b"{}", *, key: str | None = None, at: int = AT) -> StoredAnswer:
    """Return the answer to request `r<number>`."""
    return StoredAnswer(
        "a1", key or f"i{number}", b"d" * 32, f"r{number}", stream=False, at=at, cost=35, payload=payload
    )
