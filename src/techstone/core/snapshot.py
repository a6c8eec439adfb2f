"""THE SEAM: what the control plane tells the gateway, as one immutable, versioned value and the changes to it.

The gateway decides every request from a `View` of the newest `Snapshot`: keys, accounts, plans, models, routes. It
never asks back. How it travels, whole and in changes, is `core.stream`'s. No secret of a customer is readable in here:
keys by SHA-256 digest, providers by the name of the environment variable that holds their key, or with their secret
sealed (`core.sealing`). `view_secret`, by which view tickets are known, never lies on a gateway's disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from techstone.core.networks import Networks, compile_list
from techstone.core.pricing import Price

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from techstone.core.stream import Delta

UpstreamKind = Literal["openai", "vllm", "sglang", "ray-serve", "llama.cpp", "ollama"]
"""What an operator may connect: any server with OpenAI's API, or an engine that tells how it is (`core.engines`)."""
ProviderKind = Literal[UpstreamKind, "engine"]
Routing = Literal["affinity", "least-busy", "weighted"]
"""How a provider's replicas are chosen from: `core.replicas`."""
KINDS: frozenset[str] = frozenset(get_args(ProviderKind))
ROUTINGS: frozenset[str] = frozenset(get_args(Routing))
Billing = Literal["prepaid", "postpaid"]


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """Limits per account: requests and tokens in any 60 s, requests at a time."""

    name: str
    rpm: int
    tpm: int
    concurrent: int
    billing: Billing


class Limits(msgspec.Struct, frozen=True):
    """Requests and tokens in any 60 s, requests at a time."""

    rpm: int
    tpm: int
    concurrent: int


class Account(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Who pays. Money is in nano-dollars; `granted` and `spent` count from the beginning, `spent_month` this month's.

    `rpm`, `tpm` and `concurrent` are custom numbers; None: the plan's.
    """

    id: str
    email: str
    plan: str
    suspended: bool = False
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    granted: int = 0
    spent: int = 0
    spent_month: int = 0
    monthly_cap: int | None = None


class Key(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An API key as the gateway knows it: never the key, only the SHA-256 digest of the whole of it (64 hex digits).

    `scopes` (of `keys.Scope`) and `ips` (addresses and networks, normalised): None: all.
    """

    id: str
    digest: str
    account: str
    name: str
    hint: str  # prefix and last four characters, for people
    models: tuple[str, ...] | None = None  # None: every model
    expires_at: int | None = None  # unix seconds; None: never
    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    daily_cap: int | None = None  # nano-dollars, as the next three
    monthly_cap: int | None = None
    spent_day: int = 0
    spent_month: int = 0
    disabled: bool = False
    scopes: tuple[str, ...] | None = None
    ips: tuple[str, ...] | None = None
    keeps: bool = False


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds: connect, first byte of the answer, between two reads, whole exchange."""

    connect: float = 5.0
    first_byte: float = 60.0
    between_bytes: float = 60.0
    total: float = 600.0


class Replica(msgspec.Struct, frozen=True):
    """One of several servers that a provider is; a larger weight is given more requests."""

    base_url: str
    weight: int = 1


class Provider(msgspec.Struct, frozen=True):
    """An upstream: OpenAI's API at `base_url` (may have a path; `/chat/completions` is appended).

    `base_url` and the headers may be `${NAME}`: what the gateway's environment has by that name. `secret` is the key,
    sealed, in base64. `replicas` are all servers where there are several, `base_url` is then the first one's.
    `routing` None: as the kind has it. `metrics_port` is where an engine tells its load, if not at its address.

    Kind (of KINDS) and routing (of ROUTINGS) are text, as a newer control plane may have others: a gateway that refused
    the frame would serve on by what it has, and not hear of revoked keys. It leaves out the provider alone.
    """

    name: str
    kind: str  # of KINDS
    base_url: str
    api_key_env: str | None = None
    headers: dict[str, str] = {}
    timeouts: Timeouts = Timeouts()
    secret: str | None = None
    replicas: tuple[Replica, ...] = ()
    routing: str | None = None  # of ROUTINGS
    metrics_port: int | None = None

    @property
    def servers(self) -> tuple[Replica, ...]:
        """Every server that it is; at least one."""
        return self.replicas or (Replica(self.base_url),)


class Route(msgspec.Struct, frozen=True):
    """One way to serve a model: the provider and the model's name there. Lower priority is tried first."""

    provider: str
    model: str
    weight: int = 1
    priority: int = 0


class Model(msgspec.Struct, frozen=True):
    """A model by the name that clients ask for. `created` is in unix seconds."""

    name: str
    routes: tuple[Route, ...]
    created: int = 0
    owned_by: str = "techstone"
    context_window: int | None = None
    max_output_tokens: int | None = None
    prices: tuple[Price, ...] = ()  # versions by `valid_from`, oldest first; one is in force


class Head(msgspec.Struct, frozen=True, tag="head"):
    """What there is but for accounts and keys, at one revision.

    `applied` is how far the ledger had followed each journal when `spent` and its like were read, `as_of_day` the UTC
    day (since 1970-01-01) that they are of. `since`: what follows goes on top of the revision of that number, which the
    reader has; None: it is all that there is. `spending`: what was spent is told of everybody who spent anything.
    """

    revision: int
    plans: tuple[Plan, ...] = ()
    models: tuple[Model, ...] = ()
    providers: tuple[Provider, ...] = ()
    applied: dict[str, int] = {}
    as_of_day: int = 0
    view_secret: str = ""  # hexadecimal; empty: there are no tickets
    since: int | None = None
    spending: bool = True
    format: int = 2


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """Everything, at one revision and in one frame: what a gateway of format 1 is told, and what is small."""

    revision: int
    plans: tuple[Plan, ...] = ()
    accounts: tuple[Account, ...] = ()
    keys: tuple[Key, ...] = ()
    models: tuple[Model, ...] = ()
    providers: tuple[Provider, ...] = ()
    applied: dict[str, int] = {}
    as_of_day: int = 0
    view_secret: str = ""
    format: int = 1

    def head(self) -> Head:
        """Return all but accounts and keys."""
        return Head(
            self.revision,
            self.plans,
            self.models,
            self.providers,
            self.applied,
            self.as_of_day,
            self.view_secret,
        )


class Principal(msgspec.Struct, frozen=True):
    """Who asks: the key, its account, the account's plan and what limits it.

    `key_limited`: the key has limits of its own, which stand in it. `bounded`: there is a bound to the money that may
    be spent, credit or a cap. `networks` is where requests may come from; None: anywhere. `fenced`: what the key may be
    used for, or from where, is bounded, so that each request must be looked at.
    """

    key: Key
    account: Account
    plan: Plan
    limits: Limits
    key_limited: bool
    bounded: bool
    networks: Networks | None = None
    fenced: bool = False


class Holder(msgspec.Struct, frozen=True):
    """An account for who looks at it: `principal` has a key without id, nobody's; `keys` are those of its keys."""

    principal: Principal
    keys: tuple[Principal, ...]


class Register:
    """Accounts and keys, changed in place: a change costs what changed, not what there is.

    Measured at 1,000,000 keys: a new index for each change stood still for 1.2 to 1.5 s, this for 0.04 ms. What a key
    comes to is composed when it is asked for first, which spares 0.3 KB for each of the many that nobody uses.
    """

    __slots__ = ("_composed", "_keys_of", "accounts", "keys", "plans")

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.keys: dict[str, Key] = {}  # by digest
        self.plans: dict[str, Plan] = {}
        self._keys_of: dict[str, list[str]] = {}  # digests by account
        self._composed: dict[bytes, Principal] = {}

    def put(self, accounts: Iterable[Account], keys: Iterable[Key]) -> None:
        """Take records, new or changed."""
        for account in accounts:
            self._forget(account.id)
            self.accounts[account.id] = account
        for key in keys:
            digest = key.digest
            known = self.keys.get(digest)
            if known is None or known.account != key.account:
                if known is not None:
                    self._keys_of[known.account].remove(digest)
                self._keys_of.setdefault(key.account, []).append(digest)
            self.keys[digest] = key
            if self._composed:
                self._composed.pop(bytes.fromhex(digest), None)

    def drop(self, accounts: Iterable[str], digests: Iterable[str]) -> None:
        """Forget accounts by their ids and keys by their digests."""
        for name in accounts:
            self._forget(name)
            self.accounts.pop(name, None)
        for digest in digests:
            known = self.keys.pop(digest, None)
            if known is not None:
                self._keys_of[known.account].remove(digest)
                self._composed.pop(bytes.fromhex(digest), None)

    def find_digests(self, ids: Iterable[str]) -> list[str]:
        """Return the digests of keys by their ids: looks at every key (50 ms a million)."""
        wanted = set(ids)
        return [key.digest for key in self.keys.values() if key.id in wanted] if wanted else []

    def arrange(self, plans: Iterable[Plan]) -> None:
        """Take the plans that there are now."""
        self.plans = {plan.name: plan for plan in plans}
        self._composed.clear()

    def forget_spending(self) -> None:
        """Begin anew with what was spent: all of it is told after this."""
        for name, account in self.accounts.items():
            if account.spent or account.spent_month:
                self.accounts[name] = msgspec.structs.replace(account, spent=0, spent_month=0)
        for digest, key in self.keys.items():
            if key.spent_day or key.spent_month:
                self.keys[digest] = msgspec.structs.replace(key, spent_day=0, spent_month=0)
        self._composed.clear()

    def _forget(self, account: str) -> None:
        if self._composed:
            for digest in self._keys_of.get(account, ()):
                self._composed.pop(bytes.fromhex(digest), None)

    def find(self, digest: bytes) -> Principal | None:
        """Return who asks by the key of a digest; a key without its account and plan is nobody's."""
        found = self._composed.get(digest)
        if found is None:
            key = self.keys.get(digest.hex())
            found = None if key is None else self._compose(key)
            if found is not None:
                self._composed[digest] = found
        return found

    def _compose(self, key: Key) -> Principal | None:
        account = self.accounts.get(key.account)
        plan = self.plans.get(account.plan) if account else None
        return make_principal(key, account, plan) if account and plan else None

    def find_holder(self, account_id: str) -> Holder | None:
        """Return an account with its keys."""
        account = self.accounts.get(account_id)
        plan = self.plans.get(account.plan) if account else None
        if account is None or plan is None:
            return None
        found = [self.find(bytes.fromhex(digest)) for digest in self._keys_of.get(account_id, ())]
        own = make_principal(Key("", "", account.id, "", ""), account, plan)
        return Holder(own, tuple(principal for principal in found if principal is not None))


class Principals:
    """Who may ask, by a key's digest (32 bytes): always of now, also in a view that was taken earlier."""

    __slots__ = ("_register", "get")

    def __init__(self, register: Register) -> None:
        self._register = register
        self.get = register.find

    def __getitem__(self, digest: bytes) -> Principal:
        found = self.get(digest)
        if found is None:
            raise KeyError(digest)
        return found

    def __contains__(self, digest: bytes) -> bool:
        return self.get(digest) is not None


class View:
    """The snapshot as requests look at it: a dict look-up a question, no copy.

    Models and providers are of one revision, which a request keeps to its end; accounts and keys are the register's,
    which is of now: who was revoked since is not there any more.
    """

    __slots__ = ("models", "principals", "providers", "register", "snapshot")

    def __init__(self, snapshot: Snapshot | Head, register: Register | None = None) -> None:
        if register is None:
            register = Register()
            if isinstance(snapshot, Snapshot):
                register.put(snapshot.accounts, snapshot.keys)
        self.snapshot: Head = snapshot if isinstance(snapshot, Head) else snapshot.head()
        self.register = register
        register.arrange(snapshot.plans)
        self.principals = Principals(register)
        self.models: dict[str, Model] = {model.name: model for model in snapshot.models}
        self.providers: dict[str, Provider] = {provider.name: provider for provider in snapshot.providers}

    @property
    def accounts(self) -> Mapping[str, Account]:
        """Every account by its id."""
        return self.register.accounts

    @property
    def keys(self) -> Iterable[Key]:
        """Every key."""
        return self.register.keys.values()

    def follow(self, head: Head, delta: Delta) -> View:
        """Return the view after a change, with the head that it leads to; the register is changed in place."""
        register = self.register
        register.put(delta.accounts, delta.keys)
        gone = delta.gone_digests
        if delta.gone_keys and not gone:
            gone = tuple(register.find_digests(delta.gone_keys))
        register.drop(delta.gone_accounts, gone)
        view = View.__new__(View)
        view.snapshot, view.register, view.principals = head, register, self.principals
        view.models, view.providers = self.models, self.providers
        if head.models is not self.snapshot.models:
            view.models = {model.name: model for model in head.models}
        if head.providers is not self.snapshot.providers:
            view.providers = {provider.name: provider for provider in head.providers}
        if head.plans is not self.snapshot.plans:
            register.arrange(head.plans)
        return view

    def find_holder(self, account_id: str) -> Holder | None:
        """Return an account with its keys."""
        return self.register.find_holder(account_id)


def make_principal(key: Key, account: Account, plan: Plan) -> Principal:
    """Return who asks by a key; an account's custom numbers go before its plan's."""
    limits = Limits(
        plan.rpm if account.rpm is None else account.rpm,
        plan.tpm if account.tpm is None else account.tpm,
        plan.concurrent if account.concurrent is None else account.concurrent,
    )
    limited = key.rpm is not None or key.tpm is not None or key.concurrent is not None
    caps = (account.monthly_cap, key.daily_cap, key.monthly_cap)
    bounded = plan.billing == "prepaid" or any(cap is not None for cap in caps)
    networks = None if key.ips is None else compile_list(key.ips)
    fenced = networks is not None or key.scopes is not None
    return Principal(key, account, plan, limits, limited, bounded, networks, fenced)
