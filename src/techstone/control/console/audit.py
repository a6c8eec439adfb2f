"""The audit log: who changed what in this account; for operators, in the whole cloud."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

import msgspec
from litestar import Response, Router, get

from techstone.control.audit.records import AuditFilter, EntryShown
from techstone.control.console import table
from techstone.control.console.pages import Pages, require_operator, seat_of, visitor_of
from techstone.control.console.session import PageRequest, read_query

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROWS = 50
# What one file holds: more than a person reads, less than a request may take.
_MOST = 10_000
NOUNS = ("account", "code", "key", "ledger", "link", "person", "price", "session")


class Search(msgspec.Struct, forbid_unknown_fields=True):
    """What is looked for: a kind of act, who acted, the entries before one."""

    action: Annotated[str, msgspec.Meta(max_length=64)] = ""
    actor: Annotated[str, msgspec.Meta(max_length=254)] = ""
    before: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None

    def address(self, path: str, **changes: object) -> str:
        """Return the URL of this search, with some of it changed."""
        values = msgspec.structs.asdict(self) | {"before": None} | changes
        query = urlencode({name: value for name, value in values.items() if value})
        return path + (f"?{query}" if query else "")


def route_audit(pages: Pages) -> Router:
    """Return the routes of both logs."""
    log = pages.services.audit

    async def show(request: PageRequest, path: str, account: str | None) -> Response[str]:
        search = read_query(request, Search)
        filters = AuditFilter(account, search.actor or None, search.action or None)
        found = await log.list(filters, search.before, _ROWS + 1)
        return pages.shell.show(
            request,
            "audit.html",
            visitor_of(request),
            entries=found[:_ROWS],
            more=len(found) > _ROWS,
            search=search,
            own=path,
            nouns=NOUNS,
        )

    async def export(request: PageRequest, account: str | None) -> Response[str]:
        search = read_query(request, Search)
        filters = AuditFilter(account, search.actor or None, search.action or None)
        return table.send(write_csv(await log.list(filters, search.before, _MOST)), "audit")

    @get("/audit")
    async def show_own(request: PageRequest) -> Response[str]:
        return await show(request, "/console/audit", seat_of(request, "audit.read").account)

    @get("/audit/audit.csv")
    async def export_own(request: PageRequest) -> Response[str]:
        return await export(request, seat_of(request, "audit.read").account)

    @get("/operate/audit")
    async def show_all(request: PageRequest) -> Response[str]:
        require_operator(request)
        return await show(request, "/console/operate/audit", None)

    @get("/operate/audit/audit.csv")
    async def export_all(request: PageRequest) -> Response[str]:
        require_operator(request)
        return await export(request, None)

    return Router("/console", route_handlers=[show_own, export_own, show_all, export_all])


def write_csv(entries: Iterable[EntryShown]) -> str:
    """Return the entries as CSV, digests included, so that the chain can be followed elsewhere."""
    return table.write(EntryShown.__struct_fields__, (_write(entry) for entry in entries))


def _write(entry: EntryShown) -> list[object]:
    told = msgspec.structs.asdict(entry)
    told["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.at))
    told["detail"] = "; ".join(f"{name}: {value}" for name, value in entry.detail.items())
    return list(told.values())
