"""Refusals in memory; implements `ReportStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.reports.records import KEPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techstone.control.reports.records import Refusal


class MemoryReports:
    """A list by account, in the order that they came."""

    def __init__(self) -> None:
        self._refusals: dict[str, list[Refusal]] = {}

    async def add_refusals(self, refusals: Sequence[Refusal]) -> None:
        """Keep them, each once by its request's id; of every account the newest KEPT stay."""
        known = {refusal.request_id for kept in self._refusals.values() for refusal in kept}
        for refusal in refusals:
            if refusal.request_id not in known:
                known.add(refusal.request_id)
                kept = self._refusals.setdefault(refusal.account, [])
                kept.append(refusal)
                del kept[:-KEPT]

    async def list_refusals(self, account: str, since: int) -> tuple[Refusal, ...]:
        """Return the account's since a unix time in milliseconds, newest first."""
        kept = self._refusals.get(account, [])
        found = sorted(kept, key=lambda refusal: refusal.at)
        return tuple(refusal for refusal in reversed(found) if refusal.at >= since)

    async def find_refusal(self, account: str, request_id: str) -> Refusal | None:
        """Return the account's of that request."""
        return next((one for one in self._refusals.get(account, []) if one.request_id == request_id), None)

    async def forget_refusals(self, before: int) -> None:
        """Delete those from before a unix time in milliseconds."""
        for account, kept in self._refusals.items():
            self._refusals[account] = [refusal for refusal in kept if refusal.at >= before]
