"""The audit log over the internal API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router, get
from litestar.params import FromQuery

from techstone.control.audit.records import AuditFilter, EntryShown, Soundness
from techstone.control.audit.service import PAGE
from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from techstone.control.audit.service import AuditLog

_MOST = 1000  # entries of one answer
_LAST = 2**63 - 1  # the largest number that an entry may have


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
        if not 1 <= limit <= _MOST:
            raise InvalidRequest(f"limit must be 1 to {_MOST}.", param="limit")
        if before is not None and not 1 <= before <= _LAST:
            raise InvalidRequest("before must be the number of an entry.", param="before")
        return list(await log.list(AuditFilter(account, actor, action), before, limit))

    @get("/check")
    async def check() -> Soundness:
        return await log.check()

    return Router("/audit", route_handlers=[list_entries, check])
