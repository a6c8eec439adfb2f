"""What this gateway's journal has that the ledger may not have booked yet, of money that Redis counts.

Each charge has its number in the journal, by which Redis takes it once, however often it is sent. The numbers rise, and
are sent in their order; all of it is sent again whenever Redis may have missed some (docs/decisions/0017).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from techstone.core.credit import Period, period_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techstone.core.usage import UsageRecord


class Charge(msgspec.Struct, frozen=True, gc=False):
    """A record's cost, in nano-dollars, in the UTC day and month in which its request was admitted.

    `bounded`: its money had a bound, or may have had: then it waits in Redis where the account's money is not there.
    """

    number: int
    account: str
    key: str
    cost: int
    period: Period
    bounded: bool = True


class Charges:
    """The tail of one journal, oldest first."""

    def __init__(self, journal: str) -> None:
        self.journal = journal
        self._tail: deque[Charge] = deque()

    def __len__(self) -> int:
        """Return how many may not be booked."""
        return len(self._tail)

    def __iter__(self) -> Iterator[Charge]:
        """Yield them, oldest first."""
        return iter(self._tail)

    def add(self, number: int, record: UsageRecord, *, bounded: bool = True) -> Charge | None:
        """Take a record that is durable; None: it costs nothing, or is no end."""
        if record.state == "open" or not record.cost:
            return None
        charge = Charge(number, record.account, record.key, record.cost, period_of(record.at / 1000), bounded)
        self._tail.append(charge)
        return charge

    def keep(self, charge: Charge) -> None:
        """Take one that had no bound and was lost on its way, to its place: numbers only rise."""
        tail = self._tail
        place = len(tail)
        while place and tail[place - 1].number > charge.number:
            place -= 1
        tail.insert(place, charge)

    def shipped(self, applied: int) -> None:
        """Hear how far the ledger has followed the journal."""
        while self._tail and self._tail[0].number <= applied:
            self._tail.popleft()
