"""Tables as files: CSV (RFC 4180) that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from litestar import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What a cell may not begin with: it would be calculated (OWASP, CSV Injection).
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def write(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a head and rows as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULAS) else cell for cell in row])
    return out.getvalue()


def send(text: str, name: str) -> Response[str]:
    """Return the answer that is saved as a file of that name."""
    headers = {"content-disposition": f'attachment; filename="{name}.csv"', "cache-control": "no-store"}
    return Response(text, media_type="text/csv", headers=headers)
