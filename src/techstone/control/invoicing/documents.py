"""What stands on a document; pure.

An invoice of a month charges the month's usage by model, and what changed since about the months that were invoiced
before: requests booked late, prices corrected. So all invoices of an account together always come to what it used.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from techstone.control.invoicing.records import (
    Draft,
    Invoice,
    InvoiceEntry,
    InvoiceShown,
    Line,
    LineShown,
    Party,
)
from techstone.control.payments.records import CENT
from techstone.core import money

if TYPE_CHECKING:
    from techstone.control.accounts.records import Account
    from techstone.control.invoicing.records import MonthUsage
    from techstone.control.payments.records import Payment

CORRECTION = "Earlier months: late requests and corrected prices"


def number(year: int, sequence: int) -> str:
    """Return the number of a year's document."""
    return f"TS-{year}-{sequence:06d}"


def year_of(seconds: int) -> int:
    """Return the year whose numbers a document takes that is issued at a unix time."""
    return time.gmtime(seconds).tm_year


def draft_receipt(payment: Payment, account: Account, seller: Party, buyer: Party, now: int) -> Draft:
    """Return the receipt of a top-up: all of it is paid."""
    nano = payment.cents * CENT
    return Draft(
        kind="receipt",
        account=account.id,
        email=account.email,
        subject=payment.id,
        issued_at=now,
        seller=seller,
        buyer=buyer,
        lines=(Line("Credit for the use of models", nano),),
        nano=nano,
        covered=nano,
    )


def draft_invoice(
    month: str, usage: MonthUsage, account: Account, seller: Party, buyer: Party, now: int
) -> Draft | None:
    """Return the invoice of a month; None where there is nothing to charge and nothing to correct."""
    correction = usage.earlier - usage.invoiced
    lines = usage.models if not correction else (*usage.models, Line(CORRECTION, correction))
    nano = sum(line.nano for line in lines)
    if not any(line.nano for line in lines):
        return None
    # What was there before this invoice: granted, less what earlier usage cost that this invoice does not charge.
    credit = usage.granted - (usage.through - nano)
    covered = max(0, min(credit, nano))
    rest = nano - covered
    due = max(0, rest) // CENT * CENT
    return Draft(
        kind="invoice",
        account=account.id,
        email=account.email,
        subject=month,
        issued_at=now,
        seller=seller,
        buyer=buyer,
        lines=lines,
        nano=nano,
        covered=covered,
        rounding=due - rest if rest > 0 else 0,
        due=due,
        kept=max(0, -rest),
    )


def show(invoice: Invoice) -> InvoiceShown:
    """Return a document as people and scripts see it."""
    return InvoiceShown(
        number=invoice.number,
        kind=invoice.kind,
        account=invoice.email,
        subject=invoice.subject,
        issued_at=invoice.issued_at,
        seller=invoice.seller,
        buyer=invoice.buyer,
        lines=tuple(
            LineShown(line.text, line.requests, line.prompt_tokens, line.completion_tokens, money.show(line.nano))
            for line in invoice.lines
        ),
        total=money.show(invoice.nano),
        paid=money.show(invoice.covered),
        rounding=money.show(invoice.rounding),
        due=money.show(invoice.due),
        kept=money.show(invoice.kept),
    )


def enter(invoice: Invoice) -> InvoiceEntry:
    """Return a document as a list has it."""
    return InvoiceEntry(
        number=invoice.number,
        kind=invoice.kind,
        account=invoice.email,
        subject=invoice.subject,
        issued_at=invoice.issued_at,
        total=money.show(invoice.nano),
        due=money.show(invoice.due),
    )


def group(usd: str) -> str:
    """Return an amount with its thousands apart."""
    whole, dot, part = usd.partition(".")
    return f"{int(whole):,}{dot}{part}" if whole != "-0" else usd


def list_sums(invoice: InvoiceShown) -> list[tuple[str, str]]:
    """Return the rows under the lines, the last of them what is to be paid."""
    rows = [("Total", group(invoice.total))]
    if invoice.paid != "0.00":
        rows.append(("Paid by card" if invoice.kind == "receipt" else "Paid from credit", f"-{group(invoice.paid)}"))
    if invoice.rounding != "0.00":
        rows.append(("Rounded down to whole cents", invoice.rounding))
    if invoice.kept != "0.00":
        rows.append(("Kept as credit", group(invoice.kept)))
    return [*rows, ("Amount due, USD", group(invoice.due))]
