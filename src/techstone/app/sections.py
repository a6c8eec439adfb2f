"""What may stand in the configuration file: its sections, as frozen structs, and what they are without one.

`app.config` reads the file into them and says what is wrong. Secrets are never in it, only the names of the environment
variables that hold them.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from techstone.core.snapshot import Routing, Timeouts, UpstreamKind

SQLITE = "sqlite"


class ServerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[server]: where the API is served. `drain` is in seconds; `workers` is the number of gateway processes.

    `metrics` (host:port) is where the first of them serves its probes alone, the n-th n - 1 ports higher.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tls_cert: str | None = None
    tls_key: str | None = None
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    workers: int = 1
    metrics: str | None = None
    drain: float = 30.0


class DataSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[data]: where everything is kept that must survive a restart.

    `database` is "sqlite", a file in `dir`, or the address of a PostgreSQL server's database, whose password is in the
    variable `database_password_env`. `limits_patience`: seconds that Redis may be silent for while a request waits.
    `limits_answers`: MB of Redis that the stored answers of each gateway may take.
    """

    dir: str = "./data"
    database: str = "sqlite"
    database_password_env: str | None = None
    limits: str = "memory"
    limits_password_env: str | None = None
    limits_ca: str | None = None
    limits_patience: float = 0.05
    limits_answers: int = 64


class ControlSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[control]: how gateways on other machines reach the control plane; without it they share its data folder.

    `listen` (host:port) is a control plane's, `addresses` (URLs) are a gateway's. Both have the token, and certificates
    of their own: a control plane with `tls_ca` asks gateways for one of that authority. `serve_without_*` are seconds
    for which a gateway serves known keys while the control plane has no database, or is not heard; None: always.
    """

    listen: str | None = None
    addresses: tuple[str, ...] = ()
    token_env: str = "TECHSTONE_CONTROL_TOKEN"  # noqa: S105 - the name of the variable
    token_file: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_ca: str | None = None
    serve_without_database: int = 60
    serve_without_control: int | None = None


class EngineSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[engine]: the embedded model. `model` is a GGUF file; `context` is in tokens, per request."""

    enabled: bool = True
    model: str | None = None
    parallel: int | None = None
    context: int = 2048
    threads: int | None = None


class ReplicaEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of a provider's servers; a larger weight is given more requests."""

    base_url: str
    weight: int = 1


class ProviderEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[[providers]]: an upstream with OpenAI's API, at `base_url` or at several `replicas`.

    `routing` None: as `kind` has it. `metrics_port`: where the engine's metrics are, if not at its address.
    """

    name: str
    base_url: str | None = None
    kind: UpstreamKind = "openai"
    replicas: tuple[ReplicaEntry, ...] = ()
    routing: Routing | None = None
    metrics_port: int | None = None
    api_key_env: str | None = None
    headers: dict[str, str] = {}
    timeouts: Timeouts = Timeouts()


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens, as strings: a price is exact, a float is not.

    Without `cached_input` cached tokens cost as input, without `reasoning` reasoning tokens as output.
    """

    input: str
    output: str
    cached_input: str | None = None
    reasoning: str | None = None


class RouteEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to serve a model; lower priority is tried first."""

    provider: str
    model: str
    weight: int = 1
    priority: int = 0


class ModelEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[[models]]: a model by the name that clients ask for."""

    name: str
    routes: tuple[RouteEntry, ...]
    context_window: int | None = None
    max_output_tokens: int | None = None
    price: Price | None = None


class PlanEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[plans.NAME]: limits per account in any 60 s; None keeps what is built in."""

    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    billing: Literal["prepaid", "postpaid"] | None = None


class MailSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[mail]: how letters leave. Without `smtp` they are written to files under outbox/ in the data folder."""

    smtp: str | None = None
    sender: str = "techstone@localhost"
    password_env: str | None = None


class ConsoleSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[console]: whether strangers may open an account, else people are invited.

    `private_providers`: whether providers of one's own network, or over plain HTTP, may be added in the Console.
    """

    sign_up: bool = False
    private_providers: bool = False


class OidcEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[[oidc]]: a provider of log-ins for the Console, by OpenID Connect."""

    name: str
    issuer: str
    client_id: str
    client_secret_env: str
    allowed_domains: tuple[str, ...] = ()
    create: bool = False

    @property
    def slug(self) -> str:
        """The name as it stands in addresses."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


class SellerEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who issues invoices; an address has lines."""

    name: str
    address: str = ""
    tax_id: str = ""


class BillingSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[billing]: without a seller no invoices are issued."""

    seller: SellerEntry | None = None


class PaymentsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[payments]: top-ups by card at Stripe; off without `stripe_key_env`. Amounts are USD in whole cents.

    `stripe_api_base` is for tests, and may only be on this machine.
    """

    stripe_key_env: str | None = None
    stripe_webhook_secret_env: str | None = None
    amounts: tuple[str, ...] = ("10", "25", "100")
    minimum: str = "5"
    maximum: str = "1000"
    stripe_api_base: str | None = None


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. All of it has a default, so that no file is needed."""

    server: ServerSection = ServerSection()
    data: DataSection = DataSection()
    control: ControlSection = ControlSection()
    engine: EngineSection = EngineSection()
    providers: tuple[ProviderEntry, ...] = ()
    models: tuple[ModelEntry, ...] = ()
    plans: dict[str, PlanEntry] = {}
    mail: MailSection = MailSection()
    console: ConsoleSection = ConsoleSection()
    oidc: tuple[OidcEntry, ...] = ()
    billing: BillingSection = BillingSection()
    payments: PaymentsSection = PaymentsSection()
