"""Asks the control plane what an account has spent, for money that a shared limit store begins to count."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from techstone.core.errors import LedgerUnavailable
from techstone.core.snapshot import Timeouts
from techstone.gateway.ports import UpstreamProblem
from techstone.gateway.trampoline import Trampoline
from techstone.wire.figure import Figure

if TYPE_CHECKING:
    from techstone.gateway.ports import ControlPlane

# An account with 10,000 keys takes 0.6 MB.
_ANSWER_LIMIT = 16 * 1024 * 1024
_TIMEOUTS = Timeouts(connect=1.0, first_byte=5.0, between_bytes=5.0, total=5.0)


class Figures:
    """What control planes say."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    async def tell(self, account: str) -> Figure:
        """Return the figure; raise LedgerUnavailable."""
        told: asyncio.Future[Figure] = asyncio.get_running_loop().create_future()

        async def ask() -> None:
            figure = await self._ask(account)
            if not told.done():
                told.set_result(figure)

        def ended(error: Exception | None) -> None:
            if error is not None and not told.done():
                told.set_exception(error)

        # Upstreams are asked without a task, as requests do (gateway/trampoline.py).
        asking = Trampoline(ask(), ended)
        asking.advance()
        try:
            return await told
        except (UpstreamProblem, OSError, msgspec.MsgspecError) as problem:
            raise LedgerUnavailable from problem
        finally:
            asking.cancel()

    async def _ask(self, account: str) -> Figure:
        path = f"/internal/figures/{quote(account, safe='')}"
        head = f"GET {path} HTTP/1.1\r\nhost: control\r\nx-request-id: figure"
        answer = await self._control.ask(head.encode(), b"", _TIMEOUTS)
        body = await answer.read(_ANSWER_LIMIT)
        if answer.status != 200:
            raise UpstreamProblem("status", str(answer.status))
        return msgspec.json.decode(body, type=Figure)
