"""Looks after the ledger in production: asks its invariants again and again, and says what does not hold.

What reads only little is asked every minute, everything once in six hours: that reads every request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from techstone.control.ports import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.control.ledger.records import Violation
    from techstone.control.ledger.service import Ledger

_PAUSE = 60.0
_WHOLE_EVERY = 360


class Audit:
    """The task; `report` takes a line, `pause` is in seconds."""

    def __init__(self, ledger: Ledger, report: Callable[[str], None], pause: float = _PAUSE) -> None:
        self._ledger = ledger
        self._report = report
        self._pause = pause
        self._told: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Ask until cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(self._pause)
            turn += 1
            try:
                found = await self._ledger.check(quick=turn % _WHOLE_EVERY != 1)
            except StoreError as error:
                self._report(f"the ledger cannot be checked: {error}")
                continue
            for violation in found:
                self._tell(violation)

    def _tell(self, violation: Violation) -> None:
        """Say it, once."""
        name = (violation.rule, violation.where)
        if name not in self._told:
            self._told.add(name)
            self._report(
                f"ledger: {violation.rule}: {violation.where}: expected {violation.expected}, found {violation.found}"
            )
