"""Ships transcripts to the control plane: a task of its own beside the requests, and best effort.

What control does not take is kept for the next try, as far as there is room (`gateway.transcripts`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from techstone.core.snapshot import Timeouts
from techstone.gateway.ports import Call, Origin, UpstreamProblem
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from techstone.gateway.ports import Upstreams
    from techstone.gateway.transcripts import Transcripts

PAUSE_SECONDS = 0.5
_SHIPPED_AT_ONCE = 4 * 1024 * 1024
_ANSWER_LIMIT = 4096
_TIMEOUTS = Timeouts(connect=1.0, first_byte=10.0, between_bytes=10.0, total=20.0)
_HEAD = (
    b"POST /internal/transcripts HTTP/1.1\r\nhost: control\r\ncontent-type: application/msgpack\r\nx-request-id: ship"
)


class Shipper:
    """Ships for as long as the process lives."""

    def __init__(self, upstreams: Upstreams, socket: str, transcripts: Transcripts) -> None:
        self._upstreams = upstreams
        self._origin = Origin("unix", socket, 0)
        self._transcripts = transcripts
        self._loop = asyncio.get_running_loop()
        self._running = Trampoline(self._run(), self._ended)
        self._again: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._running.advance()

    def stop(self) -> None:
        """End."""
        if self._again is not None:
            self._again.cancel()
        self._running.cancel()

    def _ended(self, _: Exception | None) -> None:
        # Whatever it was, the next try may go well; requests do not depend on any.
        self._running = Trampoline(self._run(), self._ended)
        self._again = self._loop.call_later(PAUSE_SECONDS, self._running.advance)

    async def _run(self) -> None:
        while True:
            batch = self._transcripts.pick(_SHIPPED_AT_ONCE)
            if batch:
                try:
                    await self._send(msgspec.msgpack.encode(batch))
                    self._transcripts.done(len(batch))
                    continue
                except (UpstreamProblem, OSError):
                    pass  # control is away, or busy: the same batch again, later
            await asyncio.sleep(PAUSE_SECONDS)

    async def _send(self, body: bytes) -> None:
        answer = await self._upstreams.open(Call(self._origin, _HEAD, body, _TIMEOUTS))
        await answer.read(_ANSWER_LIMIT)
        if answer.status >= 300:
            raise UpstreamProblem("status", str(answer.status))
