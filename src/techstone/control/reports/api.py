"""Reports over the internal API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, Router, post

from techstone.core.errors import InvalidRequest
from techstone.wire.report import Report

if TYPE_CHECKING:
    from techstone.control.reports.service import Reports

# 4,000 refusals of 0.6 KB, and the state of every route.
_LARGEST = 8 * 1024 * 1024
_DECODER = msgspec.json.Decoder(Report)


def route_reports(reports: Reports) -> Router:
    """Return the route that gateways report to."""

    @post("/reports", request_max_body_size=_LARGEST, status_code=200)
    async def take(request: Request[Any, Any, Any]) -> dict[str, str]:
        try:
            report = _DECODER.decode(await request.body())
        except msgspec.MsgspecError as error:
            raise InvalidRequest(f"the report cannot be read: {error}") from error
        await reports.take(report)
        return {}

    return Router("/", route_handlers=[take])
