"""Documents as PDF (fpdf2, Inter embedded and cut down to what is used); implements `Printer`.

The library is loaded with the first document. One thread prints, and only so many may wait: a page of 40 lines takes
some 0.2 s of CPU, mostly for the fonts.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from techstone.control.invoicing.documents import group, list_sums
from techstone.control.pages import assets
from techstone.core.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpdf import FPDF

    from techstone.control.invoicing.records import InvoiceShown, LineShown, Party

_WAITING = 16
_FONTS = assets.FOLDER / "vendor"
# Millimetres on A4. The last column ends where the text does.
_MARGIN, _WIDTH, _FOOT = 20.0, 170.0, 22.0
_COUNTED = (56.0, 23.0, 32.0, 31.0, 28.0)
_PLAIN = (130.0, 40.0)
_ROW = 6.5
_INK, _QUIET, _LINE = (32, 30, 28), (110, 106, 100), (205, 201, 196)


class PdfPrinter:
    """Prints on A4."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "printing")
        self._waiting = 0

    async def print_invoice(self, invoice: InvoiceShown) -> bytes:
        """Return it as PDF; raise ServiceUnavailable where too many wait."""
        if self._waiting >= _WAITING:
            raise ServiceUnavailable("Too many documents are being printed. Try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, _print, invoice)
        finally:
            self._waiting -= 1


def _print(invoice: InvoiceShown) -> bytes:
    from fpdf import FPDF  # noqa: PLC0415 - 0.3 s, for who prints something

    class Paper(FPDF):
        """A4 with the number and the page at the foot."""

        def footer(self) -> None:
            self.set_y(-15)
            _ink(self, 8, _QUIET)
            self.cell(_WIDTH, 5, f"{invoice.number}, page {self.page_no()} of {{nb}}")

    paper = Paper(format="A4")
    paper.set_margins(_MARGIN, 18, _MARGIN)
    paper.c_margin = 0
    paper.set_auto_page_break(auto=False)
    paper.add_font("Inter", "", _FONTS / "inter-regular.ttf")
    paper.add_font("Inter", "B", _FONTS / "inter-semibold.ttf")
    # The same document gives the same file, whenever it is printed.
    paper.set_creation_date(datetime.fromtimestamp(invoice.issued_at, UTC))
    paper.set_title(f"{_title(invoice)} {invoice.number}")
    paper.set_author(invoice.seller.name)
    paper.add_page()
    _print_head(paper, invoice)
    _print_lines(paper, invoice)
    _print_sums(paper, invoice)
    return bytes(paper.output())


def _title(invoice: InvoiceShown) -> str:
    return "Receipt" if invoice.kind == "receipt" else "Invoice"


def _ink(paper: FPDF, size: float, colour: tuple[int, int, int] = _INK, *, bold: bool = False) -> None:
    paper.set_font("Inter", "B" if bold else "", size)
    paper.set_text_color(*colour)


def _print_head(paper: FPDF, invoice: InvoiceShown) -> None:
    _ink(paper, 18, bold=True)
    paper.cell(_WIDTH, 9, _title(invoice), new_x="LMARGIN", new_y="NEXT")
    paper.ln(6)
    top = paper.get_y()
    facts = [
        ("Number", invoice.number),
        ("Date", time.strftime("%-d %B %Y", time.gmtime(invoice.issued_at))),
        ("Top-up" if invoice.kind == "receipt" else "Month", invoice.subject),
        ("Account", invoice.account),
    ]
    for label, value in facts:
        _ink(paper, 9, _QUIET)
        paper.cell(20, 5, label)
        _ink(paper, 9)
        paper.multi_cell(_WIDTH - 20, 5, value, new_x="LMARGIN", new_y="NEXT", align="L")
    paper.set_y(max(paper.get_y(), top) + 8)
    top = paper.get_y()
    bottom = top
    for place, (label, party) in enumerate((("From", invoice.seller), ("For", invoice.buyer))):
        paper.set_xy(_MARGIN + place * _WIDTH / 2, top)
        bottom = max(bottom, _print_party(paper, label, party, invoice.account))
    paper.set_xy(_MARGIN, bottom + 10)


def _print_party(paper: FPDF, label: str, party: Party, account: str) -> float:
    """Print a party at the place where the pen is; return where it ends."""
    left, width = paper.get_x(), _WIDTH / 2 - 6
    _ink(paper, 9, _QUIET)
    paper.cell(width, 5, label)
    name = party.name or account
    lines = [*party.address.splitlines(), *([f"Tax id {party.tax_id}"] if party.tax_id else [])]
    for number, text in enumerate((name, *lines)):
        paper.set_xy(left, paper.get_y() + (5 if number == 0 else 0))
        _ink(paper, 10, bold=number == 0)
        paper.multi_cell(width, 5, text, new_x="LEFT", new_y="NEXT", align="L")
    return float(paper.get_y())


def _print_lines(paper: FPDF, invoice: InvoiceShown) -> None:
    counted = any(line.requests is not None for line in invoice.lines)
    widths = _COUNTED if counted else _PLAIN
    heads = (
        ("Description", "Requests", "Prompt tokens", "Completion tokens", "USD") if counted else ("Description", "USD")
    )
    _print_row(paper, widths, heads, _QUIET)
    for line in invoice.lines:
        cells = _list_cells(line) if counted else (line.description, group(line.amount))
        if paper.get_y() + _measure(paper, widths, cells) > paper.h - _FOOT:
            paper.add_page()
            _print_row(paper, widths, heads, _QUIET)
        _print_row(paper, widths, cells)


def _list_cells(line: LineShown) -> tuple[str, ...]:
    counts = (line.requests, line.prompt_tokens, line.completion_tokens)
    return (line.description, *("" if count is None else f"{count:,}" for count in counts), group(line.amount))


def _measure(paper: FPDF, widths: Sequence[float], cells: Sequence[str]) -> float:
    """Return the height of a row: a long name takes several lines."""
    from fpdf.enums import MethodReturnValue  # noqa: PLC0415 - loaded already

    _ink(paper, 8.5)
    lines = paper.multi_cell(widths[0] - 2, 4.5, cells[0], dry_run=True, output=MethodReturnValue.LINES, align="L")
    return max(_ROW, 4.5 * len(cast("list[str]", lines)) + 2)


def _print_row(paper: FPDF, widths: Sequence[float], cells: Sequence[str], colour: tuple[int, int, int] = _INK) -> None:
    """Print a row with a hairline under it; figures end at the right of their column."""
    height, top = _measure(paper, widths, cells), paper.get_y()
    _ink(paper, 8.5, colour)
    paper.set_xy(_MARGIN, top + 1)
    paper.multi_cell(widths[0] - 2, 4.5, cells[0], align="L", new_x="RIGHT", new_y="TOP")
    left = _MARGIN + widths[0]
    for width, text in zip(widths[1:], cells[1:], strict=True):
        paper.set_xy(left, top + 1)
        paper.cell(width, 4.5, text, align="R")
        left += width
    paper.set_draw_color(*_LINE)
    paper.set_line_width(0.15)
    paper.line(_MARGIN, top + height, _MARGIN + _WIDTH, top + height)
    paper.set_xy(_MARGIN, top + height)


def _print_sums(paper: FPDF, invoice: InvoiceShown) -> None:
    """Print what the lines come to, together on one page."""
    rows = list_sums(invoice)
    if paper.get_y() + 8 + 6 * len(rows) > paper.h - _FOOT:
        paper.add_page()
    paper.ln(4)
    for place, (label, amount) in enumerate(rows):
        last = place == len(rows) - 1
        _ink(paper, 11 if last else 9, bold=last)
        paper.set_x(_MARGIN + _WIDTH - 110)
        paper.cell(70, 6, label, align="L")
        paper.cell(40, 6, amount, align="R", new_x="LMARGIN", new_y="NEXT")
