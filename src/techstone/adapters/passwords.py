"""Argon2id on a thread of its own (OWASP, Password Storage: m = 19 MiB, t = 2, p = 1; 21 ms a hash, row W-5).

One thread and a short queue: what strangers can make us compute is bounded, and never in the way of anything else.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from techstone.core.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_MEMORY_KIB = 19_456
_PASSES = 2
_LONGEST_QUEUE = 16
_T = TypeVar("_T")


def read_common() -> frozenset[str]:
    """Return passwords that are guessed first and would be long enough (those of 10 and more of zxcvbn's 30,000)."""
    return frozenset(Path(__file__).with_name("common_passwords.txt").read_text("utf-8").split())


class Argon2Hasher:
    """Implements `Hasher`."""

    def __init__(self, memory_kib: int = _MEMORY_KIB) -> None:
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=memory_kib, parallelism=1)
        self._thread = ThreadPoolExecutor(1, "passwords")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return a salted hash; raise ServiceUnavailable where too many wait."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password: str, known: str | None) -> bool:
        """Say whether it is the password of the hash; None takes as long and is never it."""
        return await self._run(lambda: self._verify(password, known or self._nobody)) and bool(known)

    def is_outdated(self, known: str) -> bool:
        """Say whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(known)

    @cached_property
    def _nobody(self) -> str:
        return self._hasher.hash("")

    def _verify(self, password: str, known: str) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._waiting >= _LONGEST_QUEUE:
            raise ServiceUnavailable("Too many log-ins at once. Please try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1
