"""Prices, top-up codes and alerts as they are stored and as they are shown.

Money is whole nano-dollars in storage and a USD string to people. A code itself stands in `CreatedCode` alone, which is
returned once and never stored.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from techstone.core.pricing import Price

OPERATOR = "operator"
"""The source of a price that was set by hand."""

CodeState = Literal["unused", "redeemed", "expired", "revoked"]
PriceState = Literal["past", "in force", "future"]


class PriceVersion(msgspec.Struct, frozen=True):
    """A version of a model's price. `reset`: from its beginning on, what the operator had set before is over."""

    model: str
    price: Price
    created_at: int = 0
    reset: bool = False


class NewPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for a price, in USD per million tokens. `begins` is a time with its zone, ISO 8601 (None: now)."""

    model: str
    input: str
    output: str
    cached_input: str | None = None
    reasoning: str | None = None
    begins: str | None = None


class ModelChosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model, by its name."""

    model: str


class PriceShown(msgspec.Struct, frozen=True):
    """A price as people and scripts see it, in USD per million tokens.

    `cached_input` None: as input; `reasoning` None: as output. `valid_from` is ISO 8601 in UTC; None: from the first.
    """

    model: str
    state: PriceState
    input: str
    output: str
    cached_input: str | None
    reasoning: str | None
    source: str
    valid_from: str | None
    version: int


class Code(msgspec.Struct, frozen=True):
    """A stored code: the SHA-256 digest of it, never the code. Times are unix seconds; None: never."""

    id: str
    digest: bytes
    nano: int
    created_at: int
    expires_at: int | None = None
    redeemed_at: int | None = None
    redeemed_by: str | None = None  # the account's id
    revoked_at: int | None = None


class NewCodes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for codes of so many USD each. `expires` is a lifetime such as `90d` (None: never)."""

    usd: str
    count: int = 1
    expires: str | None = None


class CreatedCode(msgspec.Struct, frozen=True):
    """A new code, the only time that it is seen."""

    id: str
    code: str
    usd: str
    expires_at: int | None

    def __repr__(self) -> str:
        """Leave the code out: a traceback or a log line must not show it."""
        return f"CreatedCode(id={self.id!r}, usd={self.usd!r})"

    __str__ = __repr__


class CodeShown(msgspec.Struct, frozen=True):
    """A code as it can be shown at any time; `redeemed_by` is an email."""

    id: str
    usd: str
    state: CodeState
    created_at: int
    expires_at: int | None
    redeemed_at: int | None
    redeemed_by: str | None
    revoked_at: int | None


class CodeChosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One code, by its id."""

    id: str


class Redemption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A code, and the account (email or id) whose credit it is to become."""

    code: str
    account: str

    def __repr__(self) -> str:
        """Leave the code out."""
        return f"Redemption(account={self.account!r})"

    __str__ = __repr__


class Redeemed(msgspec.Struct, frozen=True):
    """What a redemption did: so many USD for the account (email)."""

    id: str
    account: str
    usd: str


class Gauge(msgspec.Struct, frozen=True):
    """How far something is used up: `spent` of `limit` nano-dollars, within a period that has a name of its own.

    `subject` is an account's or a key's id; `email` is the account's.
    """

    account: str
    email: str
    subject: str
    period: str
    spent: int
    limit: int


class Alert(msgspec.Struct, frozen=True):
    """A gauge that has reached a threshold, in per cent; at most one per subject, period and threshold."""

    account: str
    subject: str
    period: str
    percent: int
    at: int
    spent: int
    limit: int


class AlertShown(msgspec.Struct, frozen=True):
    """An alert as people and scripts see it; `account` is an email, money is in USD."""

    at: str
    account: str
    subject: str
    period: str
    percent: int
    spent: str
    limit: str
