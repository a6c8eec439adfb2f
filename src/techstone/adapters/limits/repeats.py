"""Idempotency-Keys in the Redis that the gateways share: claimed there before a request is answered, told after.

Redis is never the truth of what was billed: that is the journal of the gateway that answered. What could not be told
while Redis was away is told as it is back, and a Redis that forgot is told the newest answers again.
"""

from __future__ import annotations

import asyncio
import hashlib
from itertools import chain
from typing import TYPE_CHECKING, Literal

from techstone.adapters.limits.connection import pack
from techstone.adapters.limits.script import PREFIX, REPEATS
from techstone.core import repeats
from techstone.core.errors import IdempotencyUnavailable
from techstone.gateway.ports import RunningElsewhere, StoredAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from techstone.adapters.limits.connection import Reply
    from techstone.adapters.limits.link import Link
    from techstone.adapters.limits.telling import Call
    from techstone.gateway.ports import Answers

    Operation = Literal["claim", "renew", "keep", "release"]

ANSWERS_BYTES = 64 * 1024 * 1024
_SHA = hashlib.sha1(REPEATS).hexdigest().encode()  # noqa: S324 - Redis names scripts so
# Read from the disk and deflated, 0.1 ms each, while the event loop waits for its portion of them.
_RETOLD = 200
_LEASE = b"%d" % repeats.LEASE_SECONDS
# A gateway knows of no more on its own disk.
_MOST = 200_000


class RedisRepeats:
    """Implements `Repeats`. `name` is the gateway's among all, for good; `wall_clock` is in unix seconds."""

    def __init__(
        self, link: Link, name: str, answers: Answers, wall_clock: Callable[[], float], most: int = ANSWERS_BYTES
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._name = name.encode()
        self._answers = answers
        self._wall_clock = wall_clock
        self._claimed: dict[tuple[str, str], bytes] = {}
        self._untold: dict[tuple[str, str], int] = {}  # and how large they are
        self._untold_bytes = 0
        self._most = most
        self._budget = repeats.Budget(most)
        self._recall(most)
        link.owners.append(self)

    def _recall(self, most: int) -> None:
        """Count what the last life may have left in Redis: there it is smaller than on the disk."""
        found: list[tuple[bytes, int, int]] = []
        now = self._now()
        for account, key in self._answers.newest(_MOST):
            known = self._answers.find(account, key, now)
            if known is None or most <= 0:
                break
            most -= known.size
            found.append((repeats.name(PREFIX, account, key), known.size, known.at))
        for entry in reversed(found):
            self._budget.add(*entry, now)

    async def claim(self, account: str, key: str, digest: bytes) -> StoredAnswer | RunningElsewhere | None:
        """Take a key for this gateway; raise IdempotencyUnavailable while Redis is away."""
        told: asyncio.Future[Reply] = self._loop.create_future()
        value = repeats.claim(digest, self._name)
        if self._link.gated or not self._send(
            "claim", (account, key), value, _LEASE, lambda reply: None if told.done() else told.set_result(reply)
        ):
            raise IdempotencyUnavailable
        self._claimed[account, key] = digest
        try:
            reply = await told
        except BaseException:  # its client hung up: the key is free again
            self.release(account, key)
            raise
        if reply == 1:
            return None
        self._claimed.pop((account, key), None)
        found = repeats.read(reply) if isinstance(reply, bytes) else None
        if found is None:
            raise IdempotencyUnavailable
        if found.copy is None:
            return RunningElsewhere(found.digest)
        copy = found.copy
        return StoredAnswer(account, key, found.digest, copy.request_id, copy.stream, copy.at, copy.cost, copy.payload)

    def release(self, account: str, key: str) -> None:
        """Give a key back whose answer failed; nothing where it was kept."""
        if self._claimed.pop((account, key), None) is not None:
            self._send("release", (account, key), b"", b"", lambda _: None)

    def keep(self, answer: StoredAnswer) -> None:
        """Tell an answer whose settlement is durable."""
        name = answer.account, answer.key
        self._claimed.pop(name, None)
        self._forget(name)
        self._untold[name] = size = len(answer.payload)
        self._untold_bytes += size
        while self._untold_bytes > self._most:  # Redis would forget them as soon as it is told
            self._forget(next(iter(self._untold)))
        connection = self._link.connection
        if connection is not None:
            for command, take in self._write_answer(answer):
                connection.send(command, take)

    def _forget(self, name: tuple[str, str]) -> None:
        self._untold_bytes -= self._untold.pop(name, 0)

    def _write_answer(self, answer: StoredAnswer) -> Iterator[Call]:
        """Yield the call that tells an answer, and those that make room for it."""
        now, name = self._now(), (answer.account, answer.key)
        left = repeats.seconds_left(answer.at, now)
        if left <= 0:
            self._forget(name)
            return
        copy = repeats.Copy(answer.request_id, answer.stream, answer.at, answer.cost, answer.payload)
        value = repeats.keep(answer.digest, copy)

        def take(reply: Reply) -> None:
            if self._link.check(reply) == 1:
                self._forget(name)

        yield self._write("keep", name, value, b"%d" % left), take
        for gone in self._budget.add(repeats.name(PREFIX, *name), len(value), answer.at, now):
            yield pack(b"DEL", gone), self._ignore

    def give(self) -> Iterator[Call]:
        """Implement `Owner`: nothing, keys wait while Redis is away."""
        yield from ()

    def rise(self, *, anew: bool) -> Iterator[Call]:
        """Implement `Owner`: tell Redis what it may not know."""
        newest = reversed(self._answers.newest(_RETOLD)) if anew else ()
        # The newest last: what is told first is the first to go where there is no room.
        return chain(self._renew(), self._retell([*dict.fromkeys((*newest, *self._untold))]))

    def _retell(self, names: Iterable[tuple[str, str]]) -> Iterator[Call]:
        for name in names:
            known = self._answers.find(*name, self._now())
            answer = None if known is None else self._answers.load(known)
            if answer is None:
                self._forget(name)
            else:
                yield from self._write_answer(answer)

    def fall(self) -> None:
        """Implement `Owner`: what is claimed goes on, and is claimed anew."""

    @property
    def waiting(self) -> int:
        """How many answers Redis was not told yet."""
        return len(self._untold)

    def sweep(self) -> None:
        """Renew what is claimed; three times in a lease."""
        self._link.tell(self._renew())

    def _renew(self) -> Iterator[Call]:
        for name in list(self._claimed):
            digest = self._claimed.get(name)
            if digest is not None:
                yield self._write("renew", name, repeats.claim(digest, self._name), _LEASE), self._ignore

    def _send(
        self,
        operation: Operation,
        name: tuple[str, str],
        value: bytes,
        seconds: bytes,
        take: Callable[[Reply], None],
    ) -> bool:
        connection = self._link.connection
        if connection is None:
            return False
        connection.send(self._write(operation, name, value, seconds), lambda reply: take(self._link.check(reply)))
        return True

    def _write(self, operation: Operation, name: tuple[str, str], value: bytes, seconds: bytes) -> bytes:
        key = repeats.name(PREFIX, *name)
        return pack(b"EVALSHA", _SHA, b"1", key, operation.encode(), self._name, value, seconds)

    def _ignore(self, reply: Reply) -> None:
        self._link.check(reply)

    def _now(self) -> int:
        return int(self._wall_clock() * 1000)
