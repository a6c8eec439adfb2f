"""What is left of the limits, and who was refused lately: GET /v1/limits, with the ordinary key."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from ._record import Record

PATH = "/limits"


class MinuteLimit(Record):
    """Requests or tokens in any 60 s. `used` counts what running requests reserve; after `reset_seconds` it is 0."""

    limit: int
    used: int
    remaining: int
    reset_seconds: float


class ConcurrentLimit(Record):
    """Requests at a time, and how many run now."""

    limit: int
    used: int


class AccountLimits(Record):
    """The limits that count over all keys of the account."""

    requests: MinuteLimit
    tokens: MinuteLimit
    concurrent: ConcurrentLimit


class KeyLimits(Record):
    """The key's own limits, None each where it has none; those of the account count besides."""

    requests: MinuteLimit | None = None
    tokens: MinuteLimit | None = None
    concurrent: ConcurrentLimit | None = None


class SpendingCap(Record):
    """What the account or the key may spend in a UTC day or month; US dollars. None: not known yet."""

    scope: Literal["account", "key"]
    period: Literal["day", "month"]
    limit: Decimal
    spent: Decimal | None = None
    remaining: Decimal | None = None


class RefusedRequest(Record):
    """A request that a limit refused: when (unix seconds), which, whose, and with which key it came.

    `model` is None where it was refused unread, `retry_after` (seconds) where waiting does not help.
    """

    at: float
    axis: Literal["requests", "tokens", "concurrency", "credit", "monthly_cap", "daily_cap", "flood"]
    scope: Literal["account", "key"]
    key_hint: str
    model: str | None = None
    retry_after: int | None = None


class Limits(Record):
    """Where the account and the key stand. `key` is None where the key has no limits of its own.

    `credit` in US dollars; None where not prepaid. `refused`: at most 20 requests of the last hour, newest first.
    """

    object: Literal["limits"]
    plan: str
    account: AccountLimits
    key: KeyLimits | None = None
    credit: Decimal | None = None
    caps: list[SpendingCap]
    refused: list[RefusedRequest]
