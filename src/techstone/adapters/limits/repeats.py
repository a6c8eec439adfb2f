"""Idempotency-Keys in the Redis that the gateways share: claimed there before a request is answered, told after.

Redis is never the truth of what was billed: that is the journal of the gateway that answered. What could not be told
while Redis was away is told as it is back, and a Redis that forgot is told the newest answers again.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Literal

import hiredis

from techstone.adapters.limits.connection import pack
from techstone.adapters.limits.script import PREFIX, REPEATS
from techstone.core import repeats
from techstone.core.errors import IdempotencyUnavailable
from techstone.gateway.ports import RunningElsewhere, StoredAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.adapters.limits.connection import Reply
    from techstone.adapters.limits.link import Link
    from techstone.gateway.ports import Answers

    Operation = Literal["claim", "renew", "keep", "release"]

ANSWERS_BYTES = 64 * 1024 * 1024
_SHA = hashlib.sha1(REPEATS).hexdigest().encode()  # noqa: S324 - Redis names scripts so
# Read from the disk and deflated at once: 0.1 ms each, while the event loop waits.
_RETOLD = 200
_RETOLD_BYTES = 4 * 1024 * 1024
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
        self._untold: dict[tuple[str, str], None] = {}
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
        except BaseException:
            self.release(account, key)  # its client hung up meanwhile
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
        self._untold[name] = None
        if len(self._untold) > _RETOLD:
            self._untold.pop(next(iter(self._untold)))
        self._tell(answer)

    def _tell(self, answer: StoredAnswer) -> None:
        now = self._now()
        left = repeats.seconds_left(answer.at, now)
        if self._link.connection is None or left <= 0:
            return
        name = answer.account, answer.key
        copy = repeats.Copy(answer.request_id, answer.stream, answer.at, answer.cost, answer.payload)
        value = repeats.keep(answer.digest, copy)

        def take(reply: Reply) -> None:
            if reply == 1:
                self._untold.pop(name, None)

        self._send("keep", name, value, b"%d" % left, take)
        for gone in self._budget.add(repeats.name(PREFIX, *name), len(value), answer.at, now):
            self._link.connection.send(pack(b"DEL", gone), lambda reply: self._check(reply, lambda _: None))

    def rise(self, *, anew: bool) -> None:
        """Implement `Owner`: tell Redis what it may not know."""
        for name, digest in self._claimed.items():
            self._renew(name, digest)
        names = dict(self._untold)
        if anew:
            names |= dict.fromkeys(self._answers.newest(_RETOLD))
        now, room = self._now(), _RETOLD_BYTES
        for account, key in names:
            known = self._answers.find(account, key, now)
            if known is None:
                self._untold.pop((account, key), None)
                continue
            room -= known.size
            if room < 0:
                break
            answer = self._answers.load(known)
            if answer is not None:
                self._tell(answer)

    def fall(self) -> None:
        """Implement `Owner`: what is claimed goes on, and is claimed anew."""

    def sweep(self) -> None:
        """Renew what is claimed; three times in a lease."""
        for name, digest in self._claimed.items():
            self._renew(name, digest)

    def _renew(self, name: tuple[str, str], digest: bytes) -> None:
        self._send("renew", name, repeats.claim(digest, self._name), _LEASE, lambda _: None)

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
        key = repeats.name(PREFIX, *name)
        words = (b"EVALSHA", _SHA, b"1", key, operation.encode(), self._name, value, seconds)
        connection.send(pack(*words), lambda reply: self._check(reply, take))
        return True

    def _check(self, reply: Reply, take: Callable[[Reply], None]) -> None:
        """Hand a reply on; an error ends the connection, as it does for the limits."""
        if isinstance(reply, hiredis.ReplyError):
            connection = self._link.connection
            if connection is not None:
                connection.close(str(reply))
            reply = None
        take(reply)

    def _now(self) -> int:
        return int(self._wall_clock() * 1000)
