"""The rooms' services over one store, built in one place; also how the command line works where no control runs."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from techstone.control.accounts.service import Accounts
from techstone.control.acts import acting
from techstone.control.audit.service import AuditLog
from techstone.control.billing.alerts import Alerts
from techstone.control.billing.codes import Codes
from techstone.control.billing.prices import Prices
from techstone.control.catalog.models import Models
from techstone.control.catalog.plans import Plans
from techstone.control.catalog.ports import Means
from techstone.control.catalog.providers import Providers
from techstone.control.catalog.service import Offers
from techstone.control.identity.claims import Claims
from techstone.control.identity.people import People
from techstone.control.invoicing.service import Invoices
from techstone.control.invoicing.statements import Statements
from techstone.control.keys.service import Keys
from techstone.control.ledger.service import Ledger
from techstone.control.management.service import Management
from techstone.control.operations import Facts
from techstone.control.payments.service import TopUps
from techstone.control.projects.service import Projects
from techstone.control.reports.health import Health
from techstone.control.reports.service import Reports
from techstone.control.switches.service import Switches
from techstone.control.transcripts.service import Transcripts
from techstone.core import tickets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techstone.control.catalog.records import Catalog
    from techstone.control.ports import Clock, Randomness, Store


def _now() -> int:
    return int(time.time())


class Services:
    """All rooms over one store. Implements `Operations`; it does not own the store and leaves it open.

    `seller` is who issues invoices; None: nobody does.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        *,
        clock: Clock = _now,
        randomness: Randomness = secrets.token_bytes,
        means: Means | None = None,
        switches: Mapping[str, bool] | None = None,
    ) -> None:
        self.store = store
        self.now = clock
        self._revision = -1
        means = means or Means()
        self.catalog = Offers(catalog, store.catalog)
        self.accounts = Accounts(store, self.catalog, clock, randomness)
        self.alerts = Alerts(store.billing, self.accounts, self.catalog.prepaid, clock)
        self.prices = Prices(store.billing, self.catalog.models, clock)
        self.ledger = Ledger(store, self.accounts, self.catalog.prepaid, self.alerts.touch, self.prices.histories)
        self.providers = Providers(store.catalog, self.catalog, means, store.audit.note, clock)
        self.models = Models(store.catalog, self.catalog, means, self.prices.note_configured, clock)
        self.plans = Plans(store.catalog, self.catalog, self.accounts)
        self.switches = Switches(store.switches, switches)
        self.codes = Codes(store.billing, self.accounts, clock, randomness)
        self.audit = AuditLog(store.audit, self.accounts)
        self.claims = Claims(store.identity, self.accounts, clock, randomness)
        self.people = People(store.identity, store.credentials)
        self.keys = Keys(store, store.projects, self.accounts, self.catalog, clock, randomness)
        self.projects = Projects(store, self.accounts, clock, randomness)
        self.transcripts = Transcripts(store.transcripts, store.projects, means.sealer, clock)
        self.invoices = Invoices(store.invoices, self.accounts, self.catalog.postpaid, clock)
        self.statements = Statements(store.invoices, clock)
        self.top_ups = TopUps(store.payments, self.accounts, self.invoices, clock, randomness)
        self.reports = Reports(store.reports, store, clock)
        self.health = Health(self.reports, store, self.audit, clock)
        self.management = Management(self.accounts, self.keys, self.projects, self.ledger, self.catalog, clock)

    async def follow(self) -> None:
        """Read the stored catalog and the switches again if anything changed, in whatever process."""
        revision = await self.store.read_revision()
        if revision != self._revision:
            await self.catalog.refresh()
            await self.switches.refresh()
            self._revision = revision

    async def doctor(self) -> Facts:
        """Return facts for `doctor`."""
        await self.follow()
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

    async def make_view_secret(self) -> bytes:
        """Return what view tickets are signed with, made by whoever comes first."""
        with acting("secret.make", "view"):
            return await self.store.keep_secret("view", secrets.token_bytes(tickets.SECRET_BYTES))

    async def close(self) -> None:
        """Nothing to give up."""
