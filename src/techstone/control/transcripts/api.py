"""Transcripts over the internal API: where gateways ship them to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, Router, post

from techstone.core.errors import InvalidRequest
from techstone.wire.transcript import Batch

if TYPE_CHECKING:
    from techstone.control.transcripts.service import Transcripts

_DECODER = msgspec.msgpack.Decoder(Batch)


def route_transcripts(transcripts: Transcripts) -> Router:
    """Return the route /internal/transcripts."""

    # The gateway sends at most 4 MB, but a single transcript may be half as long.
    @post("/", status_code=204, request_max_body_size=32 * 1024 * 1024)
    async def keep(request: Request[Any, Any, Any]) -> None:
        try:
            batch = _DECODER.decode(await request.body())
        except msgspec.MsgspecError as error:
            raise InvalidRequest("The body must be transcripts in MessagePack.") from error
        await transcripts.keep(batch)

    return Router("/transcripts", route_handlers=[keep])
