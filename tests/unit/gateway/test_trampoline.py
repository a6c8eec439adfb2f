"""Coroutines without a task: run at once, woken by signals and futures, ended where they wait."""

from __future__ import annotations

import asyncio

import pytest

from techstone.gateway.trampoline import Signal, Trampoline


class Diary:
    """A coroutine that writes down where it has been."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ends: list[Exception | None] = []

    def end(self, error: Exception | None) -> None:
        self.ends.append(error)

    async def live(self, waiting: Signal | asyncio.Future[None]) -> None:
        self.lines.append("began")
        try:
            await waiting
            self.lines.append("went on")
        except asyncio.CancelledError:
            self.lines.append("was ended")
            raise
        finally:
            self.lines.append("cleaned up")


def _ignore(error: Exception | None) -> None:
    """Not of interest here."""


def test_end_is_told_once() -> None:
    """None for a return, the exception for a failure, nothing for a cancellation."""
    diary, signal = Diary(), Signal()
    Trampoline(diary.live(signal), diary.end).advance()
    signal.give()
    assert diary.ends == [None]

    async def fail() -> None:
        raise ValueError("x")

    Trampoline(fail(), diary.end).advance()
    assert isinstance(diary.ends[1], ValueError)
    waiting = Trampoline(diary.live(Signal()), diary.end)
    waiting.advance()
    waiting.cancel()
    assert len(diary.ends) == 2


def test_runs_at_once_and_goes_on_in_the_signals_stack() -> None:
    """No loop is needed: up to the wait when started, on when the signal is given."""
    diary, signal = Diary(), Signal()
    Trampoline(diary.live(signal), diary.end).advance()
    assert diary.lines == ["began"]
    signal.give()
    assert diary.lines == ["began", "went on", "cleaned up"]


def test_signal_that_has_come_is_not_waited_for() -> None:
    """Given before it is awaited, it holds nobody."""
    diary, signal = Diary(), Signal()
    signal.give()
    Trampoline(diary.live(signal), diary.end).advance()
    assert diary.lines[-1] == "cleaned up"


def test_cancelling_runs_the_clean_up_before_it_returns() -> None:
    """The coroutine ends where it waits; a later signal wakes nobody; a second cancel does nothing."""
    diary, signal = Diary(), Signal()
    running = Trampoline(diary.live(signal), diary.end)
    running.advance()
    running.cancel()
    assert diary.lines == ["began", "was ended", "cleaned up"]
    signal.give()
    running.cancel()
    assert len(diary.lines) == 3


async def test_futures_and_tasks_are_waited_for_too() -> None:
    """What resolves by way of the loop resumes the coroutine on its next turn."""
    diary = Diary()
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    Trampoline(diary.live(future), diary.end).advance()
    future.set_result(None)
    await asyncio.sleep(0)
    assert diary.lines == ["began", "went on", "cleaned up"]


async def test_cancelling_in_the_turn_of_the_result_ends_it_once() -> None:
    """A client that hangs up just as its upstream is connected: the wake-up under way finds nobody."""
    diary, clean_up = Diary(), Signal()

    async def live(waiting: asyncio.Future[None]) -> None:
        try:
            await diary.live(waiting)
        finally:
            await clean_up
            diary.lines.append("closed")

    for coroutine, lines in ((diary.live, 3), (live, 6)):
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        running = Trampoline(coroutine(future), diary.end)
        running.advance()
        future.set_result(None)
        running.cancel()
        await asyncio.sleep(0)
        assert diary.lines[-3:] == ["began", "was ended", "cleaned up"]
        assert (len(diary.lines), diary.ends) == (lines, [])
    clean_up.give()
    assert (diary.lines[-1], diary.ends) == ("closed", [])


async def test_cancelling_cancels_the_task_that_is_waited_for() -> None:
    """A connect under way ends with the request that wanted it."""
    task = asyncio.get_running_loop().create_task(asyncio.sleep(100))
    running = Trampoline(Diary().live(task), _ignore)
    running.advance()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_failure_of_a_future_is_raised_where_it_is_awaited() -> None:
    """An exception arrives in the coroutine, not in the loop."""
    caught: list[BaseException] = []

    async def live(future: asyncio.Future[None]) -> None:
        try:
            await future
        except OSError as error:
            caught.append(error)

    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    Trampoline(live(future), _ignore).advance()
    future.set_exception(OSError("gone"))
    await asyncio.sleep(0)
    assert str(caught[0]) == "gone"
