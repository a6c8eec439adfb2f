"""What is told in portions: how large they are, in which order, and when all of it was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from techstone.adapters.limits.telling import Telling

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from techstone.adapters.limits.connection import Connection, Reply, Take
    from techstone.adapters.limits.telling import Call


class Line:
    """A connection that answers when the test says so, and a loop whose time it sets."""

    def __init__(self) -> None:
        self.alive = True
        self.sent: list[bytes] = []
        self.waiting: list[Take] = []
        self.now = 0.0
        self.telling = Telling(cast("asyncio.AbstractEventLoop", self), cast("Connection", self))

    def time(self) -> float:
        return self.now

    def send(self, command: bytes, take: Take, *, patient: bool) -> None:
        assert patient
        self.sent.append(command)
        self.waiting.append(take)

    def answer(self, seconds: float = 0.001) -> int:
        """Answer all that waits; return how much that was."""
        self.now += seconds
        waiting, self.waiting = self.waiting, []
        for take in waiting:
            take(b"")
        return len(waiting)


def _ignore(_: Reply) -> None:
    pass


def _calls(name: bytes, count: int, size: int = 0) -> Iterator[Call]:
    for number in range(count):
        yield b"%b%d" % (name, number) + bytes(size), _ignore


def test_portions_grow_while_they_are_answered_soon_and_shrink_where_not() -> None:
    """At first 20, at most 200; the next one leaves once the one before is answered, and the end is told last."""
    line, ended = Line(), []
    line.telling.tell(_calls(b"c", 1000), lambda: ended.append(line.now))
    sizes = [line.answer() for _ in range(5)]
    assert sizes == [20, 40, 80, 160, 200]
    assert [line.answer(0.06), line.answer(0.06), line.answer(0.02), line.answer(0.001)] == [200, 100, 50, 50]
    assert not ended
    while line.answer():
        pass
    assert line.sent == [b"c%d" % number for number in range(1000)]
    assert len(ended) == 1


def test_large_calls_make_a_portion_sooner() -> None:
    """A stored answer may have a megabyte: few of them are read from the disk at once."""
    line = Line()
    line.telling.tell(_calls(b"c", 5, 200_000), lambda: None)
    assert [line.answer() for _ in range(4)] == [2, 2, 1, 0]


def test_several_take_turns() -> None:
    """A renewal does not wait for all of a journal."""
    line, ended = Line(), []
    line.telling.tell(_calls(b"a", 90), lambda: ended.append("a"))
    line.telling.tell(_calls(b"b", 3), lambda: ended.append("b"))
    line.answer()
    line.answer()
    assert line.sent[-3:] == [b"b0", b"b1", b"b2"]
    while line.answer():
        pass
    assert ended == ["b", "a"]


def test_nothing_to_tell_is_told_at_once() -> None:
    """Its end comes without a call."""
    line, ended = Line(), []
    line.telling.tell(_calls(b"a", 0), lambda: ended.append("a"))
    assert (line.sent, ended) == ([], ["a"])


def test_rest_is_not_asked_for_once_it_is_stopped() -> None:
    """What was not sent is still where it was, and nobody hears that all was told."""
    line, ended = Line(), []
    calls = _calls(b"a", 60)
    line.telling.tell(calls, lambda: ended.append("a"))
    line.telling.stop()
    line.answer()
    assert (len(line.sent), ended) == (20, [])
    assert next(calls)[0] == b"a20"
