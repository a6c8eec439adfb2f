"""Opens an installation's database: its SQLite file, or the server that its configuration names.

The libraries of the one that is not used are never imported.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from techstone.control.ports import StoreAway

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from techstone.adapters.storage.store import SqlStore
    from techstone.adapters.storage.target import Target

_R = TypeVar("_R")

# How often a server is asked for that does not answer at the start, in seconds.
_PAUSE = 1.0


async def open_store(file: Path, server: Target | None, *, migrating: bool = True) -> SqlStore:
    """Return the store, brought to the newest schema; raise StoreError, StoreAway where a server does not answer.

    Without `migrating` a server's must be empty or have it already: others may run on it. A file is nobody else's.
    """
    if server is None:
        from techstone.adapters.storage import sqlite  # noqa: PLC0415 - see above

        return await sqlite.open_store(file)
    from techstone.adapters.storage import postgres  # noqa: PLC0415 - see above

    return await postgres.open_store(server, migrating=migrating)


async def await_store(file: Path, server: Target | None, tell: Callable[[str], None]) -> SqlStore:
    """Return the store as soon as its server answers: until then the gateways serve with the last snapshot.

    `tell` is called once, with the line for the operator. Raise StoreError for what does not pass by itself.
    """
    return await patiently(lambda: open_store(file, server), tell)


async def patiently(work: Callable[[], Awaitable[_R]], tell: Callable[[str], None]) -> _R:
    """Do a piece of work as soon as the database lets it be done; raise StoreError for what does not pass by itself."""
    told = False
    while True:
        try:
            return await work()
        except StoreAway as error:
            if not told:
                tell(f"{error}; waiting for it")
            told = True
        await asyncio.sleep(_PAUSE)
