"""Runs the coroutine of one request without an asyncio task: at once up to its first wait, and on when that is over.

A task costs 3 to 4 µs a request (creation, registration, a turn of the loop before its first step), measured on CPython
3.11; this costs 1. What runs here may await futures and tasks, but must not ask asyncio for its current task:
`asyncio.timeout` and the like belong into a task of their own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Trampoline:
    """One coroutine under way."""

    __slots__ = ("_coroutine", "_waiting")

    def __init__(self, coroutine: Coroutine[Any, None, None]) -> None:
        self._coroutine = coroutine
        self._waiting: asyncio.Future[object] | None = None

    def advance(self, _: object = None) -> None:
        """Run up to the next wait, or to the end."""
        try:
            waiting = self._coroutine.send(None)
        except (StopIteration, asyncio.CancelledError):
            self._waiting = None
            return
        self._await(waiting)

    def _await(self, waiting: asyncio.Future[object]) -> None:
        # What `Future.__await__` sets, and a task would reset: the future is being waited for, as it should be.
        waiting._asyncio_future_blocking = False  # noqa: SLF001 - the protocol between a future and who drives it (asyncio/futures.py)
        self._waiting = waiting
        waiting.add_done_callback(self.advance)

    def cancel(self) -> None:
        """End the coroutine where it waits; its clean-up runs before this returns, up to a wait of its own."""
        waiting = self._waiting
        if waiting is None:
            return
        self._waiting = None
        waiting.remove_done_callback(self.advance)
        waiting.cancel()
        try:
            further = self._coroutine.throw(asyncio.CancelledError())
        except (StopIteration, asyncio.CancelledError):
            return
        self._await(further)
