"""Shipping over a real socket, to a control plane that books as the ledger does or fails as a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from journals import JOURNAL, Clock, commit, name_segment, read_back, until
from usage import make_record

from techstone.adapters.journal.disk import Disk
from techstone.adapters.journal.shipping import Shipping
from techstone.adapters.upstreams.http import HttpUpstreams
from techstone.adapters.way import over_socket
from techstone.core import frames
from techstone.core.usage import DECODER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from techstone.adapters.journal.writer import JournalWriter
    from techstone.adapters.upstreams.answer import HttpAnswer
    from techstone.gateway.ports import Call

    Open = Callable[..., JournalWriter]

MEBIBYTE = 1024 * 1024
PACE = 0.2
PAUSES = (0.1, 0.2, 0.5, 1.0)
_HEAD = re.compile(rb"POST /internal/journal\?journal=([0-9a-f]{16})&first=(\d+)&base=(\d+) HTTP/1.1\r\n")
_LENGTH = re.compile(rb"content-length: (\d+)\r\n", re.IGNORECASE)


class Failure:
    """What the control plane does once, in place of what it should: answers that, hangs up (None), or hangs."""

    def __init__(self, answer: bytes | None, *, books: bool = False, hangs: bool = False) -> None:
        self.answer = answer
        self.books = books
        self.hangs = hangs


class Control:
    """Books what is new of each batch (its rule is tested with the ledger), and says how far it has come."""

    def __init__(self) -> None:
        self.script: list[Failure] = []
        self.asked: list[tuple[int, int]] = []
        self.booked: dict[int, str] = {}
        self.applied = 0
        self.given_up = 0
        self._serving: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    @contextlib.asynccontextmanager
    async def listen(self, path: Path) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._serve, str(path))
        try:
            yield
        finally:
            server.close()
            for writer in self._serving.values():
                writer.transport.abort()
            await asyncio.gather(*filter(None, self._serving))
            await asyncio.sleep(0)  # in which the connections are closed

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving[asyncio.current_task()] = writer
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                asked, length = _HEAD.match(head), _LENGTH.search(head)
                assert asked is not None
                assert length is not None
                assert asked[1].decode() == JOURNAL
                body = await reader.readexactly(int(length[1]))
                failure = self.script.pop(0) if self.script else None
                applied = self._book(int(asked[2]), int(asked[3]), body, books=failure is None or failure.books)
                if failure is not None and failure.hangs:
                    await reader.read()
                    self.given_up += 1
                answer = say(200, {"applied": applied}) if failure is None else failure.answer
                if answer is None:
                    break
                writer.write(answer)
        writer.transport.abort()

    def _book(self, first: int, base: int, body: bytes, *, books: bool) -> int:
        records = [DECODER.decode(payload) for payload, _ in frames.read(body)]
        self.asked.append((first, first + len(records) - 1))
        if base < first and self.applied + 1 < first:
            return self.applied
        for number, record in enumerate(records, first):
            if books and number > self.applied:
                assert number == self.applied + 1, "a gap"
                self.applied = number
                self.booked[number] = record.id
        return self.applied


def say(status: int, body: object) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(data), data)


@contextlib.asynccontextmanager
async def shipping(writer: JournalWriter, clock: Clock, path: Path) -> AsyncIterator[Shipping]:
    upstreams = HttpUpstreams(asyncio.get_running_loop(), {})
    ships = Shipping(writer, over_socket(upstreams, str(path)), clock.wall, print)
    ships.start()
    try:
        yield ships
    finally:
        ships.stop()
        upstreams.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
async def control(path: Path) -> AsyncIterator[Control]:
    control = Control()
    async with control.listen(path):
        yield control


async def _record(writer: JournalWriter, *numbers: int) -> None:
    await asyncio.gather(*(commit(writer, make_record(number)) for number in numbers))


async def _until_applied(ships: Shipping, number: int) -> None:
    await until(lambda: ships.applied >= number)


async def _until_told(ships: Shipping, problem: str) -> None:
    await until(lambda: problem in (ships.problem or ""))


def _ids(*numbers: int) -> dict[int, str]:
    return {number: f"r{number}" for number in numbers}


async def test_what_is_durable_is_shipped(open_writer: Open, clock: Clock, path: Path, control: Control) -> None:
    """With its journal and numbers; what is applied waits no more."""
    writer = open_writer()
    await _record(writer, 1, 2, 3)
    async with shipping(writer, clock, path) as ships:
        await _until_applied(ships, 3)
    assert control.booked == _ids(1, 2, 3)
    assert (len(writer.unshipped), writer.spooled, writer.lag(clock.wall()), ships.problem) == (0, 0, 0, None)


async def test_what_is_new_is_sent_each_fifth_of_a_second(
    open_writer: Open, clock: Clock, path: Path, control: Control
) -> None:
    """At once when nothing was sent lately, then what gathered in one batch; while nothing comes, nothing is sent."""
    writer = open_writer()
    async with shipping(writer, clock, path) as ships:
        await _record(writer, 1)
        await _until_applied(ships, 1)
        resting = ships._running._waiting
        await _record(writer, 2)
        await _record(writer, 3)
        await clock.move(PACE - 0.001)
        assert ships._running._waiting is resting
        await clock.move(0.001)
        await _until_applied(ships, 3)
        await clock.move(60)
        await _record(writer, 4)
        await _until_applied(ships, 4)
    assert control.asked == [(1, 1), (2, 3), (4, 4)]


async def test_batches_are_acknowledged_in_order(open_writer: Open, clock: Clock, path: Path, control: Control) -> None:
    """A backlog goes a mebibyte at a time, each when the one before is applied, without a pause while it is large."""
    writer = open_writer()
    records = [msgspec.structs.replace(make_record(number), model="m" * 1000) for number in range(1, 2501)]
    for group in range(0, 2500, 50):
        await asyncio.gather(*(commit(writer, record) for record in records[group : group + 50]))
    async with shipping(writer, clock, path) as ships:
        await until(lambda: writer.spooled < MEBIBYTE)
        assert len(control.asked) == 2
        await clock.move(PACE)
        await _until_applied(ships, 2500)
    for (_, last), (first, _) in zip([(0, 0), *control.asked], control.asked, strict=False):
        assert first == last + 1
    assert control.booked == _ids(*range(1, 2501))


async def test_control_that_is_down_loses_nothing(open_writer: Open, clock: Clock, path: Path) -> None:
    """The problem and the lag tell it; when it is there again, what waited is booked and both are over."""
    writer = open_writer()
    control = Control()
    await _record(writer, 1)
    async with shipping(writer, clock, path) as ships:
        await _until_told(ships, "the control plane takes no usage: connect: FileNotFoundError")
        await clock.move(0.05)
        await _record(writer, 2)
        assert writer.lag(clock.wall()) == pytest.approx(0.05, abs=1e-6)
        async with control.listen(path):
            await clock.move(PAUSES[0])
            await _until_applied(ships, 2)
            assert (ships.problem, writer.lag(clock.wall())) == (None, 0)
    assert control.booked == _ids(1, 2)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (say(503, b"busy"), "status: 503: busy"),
        (say(400, b"\xff" + b"x" * 999), "status: 400: \N{REPLACEMENT CHARACTER}" + "x" * 299),
        (say(307, b""), "status: 307: "),
        (say(200, b"nonsense"), "content: no count in the answer"),
        (say(200, {"applied": "all"}), "content: no count in the answer"),
        (say(200, {"applied": 1}), "content: it applied 1 of 2"),
        (say(200, {"applied": -1}), "content: it applied -1 of 2"),
        (say(200, b" " * 70_000), "too_large: an answer of more than 65536 bytes"),
        (b"no HTTP\r\n\r\n", "protocol"),
        (None, "reset"),
    ],
)
async def test_what_control_does_not_take_is_sent_again(
    open_writer: Open, clock: Clock, path: Path, control: Control, answer: bytes | None, problem: str
) -> None:
    """Nothing is taken for applied, whatever the answer; then all is well, and each record is booked once."""
    writer = open_writer()
    control.script = [Failure(answer)]
    await _record(writer, 1, 2)
    async with shipping(writer, clock, path) as ships:
        await until(lambda: ships.problem is not None)
        assert (ships.problem or "").startswith(f"the control plane takes no usage: {problem}")
        assert (ships.applied, len(writer.unshipped)) == (0, 1)
        await clock.move(PAUSES[0])
        await _until_applied(ships, 2)
        assert ships.problem is None
    assert control.asked == [(1, 2), (1, 2)]
    assert control.booked == _ids(1, 2)


async def test_control_that_hangs_is_given_up(open_writer: Open, clock: Clock, path: Path, control: Control) -> None:
    """After 30 s of silence; what it might have booked meanwhile is sent again, and booked once."""
    writer = open_writer()
    control.script = [Failure(None, books=True, hangs=True)]
    await _record(writer, 1)
    async with shipping(writer, clock, path) as ships:
        await until(lambda: control.asked)
        await clock.move(29.9)
        assert ships.problem is None
        await clock.move(0.3)
        await _until_told(ships, "the control plane takes no usage: timeout: no answer in 30 s")
        await clock.move(PAUSES[0])
        await _until_applied(ships, 1)
    assert control.asked == [(1, 1), (1, 1)]
    assert control.booked == _ids(1)


async def test_pauses_grow_to_a_second_and_begin_anew(
    open_writer: Open, clock: Clock, path: Path, control: Control
) -> None:
    """0.1, 0.2, 0.5 s and 1 s from then on; after a success the next failure is retried soon."""
    writer = open_writer()
    await _record(writer, 1)
    async with shipping(writer, clock, path) as ships:
        for goes in ((*PAUSES, PAUSES[-1], PAUSES[-1]), PAUSES[:2]):
            control.script = [Failure(say(503, b"%d" % attempt)) for attempt in range(len(goes))]
            for attempt, pause in enumerate(goes):
                await _until_told(ships, f"status: 503: {attempt}")
                resting = ships._running._waiting
                await clock.move(pause - 0.001)
                assert ships._running._waiting is resting
                await clock.move(0.001)
            await until(lambda: ships.problem is None)
            await _record(writer, 2)
            await clock.move(PACE)
    assert len(control.asked) >= 7 + 3


async def test_trouble_that_lasts_is_told_once_and_its_end_too(
    open_writer: Open, clock: Clock, path: Path, control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    """After 10 s, on the operator's terminal, with what waits; a control plane that restarts is no trouble."""
    writer = open_writer()
    await _record(writer, 1)
    control.script = [Failure(say(503, b"%d" % attempt)) for attempt in range(14)]
    async with shipping(writer, clock, path) as ships:
        for attempt in range(14):
            await _until_told(ships, f"status: 503: {attempt}")
            told = f"journal: the control plane takes no usage: status: 503: 10; {writer.spooled} bytes of usage wait"
            assert capsys.readouterr().out == (f"{told} on disk\n" if attempt == 10 else "")
            await clock.move(PAUSES[-1])
        await _until_applied(ships, 1)
    assert capsys.readouterr().out == "journal: the control plane takes usage again\n"


async def test_batch_whose_answer_was_lost_is_booked_once(
    open_writer: Open, clock: Clock, path: Path, control: Control
) -> None:
    """It was applied, and nobody heard: it is sent again as it was, with what came since behind it."""
    writer = open_writer()
    control.script = [Failure(None, books=True)]
    await _record(writer, 1, 2)
    async with shipping(writer, clock, path) as ships:
        await until(lambda: ships.problem is not None)
        await _record(writer, 3)
        await clock.move(PAUSES[0])
        await _until_applied(ships, 3)
    assert control.asked == [(1, 2), (1, 3)]
    assert control.booked == _ids(1, 2, 3)


@pytest.mark.parametrize("segment", [1, MEBIBYTE])
@pytest.mark.parametrize("kept", [0, 1, 3, 5])
async def test_what_a_restored_ledger_lost_is_sent_again(
    open_writer: Open, clock: Clock, path: Path, control: Control, segment: int, kept: int
) -> None:
    """All that is still here, over one segment or five, once and in order; then what is new."""
    writer = open_writer(segment=segment)
    async with shipping(writer, clock, path) as ships:
        for number in range(1, 6):
            await commit(writer, make_record(number))
            await _until_applied(ships, number)
            await clock.move(PACE)
        control.applied, control.booked = kept, _ids(*range(1, kept + 1))
        await commit(writer, make_record(6))
        while control.applied < 6:
            await clock.move(PACE)
        await until(lambda: not writer.unshipped)
    assert (control.booked, writer.spooled) == (_ids(*range(1, 7)), 0)


@pytest.mark.parametrize("segment", [1, MEBIBYTE])
@pytest.mark.parametrize("applied", [0, 2, 5])
async def test_restart_begins_where_the_ledger_is(
    open_writer: Open, clock: Clock, path: Path, control: Control, applied: int, segment: int
) -> None:
    """The journal still has five records; whatever the ledger has of them, it has all of them in the end, once."""
    first = open_writer(segment=segment)
    for number in range(1, 6):
        await commit(first, make_record(number))
    first.close()
    control.applied, control.booked = applied, _ids(*range(1, applied + 1))
    writer = open_writer(segment=segment)
    await commit(writer, make_record(6))
    async with shipping(writer, clock, path) as ships:
        while ships.applied < 6:
            await _until_applied(ships, ships.applied + 1)
            await clock.move(PACE)
    assert control.booked == _ids(*range(1, 7))
    known = [span for span in control.asked if span[1] <= applied]
    assert len(known) <= 1, "what the ledger has is asked once, and then left out"


async def test_finish_ships_the_rest(open_writer: Open, clock: Clock, path: Path, control: Control) -> None:
    """What was written last, though its turn had not come."""
    writer = open_writer()
    await _record(writer, 1)
    async with shipping(writer, clock, path) as ships:
        await _until_applied(ships, 1)
        writer.append(make_record(2))
        writer.close()
        await ships.finish()
    assert control.booked == _ids(1, 2)


async def test_finish_is_one_try(open_writer: Open, clock: Clock, path: Path, control: Control) -> None:
    """Refused, it ends at once; what is not shipped waits for the next start."""
    writer = open_writer()
    async with shipping(writer, clock, path) as ships:
        await _record(writer, 1)
        await _until_applied(ships, 1)
        control.script = [Failure(say(503, b""))]
        await _record(writer, 2)
        writer.close()
        await ships.finish()
    assert (control.asked, control.applied) == ([(1, 1), (2, 2)], 1)
    assert read_back(path.parent).last == 2


async def test_finish_lasts_a_second_at_most(open_writer: Open, clock: Clock, path: Path, control: Control) -> None:
    """A control plane that hangs does not hold up the end of the process; nothing is left under way."""
    writer = open_writer()
    control.script = [Failure(None, hangs=True), Failure(None, hangs=True)]
    await _record(writer, 1)
    async with shipping(writer, clock, path) as ships:
        await until(lambda: len(control.asked) == 1)
        writer.close()
        finishing = asyncio.create_task(ships.finish())
        await until(lambda: len(control.asked) == 2 and control.given_up == 1)
        await clock.move(0.999)
        assert not finishing.done()
        await clock.move(0.001)
        await finishing
        await until(lambda: control.given_up == 2)
    assert control.booked == {}


async def test_stop_leaves_what_waits(open_writer: Open, clock: Clock, path: Path, control: Control) -> None:
    """In the middle of a batch, or while nothing waits; nothing more is sent."""
    writer = open_writer()
    async with shipping(writer, clock, path) as idle:
        idle.stop()
    control.script = [Failure(None, hangs=True)]
    async with shipping(writer, clock, path) as ships:
        await _record(writer, 1)
        await until(lambda: len(control.asked) == 1)
        ships.stop()
        await _record(writer, 2)
        await clock.move(60)
    assert control.asked == [(1, 1)]
    assert len(writer.unshipped) == 2


async def test_file_that_cannot_be_read_is_tried_again(
    open_writer: Open, clock: Clock, path: Path, control: Control
) -> None:
    """It is told like a control plane that takes nothing."""

    class Unreadable(Disk):
        failures = 1

        def read_part(self, path: Path, start: int, end: int) -> bytes:
            if self.failures:
                self.failures -= 1
                raise OSError(5, "Input/output error")
            return super().read_part(path, start, end)

    writer = open_writer(Unreadable())
    await _record(writer, 1)
    async with shipping(writer, clock, path) as ships:
        await _until_told(ships, "Input/output error")
        await clock.move(PAUSES[0])
        await _until_applied(ships, 1)
    assert control.booked == _ids(1)


async def test_defect_is_told_and_shipping_begun_anew(
    open_writer: Open, clock: Clock, path: Path, control: Control
) -> None:
    """After a second; nothing is taken for applied meanwhile."""

    class Defective(HttpUpstreams):
        works = False

        async def open(self, call: Call) -> HttpAnswer:
            if not self.works:
                self.works = True
                raise ValueError("a defect")
            return await super().open(call)

    writer, upstreams = open_writer(), Defective(asyncio.get_running_loop(), {})
    await _record(writer, 1)
    ships = Shipping(writer, over_socket(upstreams, str(path)), clock.wall, print)
    ships.start()
    await _until_told(ships, "shipping failed: ValueError('a defect')")
    await clock.move(0.999)
    assert (ships.applied, len(writer.unshipped)) == (0, 1)
    assert ships._running._waiting is None, "it has not begun"
    await clock.move(0.001)
    await _until_applied(ships, 1)
    assert (ships.problem, control.asked) == (None, [(1, 1)])
    ships.stop()
    upstreams.close()


async def test_what_is_applied_and_old_retires(
    open_writer: Open, clock: Clock, path: Path, control: Control, tmp_path: Path
) -> None:
    """A segment two minutes later, as a start wants the last minute."""
    writer = open_writer(segment=1)
    async with shipping(writer, clock, path) as ships:
        for number, at_once in ((1, [1]), (2, [1, 2])):
            await commit(writer, make_record(number))
            await _until_applied(ships, number)
            await clock.move(PACE)
            assert [segment.first for segment in writer.segments] == at_once
        await clock.move(121)
        await commit(writer, make_record(3))
        await until(lambda: [segment.first for segment in writer.segments] == [3])
    assert not name_segment(tmp_path, 1).exists()
    assert control.booked == _ids(1, 2, 3)
