"""The audit log over the internal API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router, get
from litestar.params import FromQuery

from techstone.control.audit.records import AuditFilter, EntryShown, Soundness
from techstone.control.audit.service import PAGE

if TYPE_CHECKING:
    from techstone.control.audit.service import AuditLog


def route_audit(log: AuditLog) -> Router:
    """Return the routes under /internal/audit."""

    @get("/")
    async def list_entries(
        account: FromQuery[str | None] = None,
        actor: FromQuery[str | None] = None,
        action: FromQuery[str | None] = None,
        before: FromQuery[int | None] = None,
        limit: FromQuery[int] = PAGE,
    ) -> list[EntryShown]:
        return list(await log.list(AuditFilter(account, actor, action), before, limit))

    @get("/check")
    async def check() -> Soundness:
        return await log.check()

    return Router("/audit", route_handlers=[list_entries, check])
