"""What the ledger says of one account's money, at one moment: what shared limits begin from."""

from __future__ import annotations

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """As of a UTC day (since 1970-01-01), in nano-dollars: spent ever and this month, by its keys (day, month).

    `applied` is how far the ledger had followed each journal by then: what they have beyond is not in here.
    """

    spent: int
    spent_month: int
    keys: dict[str, tuple[int, int]]
    applied: dict[str, int]
    day: int
