"""What requests hold that this gateway admitted: by Redis's word, or by its own while Redis is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core.limits import Grant

if TYPE_CHECKING:
    from techstone.core.credit import Period
    from techstone.core.limits import AccountBooks, Claim, KeyBooks
    from techstone.core.view import Principal


class Held(Grant):
    """What Redis granted. `pending` top-ups were not answered yet: until then their entries are not known."""

    __slots__ = ("ending", "key_taken", "pending", "taken")

    def __init__(self, claim: Claim, account: AccountBooks, key: KeyBooks, period: Period) -> None:
        super().__init__(claim, account, key, period)
        self.taken: list[tuple[int, int]] = []
        self.key_taken: list[tuple[int, int]] = []
        self.pending = 0
        self.ending: tuple[int, int, int] | None = None


class Share(Grant):
    """What this gateway granted by itself, as its own books have it; `whole` is who asked, with all of the limits."""

    __slots__ = ("own", "whole")

    def __init__(self, whole: Principal, own: Grant) -> None:
        super().__init__(own.claim, own.account, own.key, own.period)
        self.whole = whole
        self.own = own


def find_principal(grant: Held | Share | Grant) -> Principal:
    """Return who asked, with all of his limits."""
    return grant.whole if isinstance(grant, Share) else grant.claim.principal
