"""The ledger's rules: how a request's state goes on, and which money moves.

Double entry: every transfer moves nano-dollars out of one book into another, so that the sum over all books never
changes. An account has two books, what it may spend (`available`) and what is held for requests that run (`held`); the
house has `funding`, where credit comes from, and `revenue`. States: open → settled | void; what is settled or void
stays so, whatever comes later, which makes every record safe to apply again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from techstone.core.usage import State

if TYPE_CHECKING:
    from techstone.core.usage import UsageRecord

Book = Literal["funding", "available", "held", "revenue"]
Kind = Literal["grant", "charge", "hold", "release", "refund", "surcharge"]

BOOKS: dict[Kind, tuple[Book, Book]] = {
    "grant": ("funding", "available"),
    "charge": ("available", "revenue"),
    "hold": ("available", "held"),
    "release": ("held", "available"),
    "refund": ("revenue", "available"),
    "surcharge": ("available", "revenue"),
}
"""Per kind of transfer: the book that is debited (gives) and the one that is credited (takes).

Refunds and surcharges correct what was charged before. They count with what was granted, which is how they reach the
gateways: those count charges by themselves.
"""


class Transfer(msgspec.Struct, frozen=True, gc=False):
    """So many nano-dollars (more than 0) of an account, moved."""

    kind: Kind
    account: str
    nano: int


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What the ledger has of a request: its state and what is held for it."""

    state: State
    held: int = 0


def advance(current: Standing | None, record: UsageRecord) -> tuple[Standing, list[Transfer]] | None:
    """Return how a request goes on with a record, and the transfers; None where the record changes nothing.

    `current` is None for a request that the ledger has not heard of.
    """
    held = 0
    if current is not None:
        if current.state != "open":
            return None
        held = current.held
    transfers: list[Transfer] = []
    if record.state == "open":
        change = record.held - held
        if change:
            transfers.append(Transfer("hold" if change > 0 else "release", record.account, abs(change)))
        return Standing("open", record.held), transfers
    if held:
        transfers.append(Transfer("release", record.account, held))
    if record.state == "settled" and record.cost:
        transfers.append(Transfer("charge", record.account, record.cost))
    return Standing(record.state), transfers
