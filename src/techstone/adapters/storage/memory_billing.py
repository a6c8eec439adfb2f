"""Prices, top-up codes and alerts in memory: the same promises as the database's. For tests and trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.adapters.storage.billing import name_day, name_month
from techstone.control.billing import versions
from techstone.control.billing.records import Alert, Code, Gauge, PriceVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from techstone.adapters.storage.memory_ledger import MemoryLedger
    from techstone.control.accounts.records import Account
    from techstone.control.keys.records import Key
    from techstone.core.pricing import Price


class MemoryBilling:
    """Implements `BillingStore` beside the records of a store.

    `rise` raises its revision and returns that, `note` notes the act.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account],
        keys: Mapping[str, Key],
        ledger: MemoryLedger,
        rise: Callable[[], int],
        note: Callable[[], None],
    ) -> None:
        self._accounts = accounts
        self._keys = keys
        self._ledger = ledger
        self._rise = rise
        self._note = note
        self._prices: list[tuple[int, PriceVersion]] = []
        self._codes: dict[str, Code] = {}
        self._alerts: dict[tuple[str, str, int], Alert] = {}

    async def note_configured(self, configured: Mapping[str, Price], now: int) -> None:
        """Add a version for each model whose newest configured one differs; a model's first is valid from 0."""
        fresh = versions.follow([version for _, version in self._prices], configured, now)
        if fresh:
            self._add(fresh)

    def note_prices(self, configured: Mapping[str, Price], now: int) -> None:
        """Note what is configured, as part of a change that is noted already."""
        self._put(versions.follow([version for _, version in self._prices], configured, now), self._rise())

    async def add_price(self, model: str, price: Price, now: int, *, reset: bool = False) -> None:
        """Add a version; its number is the store's."""
        self._add([PriceVersion(model, price, now, reset)])

    def _add(self, fresh: Sequence[PriceVersion]) -> None:
        self._note()
        self._put(fresh, self._rise())

    def _put(self, fresh: Sequence[PriceVersion], changed: int) -> None:
        for version in fresh:
            price = msgspec.structs.replace(version.price, version=len(self._prices) + 1)
            self._prices.append((changed, msgspec.structs.replace(version, price=price)))

    async def read_prices(self, since: int = 0) -> tuple[PriceVersion, ...]:
        """Return the versions that came after a revision, oldest first."""
        return tuple(version for changed, version in self._prices if changed > since)

    async def add_codes(self, codes: tuple[Code, ...]) -> None:
        """Store them."""
        self._note()
        self._codes.update((code.id, code) for code in codes)

    async def list_codes(self) -> tuple[Code, ...]:
        """Return all, oldest first."""
        return tuple(sorted(self._codes.values(), key=lambda code: (code.created_at, code.id)))

    async def revoke_code(self, code_id: str, at: int) -> Code | None:
        """Revoke a code that is not redeemed; return it as it is then, None where there is none of that id."""
        code = self._codes.get(code_id)
        if code is not None and code.redeemed_at is None and code.revoked_at is None:
            self._note()
            code = self._codes[code_id] = msgspec.structs.replace(code, revoked_at=at)
        return code

    async def redeem_code(self, digest: bytes, account: str, at: int) -> Code | None:
        """Grant a good code's amount to the account and use the code up, both or neither; None where it is not good."""
        for code in self._codes.values():
            unused = code.redeemed_at is None and code.revoked_at is None
            if code.digest == digest and unused and (code.expires_at is None or code.expires_at > at):
                break
        else:
            return None
        if not await self._ledger.grant(account, code.nano, f"code {code.id}"):
            return None
        self._codes[code.id] = msgspec.structs.replace(code, redeemed_at=at, redeemed_by=account)
        return self._codes[code.id]

    async def read_gauges(self, accounts: Collection[str], prepaid: Sequence[str], now: int) -> tuple[Gauge, ...]:
        """Return how far the money of these accounts and their keys is used, where there is a limit to it."""
        (month, _), (day, _) = name_month(now), name_day(now)
        spending = self._ledger.read_spending(now)
        gauges: list[Gauge] = []
        for name in accounts:
            account = self._accounts[name]
            if account.monthly_cap is not None:
                spent = spending.accounts_month.get(name, 0)
                gauges.append(Gauge(name, account.email, name, month, spent, account.monthly_cap))
            if account.plan in prepaid:
                used = self._ledger.spent_since_grant(name)
                had = account.granted_nano - (account.spent_nano - used)
                gauges.append(Gauge(name, account.email, name, f"credit:{account.granted_nano}", used, had))
            for key in self._keys.values():
                for period, sums, cap in (
                    (day, spending.keys_day, key.settings.daily_cap),
                    (month, spending.keys_month, key.settings.monthly_cap),
                ):
                    if key.account == name and cap is not None:
                        gauges.append(Gauge(name, account.email, key.id, period, sums.get(key.id, 0), cap))
        return tuple(gauges)

    async def add_alert(self, alert: Alert) -> bool:
        """Store it; say whether it is the first of its subject, period and threshold."""
        name = (alert.subject, alert.period, alert.percent)
        return self._alerts.setdefault(name, alert) is alert

    async def list_alerts(self, account: str | None = None) -> tuple[Alert, ...]:
        """Return those of the account (id), or all; oldest first."""
        return tuple(alert for alert in self._alerts.values() if account in (None, alert.account))
