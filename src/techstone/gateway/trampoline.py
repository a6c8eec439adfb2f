"""Runs the coroutine of one request without an asyncio task: at once up to its first wait, and on when that is over.

A task costs 3 to 4 µs a request (creation, registration, a turn of the loop before its first step), measured on CPython
3.11; this costs 1. What runs here may await futures and tasks, but must not ask asyncio for its current task:
`asyncio.timeout` and the like belong into a task of their own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator


class Signal:
    """Something to wait for that goes on in the very stack which says that it has come; for one waiter, here only.

    A future would wake its waiter by way of the event loop, 1 µs later and dearer.
    """

    __slots__ = ("_waiter", "come")

    def __init__(self) -> None:
        self.come = False
        self._waiter: Trampoline | None = None

    def __await__(self) -> Generator[Signal, None, None]:
        """Wait."""
        if not self.come:
            yield self

    def wait(self, waiter: Trampoline) -> None:
        """Keep who waits."""
        self._waiter = waiter

    def give(self) -> None:
        """Say that it has come."""
        self.come = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.advance()

    def forget(self) -> None:
        """Wake nobody."""
        self._waiter = None


class Trampoline:
    """One coroutine under way; `ended` hears how it ended: None, or what it raised. Not told of a cancellation."""

    __slots__ = ("_coroutine", "_ended", "_waiting")

    def __init__(self, coroutine: Coroutine[Any, None, None], ended: Callable[[Exception | None], None]) -> None:
        self._coroutine = coroutine
        self._ended = ended
        self._waiting: asyncio.Future[object] | Signal | None = None

    def advance(self, done: object = None) -> None:
        """Run up to the next wait, or to the end. `done` is the future that was waited for, where it was one."""
        if done is not None and done is not self._waiting:
            return  # it was cancelled after this wake-up had been scheduled
        try:
            waiting = self._coroutine.send(None)
        except StopIteration:
            self._waiting = None
            self._ended(None)
        except asyncio.CancelledError:
            self._waiting = None
        except Exception as error:  # noqa: BLE001 - handed to who knows what to do with it
            self._waiting = None
            self._ended(error)
        else:
            self._await(waiting)

    def _await(self, waiting: asyncio.Future[object] | Signal) -> None:
        self._waiting = waiting
        if isinstance(waiting, Signal):
            waiting.wait(self)
            return
        # What `Future.__await__` sets, and a task would reset: the future is being waited for, as it should be.
        waiting._asyncio_future_blocking = False  # noqa: SLF001 - the protocol between a future and who drives it (asyncio/futures.py)
        waiting.add_done_callback(self.advance)

    def cancel(self) -> None:
        """End the coroutine where it waits; its clean-up runs before this returns, up to a wait of its own."""
        waiting = self._waiting
        if waiting is None:
            return
        self._waiting = None
        if isinstance(waiting, Signal):
            waiting.forget()
        else:
            waiting.remove_done_callback(self.advance)
            waiting.cancel()
        try:
            further = self._coroutine.throw(asyncio.CancelledError())
        except (StopIteration, asyncio.CancelledError):
            return
        self._await(further)
