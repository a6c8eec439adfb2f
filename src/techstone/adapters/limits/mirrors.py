"""What Redis said last of accounts and keys: for the headers of answers, which nobody asks Redis again for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core.credit import Spending
from techstone.core.limits import AccountBooks, KeyBooks
from techstone.core.window import SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.adapters.limits.script import Standing
    from techstone.core.view import Principal
    from techstone.core.window import Window


class Mirrors:
    """Books that are read, never decided by. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._accounts: dict[str, AccountBooks] = {}
        self._keys: dict[str, KeyBooks] = {}

    def open(self, principal: Principal) -> tuple[AccountBooks, KeyBooks]:
        """Return what is known of who asks; at first nothing."""
        account = self._accounts.get(principal.account.id)
        if account is None:
            account = self._accounts[principal.account.id] = AccountBooks(0, Spending(0))
        key = self._keys.get(principal.key.id)
        if key is None:
            key = self._keys[principal.key.id] = KeyBooks(Spending(0), Spending(0))
        return account, key

    def take(self, principal: Principal, standing: Standing) -> tuple[AccountBooks, KeyBooks]:
        """Take what Redis says now, and return it."""
        account, key = self.open(principal)
        then = self._clock() - SECONDS
        account.window.resume(standing.requests, standing.tokens, then + standing.reset)
        if principal.key_limited:
            key.window.resume(standing.key_requests, standing.key_tokens, then + standing.key_reset)
        return account, key

    def forget(self) -> None:
        """Forget all: Redis has."""
        self._accounts.clear()
        self._keys.clear()

    def sweep(self) -> None:
        """Forget what is over; it is there anew with the next verdict."""
        now = self._clock()
        for name in [name for name, books in self._accounts.items() if _is_over(books.window, now)]:
            del self._accounts[name]
        for name in [name for name, own in self._keys.items() if _is_over(own.window, now)]:
            del self._keys[name]


def _is_over(window: Window, now: float) -> bool:
    window.expire(now)
    return not window.requests and not window.tokens
