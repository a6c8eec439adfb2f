"""What the room needs of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techstone.control.reports.records import Refusal


class ReportStore(Protocol):
    """Refusals, bounded by account. Nobody's acts: they are in no audit log, and raise no revision."""

    async def add_refusals(self, refusals: Sequence[Refusal]) -> None:
        """Keep them, each once by its request's id; of every account the newest KEPT stay."""

    async def list_refusals(self, account: str, since: int) -> tuple[Refusal, ...]:
        """Return the account's since a unix time in milliseconds, newest first."""

    async def find_refusal(self, account: str, request_id: str) -> Refusal | None:
        """Return the account's of that request."""

    async def forget_refusals(self, before: int) -> None:
        """Delete those from before a unix time in milliseconds."""
