"""The catalog: plans, models and providers in the seam's own structs, so that nothing is said twice.

Two parts make it: what is configured, and what operators add in the Console, which is stored. A provider's secret
stands in a wish alone; what is stored is sealed, and what is shown says only how it ends.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from techstone.core.pricing import Price
from techstone.core.snapshot import Billing, Model, Plan, Provider, Replica, Route, Routing, Timeouts, UpstreamKind

Origin = Literal["configuration file", "console"]
EntryState = Literal["on", "off", "hidden"]
"""`hidden`: the configuration file has taken the name since, and goes before."""
EntryKind = Literal["provider", "model"]


class Catalog(msgspec.Struct, frozen=True):
    """Everything on offer. The first plan is the one that an account gets when none is named.

    `stand_ins` are the models that the built-in engine answers only because nobody else does.
    """

    plans: tuple[Plan, ...]
    models: tuple[Model, ...] = ()
    providers: tuple[Provider, ...] = ()
    stand_ins: frozenset[str] = frozenset()


class StoredProvider(msgspec.Struct, frozen=True):
    """A provider that was added. `secret` is sealed; `ending` is what may be shown of it.

    `replicas`, `routing` and `metrics_port` are those of `core.snapshot.Provider`.
    """

    name: str
    base_url: str
    secret: bytes | None = None
    ending: str = ""
    timeouts: Timeouts = Timeouts()
    created_at: int = 0
    kind: UpstreamKind = "openai"
    replicas: tuple[Replica, ...] = ()
    routing: Routing | None = None
    metrics_port: int | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address that its secret may be sent to."""
        return tuple(replica.base_url for replica in self.replicas) or (self.base_url,)


class StoredModel(msgspec.Struct, frozen=True):
    """A model that was added. `price` is what it costs until another price is set for it."""

    name: str
    routes: tuple[Route, ...]
    price: Price
    display: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    created_at: int = 0


class Stored(msgspec.Struct, frozen=True):
    """All that operators added, oldest first, and what of everything is switched off (kind and name)."""

    providers: tuple[StoredProvider, ...] = ()
    models: tuple[StoredModel, ...] = ()
    plans: tuple[Plan, ...] = ()
    off: frozenset[tuple[str, str]] = frozenset()


class ModelShown(msgspec.Struct, frozen=True):
    """A model as people and scripts see it; `served_by` names the providers in the order in which they are tried."""

    name: str
    owned_by: str
    context_window: int | None
    max_output_tokens: int | None
    served_by: tuple[str, ...]
    display: str | None = None


class EntryChosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry, by its name."""

    name: str


class Switched(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether an entry is to be on."""

    name: str
    on: bool


class NewReplica(Replica, frozen=True, forbid_unknown_fields=True):
    """A wish for one of a provider's servers; a larger weight (1 to 1000) is given more requests."""


class NewProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for a provider with OpenAI's API, at `base_url` or at several `replicas`, not both.

    `secret` is its key, sent as `Authorization: Bearer`. `routing` says which server gets a request; without it as
    `kind` has it. `metrics_port` is where an engine tells its load, if not at its address.
    """

    name: str
    base_url: str | None = None
    secret: str | None = None
    timeouts: Timeouts = Timeouts()
    kind: UpstreamKind = "openai"
    replicas: tuple[NewReplica, ...] = ()
    routing: Routing | None = None
    metrics_port: int | None = None

    def __repr__(self) -> str:
        """Leave the secret out: a traceback or a log line must not show it."""
        return f"NewProvider({self.name!r}, {self.base_url or self.replicas!r})"

    __str__ = __repr__


class ProviderChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change; None: as it is. Any other set of addresses drops the secret, unless a new one comes with it.

    `base_url` and `replicas` take the place of all addresses that there were. `secret` "": there is to be none.
    `routing` "": as the kind has it. `metrics_port` 0: at its address.
    """

    name: str
    base_url: str | None = None
    secret: str | None = None
    timeouts: Timeouts | None = None
    kind: UpstreamKind | None = None
    replicas: tuple[NewReplica, ...] | None = None
    routing: Routing | Literal[""] | None = None
    metrics_port: int | None = None

    def __repr__(self) -> str:
        """Leave the secret out."""
        return f"ProviderChange({self.name!r}, {self.base_url or self.replicas!r})"

    __str__ = __repr__


class ProviderShown(msgspec.Struct, frozen=True):
    """A provider as operators see it; `secret` says only whether there is one and how it ends.

    `models` are the models that have a route to it. `replicas` are its servers, where it is several. `routing` None:
    as the kind has it.
    """

    name: str
    kind: str
    base_url: str
    origin: Origin
    state: EntryState
    secret: str | None
    models: tuple[str, ...]
    timeouts: Timeouts
    created_at: int | None = None
    replicas: tuple[Replica, ...] = ()
    routing: Routing | None = None
    metrics_port: int | None = None


class NewModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for a model, or for a change to all of it. Prices are USD per million tokens; without `input`, as known.

    What is known is the price that the model has, else that of the list which comes with us.
    """

    name: str
    routes: tuple[Route, ...]
    display: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    input: str | None = None
    output: str | None = None
    cached_input: str | None = None
    reasoning: str | None = None


class CatalogEntry(msgspec.Struct, frozen=True):
    """A model as operators see it; prices are those that it has where no other was set."""

    name: str
    display: str | None
    origin: Origin
    state: EntryState
    routes: tuple[Route, ...]
    context_window: int | None
    max_output_tokens: int | None
    input: str | None
    output: str | None
    cached_input: str | None
    reasoning: str | None


class Addition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Models of a provider to be offered by their own names; the prices are for those whose price is not known."""

    provider: str
    names: tuple[str, ...]
    input: str | None = None
    output: str | None = None


class NewPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for a plan, or for other numbers of one."""

    name: str
    rpm: int
    tpm: int
    concurrent: int
    billing: Billing = "postpaid"


class PlanShown(msgspec.Struct, frozen=True):
    """A plan as operators see it, and how many accounts are on it."""

    name: str
    rpm: int
    tpm: int
    concurrent: int
    billing: Billing
    origin: Origin
    accounts: int


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider to be tried: asked for its models, and, where a model is named, for one token, which costs."""

    name: str
    model: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """How one request of a trial ended: `told` in words, `remedy` what to do; `milliseconds` to the answer."""

    good: bool
    reached: bool
    status: int | None
    told: str
    remedy: str
    milliseconds: int


class ServerTried(msgspec.Struct, frozen=True):
    """What a trial of one of a provider's servers came to. `lacking` are models that another of them has."""

    address: str
    listing: Outcome
    chat: Outcome | None = None
    lacking: tuple[str, ...] = ()


class TrialShown(msgspec.Struct, frozen=True):
    """What a trial came to. `secured`: by TLS. `models` are the provider's own names, as far as it told them.

    Of several `servers` each is asked: `listing` and `chat` are those of the first that failed, else of the first, and
    `models` are those that every server has which told any.
    """

    provider: str
    secured: bool
    listing: Outcome
    models: tuple[str, ...] = ()
    chat: Outcome | None = None
    servers: tuple[ServerTried, ...] = ()
