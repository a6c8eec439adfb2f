"""Alerts at 80 % and 100 % of prepaid credit and of caps, each once per period. No HTTP, no database.

Bookings only say whose account they touched; what follows from that is looked at apart, at most once a second for all
accounts together, so that a booking costs nothing more for it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from techstone.control.billing.records import Alert, AlertShown
from techstone.control.ports import StoreError
from techstone.core import money

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from techstone.control.billing.ports import BillingStore, Notifier
    from techstone.control.billing.records import Gauge
    from techstone.control.ports import Clock, Holders

PERCENTS = (80, 100)
_PAUSE = 1.0
# So many alerts are known without asking the store: some 20 MB.
_REMEMBERED = 100_000


def reached(gauge: Gauge) -> tuple[int, ...]:
    """Return the thresholds that a gauge has reached; a limit of nothing has none."""
    return tuple(percent for percent in PERCENTS if gauge.limit > 0 and gauge.spent * 100 >= gauge.limit * percent)


class Alerts:
    """Look at accounts that were touched, and tell what is new. `prepaid` gives the names of prepaid plans."""

    def __init__(
        self, store: BillingStore, holders: Holders, prepaid: Callable[[], Sequence[str]], clock: Clock
    ) -> None:
        self._store = store
        self._holders = holders
        self._prepaid = prepaid
        self._clock = clock
        self._touched: set[str] = set()
        self._waiting = asyncio.Event()
        # What was told already, so that nothing is written again and again for an account above a threshold.
        self._told: set[tuple[str, str, int]] = set()

    def touch(self, accounts: Iterable[str]) -> None:
        """Note that money of these accounts (ids) moved."""
        self._touched.update(accounts)
        if self._touched:
            self._waiting.set()

    async def run(self, notifier: Notifier) -> None:
        """Look at every account once, for what a crash came before, then at what is touched, for ever."""
        touched: set[str] = set()
        begun = False
        while True:
            try:
                if not begun:
                    self.touch(await self._holders.emails())
                    begun = True
                await self._waiting.wait()
                self._waiting.clear()
                touched, self._touched = self._touched, set()
                await self.look(touched, notifier)
            except StoreError:
                # The publisher says that the store fails; these accounts are looked at again.
                self.touch(touched)
            await asyncio.sleep(_PAUSE)

    async def look(self, accounts: Collection[str], notifier: Notifier) -> None:
        """Store and tell every alert of these accounts that is new."""
        now = self._clock()
        for gauge in await self._store.read_gauges(accounts, self._prepaid(), now):
            for percent in reached(gauge):
                told = (gauge.subject, gauge.period, percent)
                if told in self._told:
                    continue
                alert = Alert(gauge.account, gauge.subject, gauge.period, percent, now, gauge.spent, gauge.limit)
                new = await self._store.add_alert(alert)
                if len(self._told) >= _REMEMBERED:
                    self._told.clear()
                self._told.add(told)
                if new:
                    await notifier.notify(alert, gauge.email)

    async def list(self, account: str | None = None) -> tuple[AlertShown, ...]:
        """Return those of the account (email or id), or all; oldest first."""
        found = await self._store.list_alerts(None if account is None else (await self._holders.find(account)).id)
        emails = await self._holders.emails({alert.account for alert in found})
        return tuple(_show(alert, emails.get(alert.account, alert.account)) for alert in found)


def tell(alert: Alert, email: str) -> str:
    """Return an alert as one line."""
    amounts = f"{money.show(alert.spent)} of {money.show(alert.limit)} USD"
    return f"{email} has used {alert.percent} % of {_name(alert)}: {amounts}"


def _name(alert: Alert) -> str:
    kind, _, value = alert.period.partition(":")
    if kind == "credit":
        return "its credit"
    cap = f"the cap of {'this day' if kind == 'day' else 'this month'} ({value})"
    return cap if alert.subject == alert.account else f"{cap} of the key {alert.subject}"


def _show(alert: Alert, email: str) -> AlertShown:
    return AlertShown(
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(alert.at)),
        account=email,
        subject=alert.subject,
        period=alert.period,
        percent=alert.percent,
        spent=money.show(alert.spent),
        limit=money.show(alert.limit),
    )
