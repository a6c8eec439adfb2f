"""GET /v1/limits: what an account and the asking key have left, and who was refused lately."""

from __future__ import annotations

from typing import Literal

import msgspec

Axis = Literal["requests", "tokens", "concurrency", "credit", "monthly_cap", "daily_cap", "flood"]
"""What refuses: a limit, the credit, a cap, or the guard that is ten times the plan."""

Scope = Literal["account", "key"]
"""Whose it is."""


class MinuteLimit(msgspec.Struct, frozen=True, gc=False):
    """Requests or tokens in any 60 s. `used` counts what running requests reserve; after `reset_seconds` it is 0."""

    limit: int
    used: int
    remaining: int
    reset_seconds: float


class ConcurrentLimit(msgspec.Struct, frozen=True, gc=False):
    """Requests at a time, and how many run now."""

    limit: int
    used: int


class AccountLimits(msgspec.Struct, frozen=True):
    """The limits that count over all keys of the account."""

    requests: MinuteLimit
    tokens: MinuteLimit
    concurrent: ConcurrentLimit


class KeyLimits(msgspec.Struct, frozen=True):
    """The key's own limits, null each where it has none; those of the account count besides."""

    requests: MinuteLimit | None
    tokens: MinuteLimit | None
    concurrent: ConcurrentLimit | None


class SpendingCap(msgspec.Struct, frozen=True, gc=False):
    """What the account or the key may spend in a UTC day or month; USD as decimal strings.

    `spent` has what is held for running requests. It and `remaining` are null as long as they are not known.
    """

    scope: Scope
    period: Literal["day", "month"]
    limit: str
    spent: str | None
    remaining: str | None


class RefusedRequest(msgspec.Struct, frozen=True, gc=False):
    """A request that a limit refused: when (unix seconds), which, whose, and with which key it came.

    `model` is null where it was refused unread. `retry_after` is in whole seconds as `Retry-After` told, null where
    waiting does not help.
    """

    at: float
    axis: Axis
    scope: Scope
    key_hint: str
    model: str | None
    retry_after: int | None


class Limits(msgspec.Struct, frozen=True, tag_field="object", tag="limits"):
    """Where the account and the key stand, by the very counts that decide on the next request.

    `key` is null where the key has no limits of its own. `credit` is the USD that are left, null where the account
    pays afterwards or what it spent is not known yet. `refused`: at most 20 requests of the last hour, newest first.
    """

    plan: str
    account: AccountLimits
    key: KeyLimits | None
    credit: str | None
    caps: list[SpendingCap]
    refused: list[RefusedRequest]


class KeyView(msgspec.Struct, frozen=True):
    """A key that has limits or caps of its own, by its id."""

    id: str
    limits: KeyLimits | None
    caps: list[SpendingCap]


class AccountView(msgspec.Struct, frozen=True, tag_field="object", tag="account_limits"):
    """Where an account and all its keys stand, as the Console shows it by a view ticket.

    `credit` and all caps are left out of a ticket that is not for money.
    """

    plan: str
    account: AccountLimits
    credit: str | None
    caps: list[SpendingCap]
    keys: list[KeyView]
