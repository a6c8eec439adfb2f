"""THE SEAM: what the control plane tells the gateway, as one immutable, versioned value and the changes to it.

These are its records. The gateway decides every request from a view of the newest ones (`core.view`) and never asks
back; how they travel, whole and in changes, is `core.stream`'s. No secret of a customer is readable in here: keys by
SHA-256 digest, providers by the name of the environment variable that holds their key, or with their secret sealed
(`core.sealing`). `view_secret`, by which view tickets are known, never lies on a gateway's disk.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from techstone.core.pricing import Price

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
