"""Documents in memory, and what they are made of; implements `InvoiceStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.invoicing import documents, months
from techstone.control.invoicing.records import (
    DaySum,
    Draft,
    Entry,
    Invoice,
    Line,
    MonthUsage,
    Movements,
    Party,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from techstone.adapters.storage.memory_ledger import MemoryLedger
    from techstone.control.accounts.records import Account
    from techstone.control.invoicing.records import EntryKind

_DAY = 86_400


class MemoryInvoices:
    """A list, beside the records of a store; `note` notes the act."""

    def __init__(self, accounts: Mapping[str, Account], ledger: MemoryLedger, note: Callable[[], None]) -> None:
        self._accounts = accounts
        self._ledger = ledger
        self._note = note
        self._invoices: list[Invoice] = []
        self._buyers: dict[str, Party] = {}
        self._months: set[str] = set()

    async def issue(self, draft: Draft) -> Invoice:
        """Give it the next number of its year; return the one of its kind, account and subject where there is one."""
        known = self._find(draft)
        if known is None:
            self._note()
            return self.put(draft)
        return known

    def put(self, draft: Draft) -> Invoice:
        """Write a document under the next number; return the one that is there already, if any."""
        known = self._find(draft)
        if known is not None:
            return known
        year = documents.year_of(draft.issued_at)
        sequence = sum(documents.year_of(invoice.issued_at) == year for invoice in self._invoices) + 1
        fields = {name: getattr(draft, name) for name in Draft.__struct_fields__}
        invoice = Invoice(number=documents.number(year, sequence), **fields)
        self._invoices.append(invoice)
        return invoice

    def _find(self, draft: Draft) -> Invoice | None:
        same = (draft.kind, draft.account, draft.subject)
        found = (invoice for invoice in self._invoices if (invoice.kind, invoice.account, invoice.subject) == same)
        return next(found, None)

    async def find_invoice(self, number: str, account: str | None = None) -> Invoice | None:
        """Return it; of that account, or of any."""
        found = (one for one in self._invoices if one.number == number and account in (None, one.account))
        return next(found, None)

    def find_receipt(self, account: str, payment: str) -> str | None:
        """Return the number of a payment's receipt."""
        found = (one.number for one in self._invoices if (one.account, one.subject) == (account, payment))
        return next(found, None)

    async def list_invoices(self, account: str | None, limit: int) -> tuple[Invoice, ...]:
        """Return the newest of an account, or of all; newest first."""
        found = [invoice for invoice in self._invoices if account in (None, invoice.account)]
        return tuple(sorted(found, key=lambda invoice: invoice.number, reverse=True)[:limit])

    async def find_buyer(self, account: str) -> Party:
        """Return whom the account's documents are for."""
        return self._buyers.get(account, Party())

    async def set_buyer(self, account: str, buyer: Party) -> None:
        """Change whom the account's next documents are for."""
        self._note()
        self._buyers[account] = buyer

    async def read_closed(self) -> str | None:
        """Return the last month that is closed; None where none ever was."""
        return max(self._months, default=None)

    async def close_month(self, month: str) -> None:
        """Note that every invoice of the month is issued."""
        self._note()
        self._months.add(month)

    async def read_month(self, account: str, month: str) -> MonthUsage:
        """Return what the invoice of a month is made of."""
        _, end = months.parse(month)
        before = {
            invoice.subject: invoice.nano
            for invoice in self._invoices
            if (invoice.account, invoice.kind) == (account, "invoice") and invoice.subject != month
        }
        models: dict[str, list[int]] = {}
        through = earlier = 0
        for record, _ in self._ledger.list_settled(account):
            if record.at >= end * 1000:
                continue
            through += record.cost
            if months.name(record.at // 1000) in before:
                earlier += record.cost
            if months.name(record.at // 1000) == month:
                sums = models.setdefault(record.model, [0, 0, 0, 0])
                counts = (record.cost, 1, record.prompt_tokens, record.completion_tokens)
                models[record.model] = [a + b for a, b in zip(sums, counts, strict=True)]
        lines = tuple(Line(model, *sums) for model, sums in sorted(models.items()))
        granted = sum(entry.nano for entry in self._list_entries(account) if entry.kind == "grant")
        return MonthUsage(lines, through, earlier, sum(before.values()), granted)

    async def read_movements(self, account: str, start: int, end: int) -> Movements:
        """Return what moved on the account within [start, end), whole days in unix seconds."""
        before, days = 0, dict[int, tuple[int, int]]()
        for record, charged in self._ledger.list_settled(account):
            day = record.at // 1000 // _DAY * _DAY
            if day < start:
                before -= charged
            elif day < end:
                requests, nano = days.get(day, (0, 0))
                days[day] = requests + 1, nano + charged
        grants: list[Entry] = []
        corrections: dict[tuple[int, EntryKind], int] = {}
        for entry in self._list_entries(account):
            if entry.at < start:
                before += _sign(entry)
            elif entry.at < end and entry.kind == "grant":
                grants.append(entry)
            elif entry.at < end:
                place = entry.at // _DAY * _DAY, entry.kind
                corrections[place] = corrections.get(place, 0) + entry.nano
        corrected = [Entry(day, kind, nano) for (day, kind), nano in sorted(corrections.items())]
        return Movements(before, (*grants, *corrected), tuple(DaySum(day, *days[day]) for day in sorted(days)))

    def _list_entries(self, account: str) -> list[Entry]:
        """Return the account's grants and corrections; what it had from its beginning was no grant."""
        found = [entry for holder, entry in self._ledger.entries if holder == account]
        first = self._accounts[account]
        begun_with = first.granted_nano - sum(map(_sign, found))
        if begun_with:
            found.insert(0, Entry(first.created_at, "grant", begun_with, "credit to begin with"))
        return found


def _sign(entry: Entry) -> int:
    return -entry.nano if entry.kind == "surcharge" else entry.nano
