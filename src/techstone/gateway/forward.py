"""Every path that is not the API's goes to the control plane: its pages, the management API.

The same relay that serves the upstreams: one parser and one guard for everything, and the Console's framework is never
exposed bare. Hop-by-hop headers stay here (RFC 9110 section 7.6.1); the client's address and scheme are told by us,
never by the client, and so is the pass of the port between the planes.

What changed something is answered once this gateway knows of the change too: a key is good when it is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from techstone.core import passes
from techstone.core.errors import ServiceUnavailable
from techstone.core.snapshot import Timeouts
from techstone.gateway.ports import Answer, ControlPlane, Snapshots, UpstreamProblem

if TYPE_CHECKING:
    from techstone.gateway.exchange import Exchange, Field
    from techstone.gateway.quota import Quota

_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"expect",
    )
)
_OURS = frozenset(
    (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id", b"forwarded", passes.HEADER)
)
# Which revision of the snapshot a change has made; between the planes only.
_REVISION = b"x-techstone-revision"
_DROPPED_OUT = _HOP | {b"date", b"server", b"x-request-id", _REVISION}
# The stream is milliseconds behind; one that hangs holds nobody's page up for long.
_CATCH_UP_SECONDS = 1.0
_TIMEOUTS = Timeouts(connect=2.0, first_byte=30.0, between_bytes=60.0, total=3600.0)


class Forward:
    """The endpoint of all other paths. `control` serves the pages."""

    def __init__(self, control: ControlPlane, quota: Quota, snapshots: Snapshots) -> None:
        self._quota = quota
        self._snapshots = snapshots
        self._control = control

    async def pass_on(self, exchange: Exchange) -> None:
        """Send the request to the control plane and its answer to the client."""
        body, exchange.body = exchange.body, b""
        try:
            answer = await self._control.ask(_head(exchange), body, _TIMEOUTS, head_only=exchange.method == b"HEAD")
        except UpstreamProblem as problem:
            raise ServiceUnavailable("The Console is not available at the moment. The API is.") from problem
        if answer.status == 401 and b"authorization" in exchange.headers:
            # A wrong admin key is one of the address's attempts, like any other wrong key.
            refusal = self._quota.fail(exchange)
            if refusal is not None:
                answer.close()
                raise refusal
        try:
            revision = answer.header(_REVISION)
            if revision is not None:
                # A task of its own: an exchange is not one, and only a task has timeouts.
                await exchange.wire.loop.create_task(self._catch_up(int(revision)))
            await _Relay(exchange, answer).run()
        finally:
            answer.close()

    async def _catch_up(self, revision: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                await self._snapshots.reach(revision)


def _head(exchange: Exchange) -> bytes:
    target = exchange.path + b"?" + exchange.query if exchange.query else exchange.path
    host = exchange.headers.get(b"host", b"localhost")
    lines = [b"%b %b HTTP/1.1" % (exchange.method, target)]
    named = {name.strip().lower() for name in exchange.headers.get(b"connection", b"").split(b",")}
    for name, value in exchange.fields:
        if name not in _HOP and name not in _OURS and name not in named:
            lines.append(b"%b: %b" % (name, value))
    lines += (
        b"x-forwarded-for: %b" % exchange.client.encode(),
        b"x-forwarded-proto: %b" % (b"https" if exchange.secure else b"http"),
        b"x-forwarded-host: %b" % host,
        b"x-request-id: %b" % exchange.request_id,
    )
    return b"\r\n".join(lines)


class _Relay:
    """One answer of the control plane on its way to the client."""

    __slots__ = ("_answer", "_ended", "_exchange", "_length", "_problem")

    def __init__(self, exchange: Exchange, answer: Answer) -> None:
        self._exchange = exchange
        self._answer = answer
        self._ended: asyncio.Future[None] = exchange.wire.loop.create_future()
        self._problem: UpstreamProblem | None = None
        length = answer.header(b"content-length")
        self._length = int(length) if length is not None else None

    async def run(self) -> None:
        exchange, answer = self._exchange, self._answer
        fields: list[Field] = [field for field in answer.fields if field[0] not in _DROPPED_OUT]
        bodiless = exchange.method == b"HEAD" or answer.status in {204, 304}
        if bodiless and self._length is None and answer.status != 204:
            self._length = 0
        exchange.start(answer.status, fields, None if answer.status == 204 else self._length, chunked=not bodiless)
        if bodiless:
            exchange.finish(chunked=False)
            return
        exchange.flow = answer
        answer.pipe(self)
        await self._ended
        if self._problem is not None:
            exchange.cut()
        else:
            exchange.finish(chunked=self._length is None)

    def body_received(self, data: bytes) -> None:
        self._exchange.send_part(data, self._length)

    def body_ended(self, problem: UpstreamProblem | None) -> None:
        self._problem = problem
        if not self._ended.done():
            self._ended.set_result(None)
