"""What a month did to an account's money, line by line: the ledger's transfers, and nothing else.

Requests count on the day on which they were admitted, at what they were charged; what was corrected later is a line of
its own on the day of the correction. So a day that is over changes only where a request is booked late.
"""

from __future__ import annotations

import csv
import io
import time
from typing import TYPE_CHECKING

from techstone.control.invoicing import months
from techstone.control.invoicing.records import Statement, StatementLine
from techstone.core import money
from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from techstone.control.accounts.records import Account
    from techstone.control.invoicing.ports import InvoiceStore
    from techstone.control.invoicing.records import Entry, LineKind, Movements
    from techstone.control.ports import Clock

# (kind, beginning of the transfer's note, what it is called)
_GRANTS: tuple[tuple[LineKind, str, str], ...] = (
    ("code", "code ", "Top-up code"),
    ("card", "payment ", "Top-up by card"),
    ("opening", "credit to begin with", "Credit to begin with"),
    ("credit", "", "Credit by the operator"),
)


class Statements:
    """Shows them."""

    def __init__(self, store: InvoiceStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def show(self, account: Account, month: str | None = None) -> Statement:
        """Return the statement of a month (None: this one, so far); raise InvalidRequest for `month`."""
        chosen = months.name(self._clock()) if month is None else month
        try:
            start, end = months.parse(chosen)
        except ValueError as error:
            raise InvalidRequest(f"{error}.", param="month") from error
        return compose(chosen, account.email, await self._store.read_movements(account.id, start, end))


def compose(month: str, email: str, movements: Movements) -> Statement:
    """Return the statement of what moved; within a day usage comes last."""
    found: list[tuple[int, int, LineKind, str, int]] = []
    for entry in movements.entries:
        kind, text = _name(entry)
        found.append((entry.at // 86_400, 0, kind, text, -entry.nano if entry.kind == "surcharge" else entry.nano))
    for day in movements.days:
        text = f"Usage, {day.requests:,} request{'' if day.requests == 1 else 's'}"
        found.append((day.start // 86_400, 1, "usage", text, -day.nano))
    balance = movements.before
    lines = []
    for number, _, kind, text, nano in sorted(found, key=lambda one: one[:2]):
        balance += nano
        written = time.strftime("%Y-%m-%d", time.gmtime(number * 86_400))
        lines.append(StatementLine(written, kind, text, money.show(nano), money.show(balance)))
    return Statement(month, email, money.show(movements.before), tuple(lines), money.show(balance))


def _name(entry: Entry) -> tuple[LineKind, str]:
    if entry.kind != "grant":
        return "correction", "Prices corrected, refunded" if entry.kind == "refund" else "Prices corrected, charged"
    for kind, beginning, text in _GRANTS:
        if entry.note.startswith(beginning):
            name = entry.note.removeprefix(beginning) if kind in {"code", "card"} else ""
            return kind, f"{text} {name}".rstrip()
    raise AssertionError("the last beginning is empty")


def write_csv(statement: Statement) -> str:
    """Return the statement as CSV (RFC 4180), with the opening and the closing balance as lines."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["day", "kind", "description", "amount_usd", "balance_usd"])
    writer.writerow([f"{statement.month}-01", "balance", "Opening balance", "", statement.opening])
    for line in statement.lines:
        writer.writerow([line.day, line.kind, line.description, line.amount, line.balance])
    writer.writerow(["", "balance", "Closing balance", "", statement.closing])
    return out.getvalue()
