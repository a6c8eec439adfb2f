"""An upstream's answer, seen through a dialect: what must be read whole before it can be understood.

Implements the port `Answer` around another answer, so that who relays it does not know.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from techstone.core.dialects import engine
from techstone.gateway.ports import Answer, AnswerSink, UpstreamProblem
from techstone.gateway.relay import WHOLE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable


class Restored:
    """An answer brought back to OpenAI's form; asked for as a stream, it is told as one."""

    _reading: asyncio.Task[None] | None = None

    def __init__(self, answer: Answer, form: engine.Form) -> None:
        self._answer = answer
        self._form = form
        self.status = answer.status

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Headers in order, names in lower case."""
        return self._answer.fields

    def header(self, name: bytes) -> bytes | None:
        """Return the last header of that lower-case name; the media type is that of what this becomes."""
        return None if name == b"content-type" else self._answer.header(name)

    @property
    def whole(self) -> bool:
        """Whether `read` would not wait."""
        return self._answer.whole

    def take_whole(self, limit: int) -> bytes:
        """Return the body that is all there, in the form."""
        return engine.restore(self._answer.take_whole(limit), self._form)

    async def read(self, limit: int) -> bytes:
        """Return the body, brought back."""
        return engine.restore(await self._answer.read(limit), self._form)

    def pause(self) -> None:
        """Stop reading."""
        self._answer.pause()

    def resume(self) -> None:
        """Read on."""
        self._answer.resume()

    def pipe(self, sink: AnswerSink) -> None:
        """Read the answer and hand it on as events."""
        self._reading = asyncio.get_running_loop().create_task(self._replay(sink.body_received, sink.body_ended))

    async def _replay(self, take: Callable[[bytes], None], end: Callable[[UpstreamProblem | None], None]) -> None:
        try:
            body = await self.read(WHOLE_LIMIT)
        except UpstreamProblem as problem:
            end(problem)
            return
        take(engine.replay(body))
        end(None)

    def close(self) -> None:
        """Give the connection up."""
        if self._reading is not None:
            self._reading.cancel()
        self._answer.close()
