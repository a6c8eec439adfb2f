"""Who was refused lately, by account: for the client that asks why, and in bounded memory.

Kept are the newest refusals of an account, for an hour, and of the accounts those refused last; a client gone wild
fills its own place and nobody else's. Only who is refused pays for it. The clock (unix seconds) comes in.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from math import ceil
from typing import TYPE_CHECKING

from techstone.wire.limits import RefusedRequest

if TYPE_CHECKING:
    from techstone.core.limits import Refusal
    from techstone.core.view import Principal

KEPT = 20
SECONDS = 3600.0
# At 150 bytes a refusal no more than 30 MB, and that only where so many accounts are refused 20 times in an hour.
ACCOUNTS = 10_000


class Refused:
    """The refusals of all accounts."""

    __slots__ = ("_accounts",)

    def __init__(self) -> None:
        # The account that was refused last is last. No plain dict: looking for its first one takes the longer, the
        # more were taken out before it.
        self._accounts: OrderedDict[str, deque[RefusedRequest]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many accounts are remembered."""
        return len(self._accounts)

    def note(self, principal: Principal, refusal: Refusal, model: str | None, now: float) -> None:
        """Remember a refusal; `model` is what was asked for, None where nobody looked."""
        accounts = self._accounts
        account = principal.account.id
        kept = accounts.get(account)
        if kept is None:
            if len(accounts) >= ACCOUNTS:
                accounts.popitem(last=False)
            kept = accounts[account] = deque(maxlen=KEPT)
        else:
            accounts.move_to_end(account)
        wait = refusal.wait
        told = None if wait is None else ceil(wait) or 1  # as `Retry-After`; no wait is longer than 60 s
        kept.append(RefusedRequest(now, refusal.axis, refusal.scope, principal.key.hint, model, told))

    def recall(self, account: str, now: float) -> list[RefusedRequest]:
        """Return an account's refusals of the last hour, newest first."""
        return [refused for refused in reversed(self._accounts.get(account, ())) if now - refused.at < SECONDS]

    def expire(self, now: float) -> None:
        """Forget the accounts that were not refused in the last hour."""
        accounts = self._accounts
        while accounts:
            account, kept = next(iter(accounts.items()))
            if now - kept[-1].at < SECONDS:
                return
            del accounts[account]
