"""A document as PDF: everything on it, over as many pages as it takes."""

from __future__ import annotations

import re

import pytest

from techstone.adapters import printing
from techstone.adapters.printing import PdfPrinter
from techstone.control.invoicing.records import InvoiceShown, LineShown, Party
from techstone.core.errors import ServiceUnavailable


def invoice(lines: int) -> InvoiceShown:
    found = tuple(LineShown(f"model-{n}", n, n * 10**9, n * 10**6, f"{n}.000000001") for n in range(lines))
    return InvoiceShown(
        *("TS-2026-000042", "invoice", "a@x", "2026-11", 1_796_090_400, Party("Seller", "Street\nTown"), Party("Łódź")),
        *(found, "12345.678901234", "25.50", "-0.008901234", "12320.17", "0.00"),
    )


@pytest.mark.parametrize(("lines", "pages"), [(0, 1), (5, 1), (60, 2), (200, 6)])
async def test_long_document_has_pages(lines: int, pages: int) -> None:
    """As many as its lines need, and the same bytes each time."""
    printer = PdfPrinter()
    printed = await printer.print_invoice(invoice(lines))
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", printed)) == pages
    assert await printer.print_invoice(invoice(lines)) == printed


async def test_too_many_at_a_time_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 503, before anything is done."""
    monkeypatch.setattr(printing, "_WAITING", 0)
    with pytest.raises(ServiceUnavailable):
        await PdfPrinter().print_invoice(invoice(1))
