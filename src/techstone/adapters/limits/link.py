"""The way to Redis as one gateway has it: connected or not, which other gateways there are, and what Redis remembers.

Tried every half second for as long as the process lives. Each half second it also shows the others that this gateway is
there, and learns Redis's generation: the name of what it remembers of money (docs/decisions/0017). What must be told
as the way comes back is its owners'.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from itertools import chain
from typing import TYPE_CHECKING, Literal, Protocol

import hiredis
import msgspec

from techstone.adapters.limits.connection import PATIENCE, Unreachable, connect
from techstone.adapters.limits.roster import Roster
from techstone.adapters.limits.script import ADMISSION, PREFIX, PRESENCE, REPEATS
from techstone.adapters.limits.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from techstone.adapters.limits.connection import Address, Connection, Reply
    from techstone.adapters.limits.telling import Call

# It shows itself so often meanwhile, and tries as often to reach a Redis that is away.
_LOOKS = 8
# A way that is lost as soon as it is found (a Redis that is full takes a connection, and no call) is tried half as
# often each time, down to once in a presence: row F-1 has 5 s for the return.
_SLOWEST = 3
# A Redis without memory does not know what gateways gave alone: it is not asked until all who were there before have
# told it, or half of a presence is over; it is looked at so many times as often meanwhile.
_GATE_SHARE = 0.5
_GATE_LOOKS = 5
_NAME = hashlib.sha1(PRESENCE).hexdigest().encode()  # noqa: S324 - Redis names scripts so


class Times(msgspec.Struct, frozen=True):
    """Seconds. A gateway that has not shown itself for `presence` is gone; a generation is judged once it is so old.

    By then everybody who is there has been heard. Who is gone may only have lost the way, and gives its part by itself:
    it is counted while it is `remembered`, unless it has taken its leave. `patience` is for every call.
    """

    presence: float = 4.0
    remembered: float = 300.0
    patience: float = PATIENCE


_TIMES = Times()


class Owner(Protocol):
    """Who is told. All of it is called from the event loop."""

    def give(self) -> Iterator[Call]:
        """Yield what was given while Redis was away: it is told before Redis is asked for anything."""

    def rise(self, *, anew: bool) -> Iterator[Call]:
        """Hear that Redis is there, and return what else it may not know; `anew`: a generation that heard nothing."""

    def fall(self) -> None:
        """Hear that Redis is away."""


class Link:
    """One gateway's way. `name` is unique among gateways; `report` takes a line for people.

    `roster` remembers who the others are.
    """

    def __init__(
        self,
        address: Address,
        name: str,
        report: Callable[[str], None],
        roster: Roster | None = None,
        times: Times = _TIMES,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._times = times
        self._pause = times.presence / _LOOKS
        self._address = address
        self._name = name.encode()
        stem = f"{PREFIX}:{{gateways}}"
        self._keys = [f"{stem}{end}".encode() for end in (":generation", ":present", ":said", ":told")]
        self._report = report
        self._roster = roster or Roster(None, report)
        self._listed = self._roster.read()
        self._carried: dict[str, float] = {}
        self._run = b""
        self._told = False
        self._lost: str | None = None
        self._bell = asyncio.Event()
        self._telling: Telling | None = None
        self._failures = 0
        self._left = False
        self.owners: list[Owner] = []
        self.connection: Connection | None = None
        """None while Redis is away."""
        self.counted = bool(self._listed)
        """Whether it is known how many gateways there are."""
        self.gateways = self._roster.count(self._listed)
        """How many there are, this one among them; of the last time that Redis was heard."""
        self.generation = ""
        self.young = False
        """Whether no account's money had begun in the generation as this gateway first heard of it."""
        self.told = 0
        """The number in this gateway's journal up to which Redis knows all charges, in this generation."""
        self.outdated = False
        """Whether Redis will never be told some charges: the money of all accounts must begin anew."""
        self.ready = False
        """Whether every gateway has said what it knows for this generation: accounts' money may begin."""
        self._said = ""
        self._giving = False
        self._waiting = False
        self._gate: tuple[int, float] = (1, 0.0)
        self._since = 0.0

    @property
    def gated(self) -> bool:
        """Whether Redis is there, but is told yet what gateways gave without it, by this one or others."""
        return self._giving or self._waiting

    async def run(self) -> None:
        """Keep the way open, until cancelled."""
        while True:
            self._since = self._loop.time() + self._times.presence  # it was not found yet
            try:
                await self._live()
            except Unreachable as error:
                self._fall(str(error))
            except Exception as error:  # noqa: BLE001 - nothing else tries again
                self._fall(repr(error))
            lasted = self._loop.time() - self._since
            self._failures = min(self._failures + 1, _SLOWEST) if 0 <= lasted < self._times.presence else 0
            await asyncio.sleep(self._pause * 2**self._failures)

    async def leave(self) -> None:
        """Tell the others that this gateway ends, so that they count it no more."""
        self._left = True
        if self.connection is not None:
            with contextlib.suppress(Unreachable):
                await self._call(self.connection, "leave")

    async def _live(self) -> None:
        """Connect, and stay so until it is lost; raise Unreachable."""
        self._lost = None
        self._bell.clear()
        connection = await connect(self._loop, self._address, self._lose)
        try:
            for program in (ADMISSION, PRESENCE, REPEATS):
                await connection.ask(b"SCRIPT", b"LOAD", program)
            self._run = _find_run(await connection.ask(b"INFO", b"server"))
            connection.hurry(self._times.patience)
            await self._look(connection, risen=True)
            while self._lost is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause / (_GATE_LOOKS if self._waiting else 1)):
                        await self._bell.wait()
                self._bell.clear()
                if self._lost is None:
                    await self._look(connection, risen=False)
        except asyncio.CancelledError:
            self._told = True  # who ends needs not be told that Redis is away
            raise
        except Exception as error:  # whatever it was, who waits behind it hears why; `run` tries again
            connection.close(str(error))
            raise
        finally:
            connection.close()
        raise Unreachable(self._lost)

    def _lose(self, reason: str) -> None:
        self._lost = reason
        self._bell.set()
        if self.connection is not None:
            self._fall(reason)

    def _fall(self, reason: str) -> None:
        was, self.connection = self.connection, None
        self._giving = self._waiting = False
        if self._telling is not None:
            self._telling.stop()
            self._telling = None
        if not self._told:
            self._told = True
            self._report(f"limits: Redis at {self._address} is away ({reason}); {self._explain()}")
        if was is not None:
            for owner in self.owners:
                owner.fall()

    def _explain(self) -> str:
        if not self.counted:
            return "nothing is admitted, as it is not known how many gateways share the limits"
        return (
            f"each of {self.gateways} gateways gives its part of every plan by itself, and what counts against credit "
            "or a cap is refused"
        )

    async def look(self) -> None:
        """Show that this gateway is there, and learn of the others; raise Unreachable."""
        connection = self.connection
        if connection is None:
            raise Unreachable("it is away")
        await self._look(connection, risen=False)

    def check(self, reply: Reply) -> Reply:
        """Return a reply; an error (Redis that lost the script, is full or read-only) ends the connection."""
        if isinstance(reply, hiredis.ReplyError):
            if self.connection is not None:
                self.connection.close(str(reply))
            return None
        return reply

    def tell(self, calls: Iterator[Call]) -> None:
        """Tell what nobody waits for, in portions; while Redis is away it is not even asked for."""
        if self._telling is not None:
            self._telling.tell(calls, lambda: None)

    async def _look(self, connection: Connection, *, risen: bool) -> None:
        if self._left:
            return
        heard = _read(await self._call(connection, "anew" if self.outdated else "look"))
        self.outdated = False
        anew = heard.generation != self.generation
        if anew:
            before = self.gateways
            young = self._times.presence * _GATE_SHARE - heard.age
            if risen and self.counted and before > 1 and young > 0:
                self._waiting, self._gate = True, (before, self._loop.time() + young)
            self.generation, self.ready, self.told = heard.generation, False, heard.told
            self.young = heard.age < self._times.presence
            until = self._loop.time() + self._times.remembered - heard.age
            self._carried = dict.fromkeys(self._listed, until)
        self._enlist(heard)
        if risen:
            self.connection, self._since = connection, self._loop.time()
        if risen or anew:
            self._rise(connection, anew=anew)
        all_said = all(said == self.generation for said in heard.here.values())
        if not self.ready:
            self.ready = all_said and heard.age >= self._times.presence
        if self._waiting:
            wanted, latest = self._gate
            self._waiting = (len(heard.here) < wanted or not all_said) and self._loop.time() < latest

    def _enlist(self, heard: _Heard) -> None:
        """Count who is there, who is gone for not too long, and whom this Redis has forgotten."""
        now, names = self._loop.time(), heard.here.keys() | heard.gone
        self._carried = {
            name: until
            for name, until in self._carried.items()
            if until > now and name not in names and name not in heard.left
        }
        self._listed = frozenset(names | self._carried.keys())
        self.gateways = self._roster.count(self._listed)
        # Sooner, others that are there may not have found a new Redis yet.
        self.counted = self.counted or heard.age >= self._times.presence
        if self.counted:
            # Who has just left may come again together with this one: all that are stopped are started, too.
            self._roster.write(self._listed | heard.left)

    def _rise(self, connection: Connection, *, anew: bool) -> None:
        """Tell what Redis may not know; once all of it is there, this gateway has said its part."""
        if self._telling is not None:
            self._telling.stop()
        self._telling = Telling(self._loop, connection)
        self._giving, generation = True, self.generation

        def done() -> None:
            self._said = generation
            self._bell.set()
            if self._told:
                self._told = False
                self._report(f"limits: Redis at {self._address} is back")

        rest = [owner.rise(anew=anew) for owner in self.owners]
        given = chain.from_iterable(owner.give() for owner in self.owners)
        self._telling.tell(chain(given, self._end_giving(), *rest), done)

    def _end_giving(self) -> Iterator[Call]:
        """Yield nothing: what stands before it is on the way by now, and all that is asked from now on is behind it."""
        self._giving = False
        yield from ()

    def _call(self, connection: Connection, operation: Literal["look", "anew", "leave"]) -> Awaitable[Reply]:
        fresh = self._run + b"." + secrets.token_hex(8).encode()
        said, known = self._said.encode(), self.generation.encode()
        words = (self._name, self._run, fresh, said, known, b"%d" % self.told)
        seconds = b"%f" % self._times.presence, b"%f" % self._times.remembered
        return connection.ask(b"EVALSHA", _NAME, b"4", *self._keys, operation.encode(), *words, *seconds)


class _Heard(msgspec.Struct):
    """What a look tells; `here` with the generation that each has said its part for."""

    generation: str
    age: float
    told: int
    here: dict[str, str]
    gone: set[str]
    left: set[str]


def _find_run(info: Reply) -> bytes:
    for line in (info if isinstance(info, bytes) else b"").splitlines():
        if line.startswith(b"run_id:"):
            return line[7:]
    raise Unreachable("it does not say which run of it this is")


def _read(reply: Reply) -> _Heard:
    if not isinstance(reply, list) or len(reply) < 3:
        raise Unreachable("it answered nonsense")
    found, age, told, *rest = map(_decode, reply)
    states = list(zip(rest[::3], rest[1::3], rest[2::3], strict=True))
    return _Heard(
        found,
        float(age),
        int(told or 0),
        {name: said for name, said, state in states if state == "here"},
        {name for name, _, state in states if state == "gone"},
        {name for name, _, state in states if state == "left"},
    )


def _decode(part: Reply) -> str:
    if isinstance(part, hiredis.ReplyError):
        raise Unreachable(str(part))
    return part.decode() if isinstance(part, bytes) else str(part)
