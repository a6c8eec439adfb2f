"""What an operator can do, whether through a running control plane or straight on the database.

`Operations` is the same rooms either way: the services themselves (`build`), or a client of the internal API
(`adapters.internal`). Whoever holds it cannot tell, and need not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from techstone.control.ports import StoreFacts
from techstone.control.reports.records import Finding

if TYPE_CHECKING:
    from techstone.control.accounts.records import AccountShown, NewAccount, PlanChange
    from techstone.control.audit.records import AuditFilter, EntryShown, Soundness
    from techstone.control.billing.records import (
        AlertShown,
        CodeShown,
        CreatedCode,
        NewCodes,
        NewPrice,
        PriceShown,
        Redeemed,
        Redemption,
    )
    from techstone.control.catalog.records import (
        Addition,
        CatalogEntry,
        ModelShown,
        NewModel,
        NewPlan,
        NewProvider,
        PlanShown,
        ProviderChange,
        ProviderShown,
        Trial,
        TrialShown,
    )
    from techstone.control.identity.records import Claim, PersonShown
    from techstone.control.keys.records import CreatedKey, KeyChange, KeyShown, NewKey
    from techstone.control.ledger.records import (
        Applied,
        Following,
        Grouping,
        RatingSpan,
        RequestShown,
        Rerating,
        UsageShown,
        Violation,
    )
    from techstone.control.projects.records import NewProject, ProjectChange, ProjectShown
    from techstone.control.switches.records import SwitchShown


class Facts(msgspec.Struct, frozen=True):
    """What `doctor` tells about the control plane. `subscribers` is None where no control plane runs.

    `findings` are of a control plane that runs: its gateways, their routes, the checks in the background.
    """

    store: StoreFacts
    revision: int
    accounts: int
    keys: int
    models: int
    providers: int
    subscribers: int | None = None
    findings: tuple[Finding, ...] = ()


class AccountOperations(Protocol):
    """Accounts; `who` is an email or id."""

    async def create(self, wanted: NewAccount) -> AccountShown:
        """Create one; InvalidRequest names the field."""

    async def list(self) -> tuple[AccountShown, ...]:
        """Return all."""

    async def show(self, who: str) -> AccountShown:
        """Return one; NotFound."""

    async def set_plan(self, who: str, change: PlanChange) -> AccountShown:
        """Change its plan, with custom numbers and a cap where there are any."""

    async def set_cap(self, who: str, usd: str) -> AccountShown:
        """Change its cap of a month ("none": no cap) and nothing else."""

    async def add_credit(self, who: str, usd: str) -> AccountShown:
        """Add credit, in USD."""

    async def suspend(self, who: str, *, suspended: bool = True) -> AccountShown:
        """Suspend it or let it in again."""


class KeyOperations(Protocol):
    """Keys; `which` is a key's id or the key itself."""

    async def create(self, wanted: NewKey) -> CreatedKey:
        """Create one and show it, this once."""

    async def list(self, account: str | None = None) -> tuple[KeyShown, ...]:
        """Return those of the account (email or id), or all."""

    async def change(self, which: str, change: KeyChange) -> KeyShown:
        """Change its name and settings; what is left out stays as it is."""

    async def disable(self, which: str) -> KeyShown:
        """Refuse it until it is enabled."""

    async def enable(self, which: str) -> KeyShown:
        """Let it in again."""

    async def revoke(self, which: str) -> KeyShown:
        """End it now."""

    async def rotate(self, which: str, overlap: int = 0) -> CreatedKey:
        """Replace it by a new one of the same settings; the old one stays good for `overlap` seconds."""


class ProjectOperations(Protocol):
    """Projects by id."""

    async def create(self, wanted: NewProject) -> ProjectShown:
        """Create one."""

    async def list(self, account: str | None = None) -> tuple[ProjectShown, ...]:
        """Return those of the account (email or id), or all."""

    async def change(self, project_id: str, change: ProjectChange) -> ProjectShown:
        """Rename it, archive it or take it back."""


class CatalogOperations(Protocol):
    """What is on offer."""

    async def list_models(self) -> tuple[ModelShown, ...]:
        """Return every model."""


class ProviderOperations(Protocol):
    """Providers, those of the configuration and those that were added."""

    async def list(self) -> tuple[ProviderShown, ...]:
        """Return all."""

    async def create(self, wanted: NewProvider) -> ProviderShown:
        """Add one."""

    async def change(self, wanted: ProviderChange) -> ProviderShown:
        """Change one that was added; another address drops its secret."""

    async def switch(self, name: str, *, on: bool) -> ProviderShown:
        """Switch one on or off."""

    async def remove(self, name: str) -> ProviderShown:
        """Forget one that was added."""

    async def test(self, wanted: Trial) -> TrialShown:
        """Ask one for its models, and for one token where a model is named."""


class ModelOperations(Protocol):
    """Models, those of the configuration and those that were added, also those that are off."""

    async def list(self) -> tuple[CatalogEntry, ...]:
        """Return all."""

    async def create(self, wanted: NewModel) -> CatalogEntry:
        """Add one."""

    async def add(self, wanted: Addition) -> tuple[CatalogEntry, ...]:
        """Add several of a provider by their own names."""

    async def change(self, wanted: NewModel) -> CatalogEntry:
        """Put all of one that was added anew."""

    async def switch(self, name: str, *, on: bool) -> CatalogEntry:
        """Switch one on or off."""

    async def remove(self, name: str) -> CatalogEntry:
        """Forget one that was added."""


class PlanOperations(Protocol):
    """Plans, those of the configuration and those that were added."""

    async def list(self) -> tuple[PlanShown, ...]:
        """Return all, with how many accounts are on each."""

    async def create(self, wanted: NewPlan) -> PlanShown:
        """Add one."""

    async def change(self, wanted: NewPlan) -> PlanShown:
        """Give one that was added other numbers."""

    async def remove(self, name: str) -> PlanShown:
        """Forget one that was added."""


class SwitchOperations(Protocol):
    """Feature switches."""

    async def list(self) -> tuple[SwitchShown, ...]:
        """Return all."""

    async def set(self, name: str, *, on: bool | None) -> SwitchShown:
        """Switch a feature on or off, or (None) have its default count again."""


class LedgerOperations(Protocol):
    """Usage and the ledger's soundness."""

    async def book(self, journal: str, first: int, body: bytes) -> Applied:
        """Book a batch of a journal's frames, from the record of that number on; what is booked is passed over."""

    async def find_journal(self, journal: str) -> Following:
        """Return how far a journal is booked, and when its gateway was heard last, as far as is known here."""

    async def list_requests(self, account: str | None, since: int) -> tuple[RequestShown, ...]:
        """Return the requests of an account (email or id; None: all) since a unix time, oldest first."""

    async def sum_usage(
        self, account: str | None, since: int, by: Grouping, project: str | None = None
    ) -> tuple[UsageShown, ...]:
        """Return sums of whole hours since a unix time, of everything or of a project's keys."""

    async def check(self) -> tuple[Violation, ...]:
        """Return every invariant that does not hold."""

    async def rerate(self, span: RatingSpan) -> Rerating:
        """Give settled requests the cost of the prices that were in force then, as they are known now."""


class PriceOperations(Protocol):
    """Prices of the models on offer."""

    async def list(self, model: str | None = None) -> tuple[PriceShown, ...]:
        """Return what is in force and what will be, of one model or of all."""

    async def set(self, wanted: NewPrice) -> tuple[PriceShown, ...]:
        """Set a price from a time on; return the model's prices."""

    async def reset(self, model: str) -> tuple[PriceShown, ...]:
        """Go back to the configured price; return the model's prices."""


class CodeOperations(Protocol):
    """Top-up codes."""

    async def create(self, wanted: NewCodes) -> tuple[CreatedCode, ...]:
        """Create some and show them, this once."""

    async def redeem(self, wanted: Redemption) -> Redeemed:
        """Turn one into credit of an account."""

    async def list(self) -> tuple[CodeShown, ...]:
        """Return all."""

    async def revoke(self, code_id: str) -> CodeShown:
        """End one that nobody has redeemed."""


class AlertOperations(Protocol):
    """Alerts before money runs out."""

    async def list(self, account: str | None = None) -> tuple[AlertShown, ...]:
        """Return those of the account (email or id), or all."""


class ClaimOperations(Protocol):
    """Claims of the cloud."""

    async def make(self, account: str) -> Claim:
        """Make a one-time link by which its operator becomes owner of an account (email or id)."""


class PeopleOperations(Protocol):
    """People who can log in."""

    async def reset_two_factor(self, who: str) -> PersonShown:
        """Remove the second factor of a person (email or id) and end their sessions."""


class AuditOperations(Protocol):
    """Who changed what."""

    async def list(
        self, filters: AuditFilter | None = None, before: int | None = None, limit: int = ...
    ) -> tuple[EntryShown, ...]:
        """Return the newest entries that are wanted, newest first: those before a number; raise AccountNotFound."""

    async def check(self) -> Soundness:
        """Follow the whole chain from its root."""


class Operations(Protocol):
    """Everything together; `close` it when done."""

    @property
    def accounts(self) -> AccountOperations:
        """Accounts."""

    @property
    def keys(self) -> KeyOperations:
        """Keys."""

    @property
    def projects(self) -> ProjectOperations:
        """Projects."""

    @property
    def catalog(self) -> CatalogOperations:
        """Catalog."""

    @property
    def providers(self) -> ProviderOperations:
        """Providers."""

    @property
    def models(self) -> ModelOperations:
        """Models, also those that are off."""

    @property
    def plans(self) -> PlanOperations:
        """Plans."""

    @property
    def switches(self) -> SwitchOperations:
        """Feature switches."""

    @property
    def ledger(self) -> LedgerOperations:
        """Ledger."""

    @property
    def prices(self) -> PriceOperations:
        """Prices."""

    @property
    def codes(self) -> CodeOperations:
        """Codes."""

    @property
    def alerts(self) -> AlertOperations:
        """Alerts."""

    @property
    def claims(self) -> ClaimOperations:
        """Claims."""

    @property
    def people(self) -> PeopleOperations:
        """People."""

    @property
    def audit(self) -> AuditOperations:
        """Audit log."""

    async def doctor(self) -> Facts:
        """Return facts for `doctor`."""

    async def close(self) -> None:
        """Give everything up."""
