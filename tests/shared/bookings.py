"""What a ledger goes through, transaction by transaction: the same for every run of a seed, and in every store.

Run as a script: `bookings.py FOLDER SEED COUNT [PRAGMA...]` does it on a database there, beside a file that gets a line
for each transaction that was acknowledged. It ends without closing the database, as a process that is killed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
from sqlalchemy import event
from sqlalchemy.pool import Pool
from usage import make_record

from techstone.adapters.storage.sqlite import open_store
from techstone.control.accounts.records import Account
from techstone.control.acts import acting
from techstone.control.billing.records import Code
from techstone.control.ledger.records import Rating

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from techstone.control.ports import Store
    from techstone.core.usage import State, UsageRecord

# In the year 2100: a request that is open is never overdue, however long a run takes.
_AT = 4_102_444_800_000
_MINUTE = 60_000
DATABASE, ACKNOWLEDGED = "t.db", "acknowledged"
_ACCOUNTS = ("a1", "a2")
_JOURNALS = ("a" * 16, "b" * 16)
# So often the file is closed, which deletes the log, and opened again.
_SITTING = 15
# So many transactions are done again.
_UNHEARD = 3


class Step(NamedTuple):
    """A transaction. `batch`: records of a journal; `again`: may be done twice, as may a batch; `once`: may not."""

    kind: Literal["batch", "again", "once"]
    do: Callable[[Store], Awaitable[object]]


class Work:
    """So many transactions: batches of usage records, and now and then what else moves money."""

    def __init__(self, seed: str, count: int) -> None:
        self._random = Random(seed)
        self._requests = 0
        self._open: dict[str, list[UsageRecord]] = {name: [] for name in _JOURNALS}
        self._settled: list[UsageRecord] = []
        self.journals: dict[str, list[UsageRecord]] = {name: [] for name in _JOURNALS}
        codes = tuple(Code(f"code{number}", number.to_bytes(32, "big"), 10**6 + number, 0) for number in range(count))
        self._codes = list(codes)
        self.steps = [Step("once", partial(_add_account, name)) for name in _ACCOUNTS]
        self.steps.append(Step("once", partial(_add_codes, codes)))
        while len(self.steps) < count:
            self.steps.append(self._plan())

    def _plan(self) -> Step:
        account = self._random.choice(_ACCOUNTS)
        match self._random.randrange(16):
            case 0:
                return Step("once", partial(_grant, account, self._random.randint(1, 10**9)))
            case 1:
                return Step("again", partial(_redeem, self._codes.pop(), account))
            case 2 if self._settled:
                chosen = [self._settled.pop(self._random.randrange(len(self._settled)))]
                ratings = [Rating(record, record.cost + self._random.choice((-3, 4)), 2) for record in chosen]
                return Step("again", partial(_rerate, ratings))
        journal = self._random.choice(_JOURNALS)
        first = len(self.journals[journal]) + 1
        records = [self._write(journal) for _ in range(self._random.choice((1, 3, 10, 40)))]
        self.journals[journal] += records
        return Step("batch", partial(_book, journal, first, records))

    def _write(self, journal: str) -> UsageRecord:
        """Return the next record: of a new request, or of one that is open."""
        state: State = self._random.choice(("open", "settled", "settled", "void"))
        begun = self._open[journal]
        tokens = self._random.randint(1, 10**4)
        if begun and self._random.random() < 0.4:
            old = begun.pop(self._random.randrange(len(begun)))
            record = make_record(int(old.id[1:]), state, tokens=tokens, at=old.at)
            record = msgspec.structs.replace(record, account=old.account, key=old.key, stream=old.stream)
        else:
            self._requests += 1
            account = self._random.choice(_ACCOUNTS)
            record = make_record(self._requests, state, tokens=tokens, at=_AT + self._requests * _MINUTE)
            record = msgspec.structs.replace(record, account=account, key=f"key_{account}")
        if state == "open":
            begun.append(record)
        if state == "settled":
            self._settled.append(record)
        return record

    async def finish(self, store: Store, done: int, random: Random) -> None:
        """Do what is left after so many steps, and again what is done again by who never heard that it was done."""
        applied = (await store.read_all()).spending.applied
        for step in self.steps[done:]:
            if step.kind == "once":
                await step.do(store)
        for name, records in self.journals.items():
            first = random.randint(0, applied.get(name, 0))
            await store.ledger.apply(name, first + 1, records[first:])
        for step in self.steps[max(0, done - _UNHEARD) :]:
            if step.kind == "again":
                await step.do(store)


async def _add_account(name: str, store: Store) -> None:
    await store.add_account(Account(name, f"{name}@example.com", "pro", 10**15))


async def _add_codes(codes: tuple[Code, ...], store: Store) -> None:
    await store.billing.add_codes(codes)


async def _grant(account: str, nano: int, store: Store) -> None:
    assert await store.ledger.grant(account, nano, "a grant")


async def _redeem(code: Code, account: str, store: Store) -> None:
    await store.billing.redeem_code(code.digest, account, 1)


async def _rerate(ratings: list[Rating], store: Store) -> None:
    await store.ledger.rerate(ratings)


async def _book(journal: str, first: int, records: list[UsageRecord], store: Store) -> None:
    await store.ledger.apply(journal, first, records)


async def read(store: Store) -> tuple[object, ...]:
    """Return all that the work leaves in a store, to be compared."""
    found = await store.read_all()
    records = {record.id: record for record, _ in await store.ledger.list_requests(None, 0)}
    return found.accounts, found.spending.applied, await store.billing.list_codes(), records


async def _do(folder: Path, work: Work) -> None:
    acknowledged = os.open(folder / ACKNOWLEDGED, os.O_WRONLY | os.O_CREAT)
    store = await open_store(folder / DATABASE)
    for number, step in enumerate(work.steps, 1):
        if number % _SITTING == 0:
            await store.close()
            store = await open_store(folder / DATABASE)
        with acting("test.run", "the ledger"):
            await step.do(store)
        os.write(acknowledged, b"%d\n" % number)
    os._exit(0)


def _tune(pragmas: list[str], connection: Any, *_: object) -> None:  # noqa: ANN401 - SQLAlchemy's own type of it is Any
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}").close()


if __name__ == "__main__":
    event.listen(Pool, "checkout", partial(_tune, sys.argv[4:]))
    asyncio.run(_do(Path(sys.argv[1]), Work(sys.argv[2], int(sys.argv[3]))))
