"""Invoices, receipts and statements: as they are stored, and as people and scripts see them.

A document is written once, with everything that stands on it, and shown as it was written ever after. Money is whole
nano-dollars in storage and a USD string to people.
"""

from __future__ import annotations

from typing import Literal

import msgspec

DocumentKind = Literal["receipt", "invoice"]
EntryKind = Literal["grant", "refund", "surcharge"]
LineKind = Literal["opening", "code", "card", "credit", "correction", "usage"]


class Party(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who sells or buys. An address has lines."""

    name: str = ""
    address: str = ""
    tax_id: str = ""


class Line(msgspec.Struct, frozen=True):
    """What is charged for; counts are None where there is nothing to count."""

    text: str
    nano: int
    requests: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Draft(msgspec.Struct, frozen=True):
    """A document that has no number yet. `subject` is what it is about, once: a payment's id, or a month.

    `nano` is what the lines come to. Of that, `covered` is paid, by card or from credit; the rest, rounded down to
    cents, is `due`; `rounding` is what that takes away (0 or less). Where corrections make it less than nothing,
    `kept` stays on the account.
    """

    kind: DocumentKind
    account: str
    email: str
    subject: str
    issued_at: int
    seller: Party
    buyer: Party
    lines: tuple[Line, ...]
    nano: int
    covered: int = 0
    rounding: int = 0
    due: int = 0
    kept: int = 0


class Invoice(Draft, frozen=True, kw_only=True):
    """A document with its number."""

    number: str


class Movements(msgspec.Struct, frozen=True):
    """What moved on an account within a time: what was there before, what was added or corrected, what days cost."""

    before: int
    entries: tuple[Entry, ...]
    days: tuple[DaySum, ...]


class Entry(msgspec.Struct, frozen=True):
    """A transfer that is no charge, or all of a day's corrections together. `at` is in unix seconds."""

    at: int
    kind: EntryKind
    nano: int
    note: str = ""


class DaySum(msgspec.Struct, frozen=True):
    """What the requests that were admitted on a day were charged; `start` is its first unix second."""

    start: int
    requests: int
    nano: int


class MonthUsage(msgspec.Struct, frozen=True):
    """What an invoice of a month is made of, read at one moment, in nano-dollars.

    `models` are the month's; `through` is what everything cost that was used until the month's end; `earlier` what was
    used in the months that were invoiced before, as it is known now, and `invoiced` what those invoices say; `granted`
    what was ever granted.
    """

    models: tuple[Line, ...]
    through: int
    earlier: int
    invoiced: int
    granted: int


class LineShown(msgspec.Struct, frozen=True):
    """A line of a document; `amount` is in USD."""

    description: str
    requests: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    amount: str


class InvoiceShown(msgspec.Struct, frozen=True, tag_field="object", tag="invoice"):
    """A document: a receipt for a top-up, or the invoice of a month that is paid for afterwards.

    The lines come to `total`; `paid` of it is paid, by card or from credit; the rest, rounded down to cents, is `due`.
    `kept` is what stays on the account where corrections are more than the usage.
    """

    number: str
    kind: DocumentKind
    account: str
    subject: str
    issued_at: int
    seller: Party
    buyer: Party
    lines: tuple[LineShown, ...]
    total: str
    paid: str
    rounding: str
    due: str
    kept: str
    currency: str = "USD"


class InvoiceEntry(msgspec.Struct, frozen=True):
    """A document in a list."""

    number: str
    kind: DocumentKind
    account: str
    subject: str
    issued_at: int
    total: str
    due: str


class InvoiceList(msgspec.Struct, frozen=True, tag_field="object", tag="list"):
    """Documents, newest first."""

    data: tuple[InvoiceEntry, ...]


class StatementLine(msgspec.Struct, frozen=True):
    """A line of a statement: `amount` is added to what was there, and `balance` is then there, in USD."""

    day: str
    kind: LineKind
    description: str
    amount: str
    balance: str


class Statement(msgspec.Struct, frozen=True, tag_field="object", tag="statement"):
    """A month of an account: opening balance and all lines together are the closing balance, exactly."""

    month: str
    account: str
    opening: str
    lines: tuple[StatementLine, ...]
    closing: str
    currency: str = "USD"
