"""The audit: the ledger's invariants on a timer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from techstone.control.ledger.audit import Audit

if TYPE_CHECKING:
    from rooms import House


async def test_what_does_not_hold_is_said_once(house: House) -> None:
    """A violation is told when it is found, and not again every minute."""
    told: list[str] = []
    await house.store.ledger.apply("a" * 16, 5, [])
    running = asyncio.create_task(Audit(house.services.ledger, told.append, pause=0.0).run())
    for _ in range(50):
        await asyncio.sleep(0)
    running.cancel()
    where = "journal aaaaaaaaaaaaaaaa"
    assert told == [f"ledger: no journal has gaps: {where}: expected 0 records missing, found 4 records missing"]
