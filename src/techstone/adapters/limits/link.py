"""The way to Redis as one gateway has it: connected or not, which other gateways there are, and what Redis remembers.

Tried every half second for as long as the process lives. Each half second it also shows the others that this gateway is
there, and learns Redis's generation: the name of what it remembers of money (docs/decisions/0017). What must be done
as the way comes and goes is its owner's.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import TYPE_CHECKING, Protocol

import hiredis

from techstone.adapters.limits.connection import PATIENCE, Unreachable, connect
from techstone.adapters.limits.script import ADMISSION, PREFIX, PRESENCE, REPEATS

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.adapters.limits.connection import Address, Connection, Reply

# A gateway that has not shown itself for so long is gone. A generation is judged once it is so old: by then everybody
# who is there has been heard.
PRESENCE_SECONDS = 4.0
# It shows itself so often meanwhile, and tries as often to reach a Redis that is away.
_LOOKS = 8
# A Redis without memory does not know what gateways gave alone: it is not asked until all who were there before have
# told it, or half of a presence is over; it is looked at so many times as often meanwhile.
_GATE_SHARE = 0.5
_GATE_LOOKS = 5
_NAME = hashlib.sha1(PRESENCE).hexdigest().encode()  # noqa: S324 - Redis names scripts so


class Owner(Protocol):
    """Who is told. All of it is called from the event loop."""

    def rise(self, *, anew: bool) -> None:
        """Hear that Redis is there; `anew`: of a generation that nothing was sent to."""

    def fall(self) -> None:
        """Hear that Redis is away."""


class Link:
    """One gateway's way. `name` is unique among gateways; `report` takes a line for people."""

    def __init__(
        self,
        address: Address,
        name: str,
        report: Callable[[str], None],
        *,
        presence: float = PRESENCE_SECONDS,
        patience: float = PATIENCE,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._presence = presence
        self._patience = patience
        self._pause = presence / _LOOKS
        self._address = address
        self._name = name.encode()
        stem = f"{PREFIX}:{{gateways}}"
        self._keys = [f"{stem}{end}".encode() for end in (":generation", ":present", ":said")]
        self._report = report
        self._run = b""
        self._told = False
        self._lost: asyncio.Future[str] | None = None
        self.owners: list[Owner] = []
        self.connection: Connection | None = None
        """None while Redis is away."""
        self.gateways = 1
        """How many there are, this one among them; of the last time that Redis was heard."""
        self.generation = ""
        self.ready = False
        """Whether every gateway has said what it knows for this generation: accounts' money may begin."""
        self.gated = False
        """Whether Redis is there, but is told by other gateways yet what they gave without it."""
        self._gate: tuple[int, float] = (1, 0.0)
        self._present = 1
        self._all_said = False

    async def run(self) -> None:
        """Keep the way open, until cancelled."""
        while True:
            try:
                await self._live()
            except Unreachable as error:
                self._fall(str(error))
            except Exception as error:  # noqa: BLE001 - nothing else tries again
                self._fall(repr(error))
            await asyncio.sleep(self._pause)

    async def _live(self) -> None:
        """Connect, and stay so until it is lost; raise Unreachable."""
        self._lost = lost = self._loop.create_future()
        connection = await connect(self._loop, self._address, self._lose)
        for program in (ADMISSION, PRESENCE, REPEATS):
            await connection.ask(b"SCRIPT", b"LOAD", program)
        self._run = _find_run(await connection.ask(b"INFO", b"server"))
        connection.hurry(self._patience)
        try:
            await self._look(connection, risen=True)
            while not lost.done():
                await asyncio.wait((lost,), timeout=self._pause / (_GATE_LOOKS if self.gated else 1))
                if not lost.done():
                    await self._look(connection, risen=False)
        except Unreachable:
            connection.close("closed")
            raise
        except asyncio.CancelledError:
            self._told = True  # who ends needs not be told that Redis is away
            connection.close("closed")
            raise
        raise Unreachable(lost.result())

    def _lose(self, reason: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)
        if self.connection is not None:
            self._fall(reason)

    def _fall(self, reason: str) -> None:
        was, self.connection = self.connection, None
        self.gated = False
        if not self._told:
            self._told = True
            self._report(
                f"limits: Redis at {self._address} is away ({reason}); each of {self.gateways} gateways gives its part "
                "of every plan by itself, and what counts against credit or a cap is refused"
            )
        if was is not None:
            for owner in self.owners:
                owner.fall()

    async def look(self) -> None:
        """Show that this gateway is there, and learn of the others; raise Unreachable."""
        connection = self.connection
        if connection is None:
            raise Unreachable("it is away")
        await self._look(connection, risen=False)

    async def _look(self, connection: Connection, *, risen: bool) -> None:
        before = self.gateways
        found = await self._ask(connection)
        anew = found != self.generation
        if risen and anew and before > 1:
            self.gated, self._gate = True, (before, self._loop.time() + self._presence * _GATE_SHARE)
            self.gateways = max(self.gateways, before)
        if anew:
            self.generation, self.ready = found, False
        if risen:
            self.connection = connection
            if self._told:
                self._told = False
                self._report(f"limits: Redis at {self._address} is back")
        if (risen or anew) and self.owners:
            # On this connection, and so before the others hear that it is said.
            for owner in self.owners:
                owner.rise(anew=anew)
            await self._ask(connection)
        if self.gated:
            wanted, latest = self._gate
            self.gated = (self._present < wanted or not self._all_said) and self._loop.time() < latest

    async def _ask(self, connection: Connection) -> str:
        """Return the generation that Redis has."""
        fresh = self._run + b"." + secrets.token_hex(8).encode()
        said = self.generation.encode()
        words = (self._name, self._run, fresh, said, b"%f" % self._presence)
        reply = await connection.ask(b"EVALSHA", _NAME, b"3", *self._keys, *words)
        if not isinstance(reply, list) or len(reply) < 2:
            raise Unreachable("it answered nonsense")
        texts = [_read(part) for part in reply]
        found, age, others = texts[0], float(texts[1]), texts[2:]
        self._present = len(others) // 2
        # Those that are not back yet give their part by themselves: nobody's part is larger meanwhile.
        self.gateways = max(1, self._present, self._gate[0] if self.gated else 0)
        self._all_said = all(part == found for part in others[1::2])
        if found == self.generation and not self.ready:
            self.ready = age >= self._presence and self._all_said
        return found


def _find_run(info: Reply) -> bytes:
    for line in (info if isinstance(info, bytes) else b"").splitlines():
        if line.startswith(b"run_id:"):
            return line[7:]
    raise Unreachable("it does not say which run of it this is")


def _read(part: Reply) -> str:
    if isinstance(part, hiredis.ReplyError):
        raise Unreachable(str(part))
    return part.decode() if isinstance(part, bytes) else str(part)
