"""What the control plane needs of the world: a store.

Every change raises the store's revision by one, in the same transaction, and stamps the records that it touched with
it; so "what changed since revision N" has one exact answer for any number of control processes, and for a command line
that wrote past them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from techstone.control.accounts.records import Account
from techstone.control.keys.records import Key
from techstone.control.ledger.records import Spending

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from techstone.control.accounts.records import Terms
    from techstone.control.audit.ports import AuditStore
    from techstone.control.billing.ports import BillingStore
    from techstone.control.catalog.ports import CatalogStore
    from techstone.control.identity.ports import CredentialStore, IdentityStore
    from techstone.control.invoicing.ports import InvoiceStore
    from techstone.control.keys.records import KeyKind
    from techstone.control.ledger.records import (
        Bucket,
        Following,
        HourSums,
        Line,
        Rating,
        RequestFilter,
        RequestPage,
        Step,
        StoredGrouping,
        Sums,
        Timing,
        Violation,
    )
    from techstone.control.payments.ports import PaymentStore
    from techstone.control.projects.ports import ProjectStore
    from techstone.control.reports.ports import ReportStore
    from techstone.control.switches.ports import SwitchStore
    from techstone.control.transcripts.ports import TranscriptStore
    from techstone.core.snapshot import Plan
    from techstone.core.usage import UsageRecord

    Clock = Callable[[], int]
    """Unix seconds."""

    Randomness = Callable[[int], bytes]
    """That many random bytes, fit for secrets."""


class Offer(Protocol):
    """What is on offer, for the rooms that must not promise anything else."""

    def find_plan(self, name: str | None) -> Plan:
        """Return the plan (None: the first); raise InvalidRequest for `plan`."""

    def has_model(self, name: str) -> bool:
        """Say whether the model is on offer."""


class Holders(Protocol):
    """Who can hold a key."""

    async def find(self, who: str) -> Account:
        """Return the account of that email or id; raise AccountNotFound."""

    async def emails(self, ids: Collection[str] | None = None) -> dict[str, str]:
        """Return the email of each of these accounts, or of every one, by its id."""

    async def count_plans(self) -> dict[str, int]:
        """Return how many accounts are on each plan that any is on."""

    async def on_plans(self, plans: Collection[str]) -> set[str]:
        """Return the ids of the accounts that are on one of these plans."""


class StoreError(Exception):
    """The store cannot be used: one line for the operator."""


class StoreAway(StoreError):
    """The store cannot be reached now: it may come back, and whoever can wait tries again."""


class Taken(Exception):
    """A value that must be unique is in use; `field` says which."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class Records(msgspec.Struct, frozen=True):
    """Records at one revision, read in one transaction. `keeping` are the projects that keep transcripts."""

    revision: int
    accounts: tuple[Account, ...] = ()
    keys: tuple[Key, ...] = ()
    spending: Spending = Spending(0, {}, {}, {}, {})
    keeping: frozenset[str] = frozenset()


class Extent(msgspec.Struct, frozen=True):
    """How much there is at a revision: accounts, and keys for inference that are not revoked.

    `applied` is how far the ledger has followed each journal, `day` the UTC day that spending is told of.
    """

    revision: int
    accounts: int
    keys: int
    applied: dict[str, int]
    day: int


class Reading(Protocol):
    """A look at the records that lasts: all of it is of one moment."""

    async def read_revision(self) -> int:
        """Return the revision that it is of, at once."""

    async def measure(self) -> Extent:
        """Return what there is; comes before `parts`."""

    def parts(self) -> AsyncIterator[Records]:
        """Yield the accounts, then the keys, some thousands at a time; their `revision` says nothing."""


class StoreFacts(msgspec.Struct, frozen=True):
    """What `doctor` tells about the store."""

    kind: str
    location: str
    schema: str
    durable: bool
    size: int  # bytes


class Checked(msgspec.Struct, frozen=True):
    """The last check of the ledger in the background; `whole_at` of the last that asked everything, 0: none yet."""

    at: float
    whole_at: float
    violations: int
    problem: str | None = None


class LedgerStore(Protocol):
    """The ledger: what the gateways' journals say, booked once."""

    async def apply(self, journal: str, first: int, records: Sequence[UsageRecord], base: int | None = None) -> int:
        """Book what is new of a journal's records from number `first` on; return the number of the last one booked.

        `base` is the number of the oldest record that the sender still has, None: of these. Where records are missing
        before `first` that it has, nothing is booked: it is to go back. What it has not is counted as missing.
        """

    async def find_journal(self, journal: str) -> Following:
        """Return how far a journal is booked, and when it was heard last; 0 and never of one that is not known."""

    async def grant(self, account: str, nano: int, note: str) -> bool:
        """Add credit; say whether the account can hold so much."""

    async def list_requests(
        self, account: str | None, since: int, after: str = "", limit: int | None = None
    ) -> tuple[tuple[UsageRecord, str], ...]:
        """Return requests since a unix time in milliseconds, each with its account's email.

        By time of admission and id; those after a request of that id, at most so many.
        """

    async def find_requests(
        self, account: str, filters: RequestFilter, before: str, limit: int
    ) -> RequestPage[UsageRecord] | None:
        """Return a page of the account's requests, newest first by time of admission and id; looks at SEARCHED at most.

        Those before a request of that id ("": the newest); None where the account has no such request.
        """

    async def find_request(self, account: str, request_id: str) -> UsageRecord | None:
        """Return the account's request of that id."""

    async def list_failures(self, account: str, since: int, limit: int) -> tuple[UsageRecord, ...]:
        """Return the account's newest failed requests since a unix time in milliseconds, newest first."""

    async def sum_usage(
        self, account: str | None, since: int, by: StoredGrouping, keys: Collection[str] | None = None
    ) -> tuple[Sums, ...]:
        """Return sums of whole hours (of whole days by day) since a unix time in seconds.

        Of all keys, or of these keys of an account.
        """

    async def sum_by_hour(self, account: str, since: int, keys: Collection[str] | None = None) -> tuple[HourSums, ...]:
        """Return what the account's keys, or these of them, used by the hour since a unix time in seconds.

        By key and hour; an hour in which a key settled nothing is left out.
        """

    async def sum_over_time(self, account: str, since: int, line: Line, step: Step) -> tuple[Bucket, ...]:
        """Return what the account's keys or models used by the hour or day since a unix time in seconds.

        By name and start; of the whole hour or day that the time lies in. What settled nothing is left out.
        """

    async def list_timings(self, since: int, limit: int) -> tuple[Timing, ...]:
        """Return how the newest requests went that were admitted since a unix time in milliseconds, newest first.

        Of all accounts; of the newest `limit` those that have ended.
        """

    async def last_used(self, account: str) -> dict[str, int]:
        """Return when the account's keys were used last (unix ms), by id; a key that never was is left out.

        Exact where that was among the account's NEWEST requests; else the beginning of the hour of the key's last
        settled request: those that came to nothing count among the newest only.
        """

    async def check(self, prepaid: Sequence[str], *, quick: bool = False) -> tuple[Violation, ...]:
        """Return every invariant that does not hold; `prepaid` are the names of prepaid plans.

        `quick`: only what can be asked of a ledger of any size.
        """

    async def read_settled(self, since: int, until: int, after: str, limit: int) -> tuple[UsageRecord, ...]:
        """Return settled requests admitted within [since, until) (unix ms), by time of admission and id.

        Those after a request of that id, at most so many.
        """

    async def rerate(self, ratings: Sequence[Rating]) -> None:
        """Give settled requests other costs, with all that follows; one that has its cost already is left alone."""


class BillingHolder(Protocol):
    """A store that has what the billing room needs, too."""

    @property
    def billing(self) -> BillingStore:
        """Prices, codes and alerts."""


class IdentityHolder(Protocol):
    """A store that has what the identity room needs, too."""

    @property
    def identity(self) -> IdentityStore:
        """People, sessions and one-time links."""

    @property
    def credentials(self) -> CredentialStore:
        """Second factors, and who people are elsewhere."""


class AuditHolder(Protocol):
    """A store that has what the audit room needs, too."""

    @property
    def audit(self) -> AuditStore:
        """Who changed what."""


class CatalogHolder(Protocol):
    """A store that has what the catalog room needs, too."""

    @property
    def catalog(self) -> CatalogStore:
        """What operators added."""


class SwitchHolder(Protocol):
    """A store that has what the room of switches needs, too."""

    @property
    def switches(self) -> SwitchStore:
        """Which features are on."""


class ProjectHolder(Protocol):
    """A store that has what the projects room needs, too."""

    @property
    def projects(self) -> ProjectStore:
        """Projects."""


class InvoiceHolder(Protocol):
    """A store that has what the invoicing room needs, too."""

    @property
    def invoices(self) -> InvoiceStore:
        """Documents, who buys, and what moved on accounts."""


class PaymentHolder(Protocol):
    """A store that has what the payments room needs, too."""

    @property
    def payments(self) -> PaymentStore:
        """Top-ups by card."""


class TranscriptHolder(Protocol):
    """A store that has what the room of transcripts needs, too."""

    @property
    def transcripts(self) -> TranscriptStore:
        """Prompts and answers."""


class ReportHolder(Protocol):
    """A store that has what the room of reports needs, too."""

    @property
    def reports(self) -> ReportStore:
        """Refusals."""


class SecretStore(Protocol):
    """Secrets of the installation's own, by name."""

    async def keep_secret(self, name: str, fresh: bytes) -> bytes:
        """Return the secret of that name; where there is none yet, `fresh` becomes it."""


class AccountStore(Protocol):
    """Accounts by id or email."""

    async def add_account(self, account: Account) -> None:
        """Store it; raise Taken("email")."""

    async def find_account(self, who: str) -> Account | None:
        """Return the account of that id or email."""

    async def list_accounts(self) -> tuple[Account, ...]:
        """Return all, oldest first."""

    async def find_accounts(self, text: str, before: str, limit: int) -> tuple[Account, ...]:
        """Return accounts whose email or id holds a text ("": all), newest first, at most so many.

        Those before an account of that id ("": the newest); none where there is no such account.
        """

    async def count_plans(self) -> dict[str, int]:
        """Return how many accounts are on each plan that any is on."""

    async def list_emails(self, ids: Collection[str] | None = None) -> dict[str, str]:
        """Return the email of each of these accounts that there is, or of every one, by its id."""

    @property
    def ledger(self) -> LedgerStore:
        """What was granted, used and spent."""

    async def set_terms(self, account_id: str, terms: Terms) -> None:
        """Change what is given of plan, custom limits and cap, together."""

    async def set_suspended(self, account_id: str, *, suspended: bool) -> None:
        """Suspend the account or let it in again."""


class KeyStore(Protocol):
    """Keys by id or digest. Keys are never deleted: what was once billed to them must stay explainable."""

    async def add_key(self, key: Key) -> None:
        """Store it; raise Taken("digest")."""

    async def replace_key(self, old_id: str, expires_at: int, new: Key) -> None:
        """Store the new key and bring the old one's end forward to `expires_at`, both or neither."""

    async def find_key(self, key_id: str) -> Key | None:
        """Return the key of that id."""

    async def find_key_by_digest(self, digest: bytes) -> Key | None:
        """Return the key of that digest."""

    async def list_keys(self, account_id: str | None = None, kind: KeyKind | None = None) -> tuple[Key, ...]:
        """Return those of the account, or all, of a kind or of any; oldest first."""

    async def revoke_key(self, key_id: str, at: int) -> None:
        """Revoke it; a revoked key keeps its first time."""

    async def change_key(self, before: Key, after: Key) -> None:
        """Write what `after` has otherwise than `before` of the same key, and nothing else.

        So two may change it at once.
        """


class Store(
    AccountStore,
    KeyStore,
    BillingHolder,
    IdentityHolder,
    AuditHolder,
    CatalogHolder,
    SwitchHolder,
    ProjectHolder,
    InvoiceHolder,
    PaymentHolder,
    ReportHolder,
    TranscriptHolder,
    SecretStore,
    Protocol,
):
    """The control plane's records."""

    async def add_first(self, account: Account, key: Key) -> bool:
        """Store both if there is no account at all; say whether it did (of two processes only one does)."""

    async def read_revision(self) -> int:
        """Return the newest revision."""

    async def begin_era(self, lost: int | None = None) -> bool:
        """Begin an era, after a revision that is lost; say whether it did: not where the newest one is no older.

        None: begin it in any case.
        """

    async def wait(self, longest: float) -> None:
        """Return when the revision may have been raised, after `longest` seconds in any case."""

    async def read_all(self) -> Records:
        """Return every account and every key for inference that is not revoked."""

    async def read_changes(self, since: int) -> Records:
        """Return what changed after the revision, revoked keys for inference included, and the spending of it alone."""

    def reading(
        self, since: int | None = None, *, spending: bool = True
    ) -> contextlib.AbstractAsyncContextManager[Reading]:
        """Begin to read every account and every key for inference that is not revoked.

        `since` a revision: what changed after it, revoked keys included, and where `spending` also who spent anything.
        """

    async def read_one(self, account: str) -> Records:
        """Return one account with its keys for inference that are not revoked, and their spending, of one moment."""

    async def read_facts(self) -> StoreFacts:
        """Return what `doctor` tells."""

    async def close(self) -> None:
        """Give everything up."""
