"""What a gateway tells the control plane of itself, about once a second: how it does, and whom it refused.

The way up of the seam beside the journal, but for nothing that must not be lost: a report that does not arrive is
followed by the next. Times are unix seconds unless they say otherwise; nothing of a prompt, an answer or a key is here.
"""

from __future__ import annotations

from typing import Literal

import msgspec

BreakerState = Literal["closed", "open", "half-open"]


class RefusalNote(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A request that was refused before it was admitted, so that no journal has it; `at` is in unix milliseconds.

    `account` and `key` (ids) are empty where the key is not in the snapshot; then `digest` is the SHA-256 of what was
    sent, if it has a key's form: it may be one that was revoked. `axis` and `scope` name the limit, `wait` is what
    `Retry-After` told. `message` is our own words without what the client sent.
    """

    request_id: str
    at: int
    status: int
    code: str
    account: str = ""
    key: str = ""
    digest: str = ""
    axis: str = ""
    scope: str = ""
    wait: int | None = None
    model: str = ""
    param: str = ""
    message: str = ""


class RouteState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One route: its breaker, its last error with its age, and the mean time to a first byte in the last minute.

    The time is of all the model's requests through the provider; `requests` is how many that were. `replica` counts a
    provider's servers from 1; 0: it is one server.
    """

    model: str
    provider: str
    upstream_model: str
    breaker: BreakerState
    error: str = ""
    error_age: float = 0.0
    requests: int = 0
    first_byte_ms: float = 0.0
    replica: int = 0


class ReplicaState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One server of a provider. `health` is what its checks say; None: it is not checked.

    `in_flight` are this gateway's requests; `running`, `waiting` and `cache` (0 to 1) are what the engine told.
    """

    provider: str
    address: str
    replica: int = 0
    health: Literal["unknown", "up", "down"] | None = None
    in_flight: int = 0
    running: int | None = None
    waiting: int | None = None
    cache: float | None = None


class JournalState(msgspec.Struct, frozen=True, gc=False):
    """What of the journal is not booked yet: records, age of the oldest in seconds, bytes; `limit`: bytes allowed."""

    waiting: int
    oldest: float
    bytes: int
    limit: int
    problem: str | None = None


class LimitState(msgspec.Struct, frozen=True, gc=False):
    """The limit store. `degraded`: it counts by itself what it should share; `problem`: why it admits nothing."""

    kind: str
    degraded: bool = False
    problem: str | None = None


class SnapshotState(msgspec.Struct, frozen=True, gc=False):
    """The snapshot that is served by, and for how many seconds nothing was heard of the control plane."""

    revision: int
    age: float
    problem: str | None = None


class GatewayState(msgspec.Struct, frozen=True):
    """One gateway process; `id` is its journal's. `rss` is in bytes, 0 where the system does not tell."""

    id: str
    version: str
    started: float
    requests: int
    connections: int
    rss: int
    routes: tuple[RouteState, ...]
    journal: JournalState
    limits: LimitState
    snapshot: SnapshotState
    replicas: tuple[ReplicaState, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """The state of a gateway now, and the refusals since the last report; `dropped` were too many to be kept."""

    gateway: GatewayState
    refusals: tuple[RefusalNote, ...] = ()
    dropped: int = 0
