"""What is kept of gateways' reports, and what is said of the installation's health."""

from __future__ import annotations

from typing import Literal

import msgspec

from techstone.wire.report import GatewayState, ReplicaState, RouteState

State = Literal["good", "attention", "danger", "idle"]
"""Idle: nothing can be said yet."""

# Of one account's refusals the newest are kept, for a day.
KEPT = 200
KEPT_SECONDS = 86_400


class Refusal(msgspec.Struct, frozen=True):
    """A request that was refused before it was admitted; `at` is in unix milliseconds. As `wire.report.RefusalNote`."""

    request_id: str
    account: str
    key: str
    at: int
    status: int
    code: str
    axis: str
    scope: str
    wait: int | None
    model: str
    param: str
    message: str


class RefusalFilter(msgspec.Struct, frozen=True):
    """Which refusals are wanted; times in unix milliseconds, `since` excluded and `until` included."""

    since: int | None = None
    until: int | None = None
    status: int | None = None
    model: str | None = None
    key: str | None = None
    code: str | None = None

    def wants(self, refusal: Refusal) -> bool:
        """Say whether it is one of them."""
        return (
            (self.since is None or refusal.at > self.since)
            and (self.until is None or refusal.at <= self.until)
            and self.status in (None, refusal.status)
            and self.model in (None, refusal.model)
            and self.key in (None, refusal.key)
            and self.code in (None, refusal.code)
        )


class Heard(msgspec.Struct, frozen=True):
    """A gateway as it reported last, when (unix seconds), and how many refusals it had no room for, ever."""

    state: GatewayState
    at: float
    dropped: int = 0


class Newest(msgspec.Struct, frozen=True):
    """The store's newest revision, and since when it is known to be (unix seconds)."""

    revision: int
    since: float


class Finding(msgspec.Struct, frozen=True):
    """Something that was looked at: what it is of, its state in one word and in a sentence."""

    group: str
    what: str
    state: State
    detail: str


class RouteHealth(msgspec.Struct, frozen=True):
    """A route of a gateway, and how it is."""

    gateway: str
    route: RouteState
    state: State


class ReplicaHealth(msgspec.Struct, frozen=True):
    """A server of a provider as a gateway sees it, and how it is."""

    gateway: str
    replica: ReplicaState
    state: State


class Condition(msgspec.Struct, frozen=True):
    """The installation as a whole: findings by group, routes, providers' replicas, and the worst state of all."""

    findings: tuple[Finding, ...]
    routes: tuple[RouteHealth, ...]
    worst: State
    replicas: tuple[ReplicaHealth, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """What the findings are of, in their order."""
        return tuple(dict.fromkeys(finding.group for finding in self.findings))
