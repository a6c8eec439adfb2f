"""What this room needs of the world: a store, and something that prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from techstone.control.invoicing.records import Draft, Invoice, InvoiceShown, MonthUsage, Movements, Party


class InvoiceStore(Protocol):
    """Documents, who buys, and what they are made of. A document is never changed or deleted."""

    async def issue(self, draft: Draft) -> Invoice:
        """Give it the next number of its year; return the one of its kind, account and subject where there is one."""

    async def find_invoice(self, number: str, account: str | None = None) -> Invoice | None:
        """Return it; of that account, or of any."""

    async def list_invoices(self, account: str | None, limit: int) -> tuple[Invoice, ...]:
        """Return the newest of an account, or of all; newest first."""

    async def find_buyer(self, account: str) -> Party:
        """Return whom the account's documents are for."""

    async def set_buyer(self, account: str, buyer: Party) -> None:
        """Change whom the account's next documents are for."""

    async def read_closed(self) -> str | None:
        """Return the last month that is closed, such as `2026-11`; None where none ever was."""

    async def close_month(self, month: str) -> None:
        """Note that every invoice of the month is issued."""

    async def read_month(self, account: str, month: str) -> MonthUsage:
        """Return what the invoice of a month is made of."""

    async def read_movements(self, account: str, start: int, end: int) -> Movements:
        """Return what moved on the account within [start, end), whole days in unix seconds."""


class Printer(Protocol):
    """Makes a document's file."""

    async def print_invoice(self, invoice: InvoiceShown) -> bytes:
        """Return it as PDF; raise ServiceUnavailable where too many wait."""
