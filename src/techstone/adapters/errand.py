"""An errand to the control plane: a task of its own beside the requests, that posts as long as the process lives.

Best effort: what ends it, whatever that was, it begins again after a pause; no request waits for one or depends on it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from techstone.core.snapshot import Timeouts
from techstone.gateway.ports import UpstreamProblem
from techstone.gateway.trampoline import Trampoline

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from techstone.gateway.ports import ControlPlane

    Attempt = Callable[[], Coroutine[object, object, bool]]
    """Posts what there is to post; says whether there may be more. What control does not take is its to keep."""

_ANSWER_LIMIT = 4096
_TIMEOUTS = Timeouts(connect=1.0, first_byte=10.0, between_bytes=10.0, total=20.0)


class Line:
    """What is posted to the control plane's internal API."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    async def post(self, path: str, media: str, body: bytes) -> None:
        """Send a body; raise UpstreamProblem or OSError where control does not take it."""
        head = f"POST /internal/{path} HTTP/1.1\r\nhost: control\r\ncontent-type: {media}\r\nx-request-id: {path}"
        answer = await self._control.ask(head.encode(), body, _TIMEOUTS)
        await answer.read(_ANSWER_LIMIT)
        if answer.status >= 300:
            raise UpstreamProblem("status", str(answer.status))


class Errand:
    """Does one thing again and again, every `pause` seconds."""

    def __init__(self, attempt: Attempt, pause: float) -> None:
        self._attempt = attempt
        self._pause = pause
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
        self._running = Trampoline(self._run(), self._ended)
        self._again = self._loop.call_later(self._pause, self._running.advance)

    async def _run(self) -> None:
        while True:
            if not await self._attempt():
                await asyncio.sleep(self._pause)
