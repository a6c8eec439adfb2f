"""Looks after the ledger in production: asks its invariants again and again, and says what does not hold.

What reads only little is asked every minute, everything once in six hours: that reads every request.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from techstone.control.ports import Checked, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.control.ledger.records import Violation
    from techstone.control.ledger.service import Ledger

_PAUSE = 60.0
_WHOLE_EVERY = 360


class Audit:
    """The task; `report` takes a line, `pause` is in seconds. `checked` is how the last check went."""

    def __init__(self, ledger: Ledger, report: Callable[[str], None], pause: float = _PAUSE) -> None:
        self._ledger = ledger
        self._report = report
        self._pause = pause
        self._told: set[tuple[str, str]] = set()
        self.checked: Checked | None = None

    async def run(self) -> None:
        """Ask until cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(self._pause)
            turn += 1
            quick = turn % _WHOLE_EVERY != 1
            before = self.checked.whole_at if self.checked else 0.0
            try:
                found = await self._ledger.check(quick=quick)
            except StoreError as error:
                self._report(f"the ledger cannot be checked: {error}")
                self.checked = Checked(time.time(), before, 0, str(error))
                continue
            at = time.time()
            # What only the whole check finds holds until the next whole one says otherwise.
            lasting = self.checked.violations if quick and self.checked else 0
            self.checked = Checked(at, before if quick else at, max(len(found), lasting))
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
