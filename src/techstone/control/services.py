"""The rooms' services over one store, built in one place; also how the command line works where no control runs."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from techstone.control.accounts.service import Accounts
from techstone.control.audit.service import AuditLog
from techstone.control.billing.alerts import Alerts
from techstone.control.billing.codes import Codes
from techstone.control.billing.prices import Prices
from techstone.control.catalog.service import Offers
from techstone.control.identity.claims import Claims
from techstone.control.keys.service import Keys
from techstone.control.ledger.service import Ledger
from techstone.control.management.service import Management
from techstone.control.operations import Facts

if TYPE_CHECKING:
    from techstone.control.catalog.records import Catalog
    from techstone.control.ports import Clock, Randomness, Store


def _now() -> int:
    return int(time.time())


class Services:
    """All rooms over one store. Implements `Operations`; it does not own the store and leaves it open."""

    def __init__(
        self, store: Store, catalog: Catalog, *, clock: Clock = _now, randomness: Randomness = secrets.token_bytes
    ) -> None:
        self.store = store
        self.now = clock
        self.catalog = Offers(catalog)
        self.accounts = Accounts(store, self.catalog, clock, randomness)
        prepaid = [plan.name for plan in catalog.plans if plan.billing == "prepaid"]
        self.alerts = Alerts(store.billing, self.accounts, prepaid, clock)
        self.prices = Prices(store.billing, catalog.models, clock)
        self.ledger = Ledger(
            store.ledger, self.accounts, prepaid, self.alerts.touch, self.prices.histories, store.audit.note
        )
        self.codes = Codes(store.billing, self.accounts, clock, randomness)
        self.audit = AuditLog(store.audit)
        self.claims = Claims(store.identity, self.accounts, clock, randomness)
        self.keys = Keys(store, self.accounts, self.catalog, clock, randomness)
        self.management = Management(self.accounts, self.keys, self.ledger, self.catalog, clock)

    async def doctor(self) -> Facts:
        """Return facts for `doctor`."""
        records = await self.store.read_all()
        offered = self.catalog.catalog
        return Facts(
            store=await self.store.read_facts(),
            revision=records.revision,
            accounts=len(records.accounts),
            keys=len(records.keys),
            models=len(offered.models),
            providers=len(offered.providers),
        )

    async def close(self) -> None:
        """Nothing to give up."""
