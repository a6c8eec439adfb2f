"""Usage at 10,000,000 settled requests: what is asked every day must not read every request.

The short run asks SQLite for its plans on a small ledger: nothing of ours runs ANALYZE, so they are the same at any
size. The long run measures on a large one; a time is a figure and gates nothing.

`bench/seed.py` fills the ledger; the first test holds what it makes to what `apply` makes of the same records.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import sqlite3
import subprocess
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO, get_args
from unittest import mock

import msgspec
import pytest
from haste import LONG
from seed import HELD, MODELS, Shape, fill, opened
from service import Service

from techstone.adapters.storage import ledger as statements
from techstone.adapters.storage.sqlite import SqliteDatabase, open_store
from techstone.adapters.storage.store import SqlStore
from techstone.control.ledger.records import MEASURED, RequestFilter, StoredGrouping
from techstone.core.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from techstone.control.ports import LedgerStore

    Question = Callable[[SqlStore], Awaitable[object]]

# The long run is `make torture`'s.
REQUESTS = 10_000_000 if LONG else 20_000  # settled; to a hundred of them there is one void
TIMES = 20 if LONG else 1
PATIENCE = 120.0  # seconds after which a question is not asked again: what is so slow needs no twenty times
BATCH = 1000
NOW = int(time.time())
ACCOUNTS, KEYS_EACH = 200, 5
LARGEST = "acct_0"
SCATTERED = f"acct_{ACCOUNTS // 2}"
EVERYBODY = tuple(f"acct_{number}" for number in range(ACCOUNTS))
PREPAID = ("pay-as-you-go",)
_DAY = 86_400
_DATABASE = "data/techstone.db"
_SPANS = {"24 h": _DAY, "30 d": 30 * _DAY, "400 d": 400 * _DAY}
_CONFIG = """
[[providers]]
name = "up"
base_url = "http://127.0.0.1:9"
[[models]]
name = "m1"
max_output_tokens = 100
price = {input = "2", output = "10"}
routes = [{provider = "up", model = "x"}]
[engine]
enabled = false
"""


def shape_of(requests: int) -> Shape:
    """Return books of so many settled requests."""
    return Shape(requests, ACCOUNTS, KEYS_EACH, NOW)


def make_batch(journal: str, number: int) -> list[UsageRecord]:
    """Return a batch of fresh records, as a gateway ships them, of accounts and models as they come."""
    chance, batch = random.Random(number), []
    for place in range(BATCH):
        account, price = int(ACCOUNTS * chance.random() ** 3), int(MODELS * chance.random() ** 3)
        key, tokens = account * KEYS_EACH + chance.randrange(KEYS_EACH), chance.randrange(1, 1000)
        batch.append(
            UsageRecord(
                f"req_{journal}{number * BATCH + place:08x}", "settled", f"acct_{account}", f"key_{key}", f"m{price}",
                "up", f"x{price}", 200, True, NOW * 1000 + place, 1000, 2000, tokens, 0, tokens, 0,
                cost=500 * tokens * price, held=0, price=price,
            )
        )  # fmt: skip
    return batch


def apply(journal: str, number: int) -> Question:
    """Return the booking of a journal's batch, from 0 on, as a question."""
    return lambda store: store.ledger.apply(journal, number * BATCH + 1, make_batch(journal, number))


def list_questions() -> dict[str, Question]:
    """Return what is asked of usage, by a name of each."""
    questions: dict[str, Question] = {
        f"sum_usage by {by}, {'everybody' if who is None else 'the largest account'}, {span}": (
            lambda store, by=by, who=who, seconds=seconds: store.ledger.sum_usage(who, NOW - seconds, by)  # type: ignore[misc]  # mypy infers no defaults of a lambda
        )
        for span, seconds in _SPANS.items()
        for by in get_args(StoredGrouping)
        for who in (None, LARGEST)
    }
    day, year = (NOW - _DAY) * 1000, (NOW - 400 * _DAY) * 1000
    return (questions | list_searches()) | {
        "list_requests, the largest account, 24 h": lambda store: store.ledger.list_requests(LARGEST, day),
        "list_requests, the largest account, 400 d, 50": lambda store: store.ledger.list_requests(
            LARGEST, year, "", 50
        ),
        "list_requests, everybody, 24 h, 50": lambda store: store.ledger.list_requests(None, day, "", 50),
        "list_requests, everybody, 400 d, 50 after one": lambda store: list_next(store, year),
        "read_settled, 400 d, 1000 after one": lambda store: rate_next(store, year),
        "list_timings, everybody, 400 d": lambda store: store.ledger.list_timings(year, MEASURED),
        "sum_over_time by key and hour, the largest account, 7 d": lambda store: store.ledger.sum_over_time(
            LARGEST, NOW - 7 * _DAY, "key", "hour"
        ),
        "sum_over_time by model and day, the largest account, 90 d": lambda store: store.ledger.sum_over_time(
            LARGEST, NOW - 90 * _DAY, "model", "day"
        ),
        "read_all": lambda store: store.read_all(),
        "read_gauges, everybody": lambda store: store.billing.read_gauges(EVERYBODY, PREPAID, NOW),
        "read_gauges, the largest account": lambda store: store.billing.read_gauges([LARGEST], PREPAID, NOW),
        "check, quick": lambda store: store.ledger.check(PREPAID, quick=True),
    }


def list_searches() -> dict[str, Question]:
    """Return what the Console asks of requests: of the largest account, and of one whose requests lie far apart.

    The plans of both are the same, so the short run leaves the second one out.
    """
    wanted = {
        "all": RequestFilter(),
        "that went well": RequestFilter(status="ok"),
        "that failed": RequestFilter(status="failed"),
        "that failed, of a key": RequestFilter(status="failed", key="key_0"),
        "of a model": RequestFilter(model="m19"),
        "of a model that nobody used": RequestFilter(model="m"),
        "of a code that none has": RequestFilter(error_code="none"),
        "that took a minute": RequestFilter(duration_ms=60_000),
        "that took a minute, until 200 d ago": RequestFilter(until=(NOW - 200 * _DAY) * 1000, duration_ms=60_000),
    }
    questions: dict[str, Question] = {}
    for who, name in {LARGEST: "the largest account", **({SCATTERED: "a scattered account"} if LONG else {})}.items():
        questions |= {
            f"find_requests {wish}, {name}": (
                lambda store, who=who, filters=filters: store.ledger.find_requests(who, filters, "", 50)  # type: ignore[misc]  # mypy infers no defaults of a lambda
            )
            for wish, filters in wanted.items()
        }
        ask: dict[str, Callable[[LedgerStore, str], Awaitable[object]]] = {
            "find_requests all, 200 d ago, before one": find_before,
            "find_request": find_one,
            "list_failures, 400 d": lambda ledger, who: ledger.list_failures(who, (NOW - 400 * _DAY) * 1000, 50),
            "sum_by_hour, 24 h": lambda ledger, who: ledger.sum_by_hour(who, NOW - _DAY),
            "last_used": lambda ledger, who: ledger.last_used(who),
        }
        questions |= {
            f"{what}, {name}": (lambda store, who=who, act=act: act(store.ledger, who))  # type: ignore[misc]  # the same
            for what, act in ask.items()
        }
    return questions


async def find_before(ledger: LedgerStore, who: str) -> object:
    """Find a page amid all pages, as whoever turned to it does."""
    middle = RequestFilter(until=(NOW - 200 * _DAY) * 1000)
    page = await ledger.find_requests(who, middle, "", 1)
    return page and await ledger.find_requests(who, RequestFilter(), page.next, 50)


async def find_one(ledger: LedgerStore, who: str) -> object:
    """Find a request that the account has, if it has any."""
    page = await ledger.find_requests(who, RequestFilter(), "", 1)
    return page and page.rows and await ledger.find_request(who, page.rows[0].id)


async def list_next(store: SqlStore, since: int) -> object:
    """List what comes after the first request: the second page of one."""
    ((first, _),) = await store.ledger.list_requests(None, since, "", 1)
    return await store.ledger.list_requests(None, since, first.id, 50)


async def rate_next(store: SqlStore, since: int) -> object:
    """Read what a re-rating reads after its first request."""
    (first,) = await store.ledger.read_settled(since, NOW * 1000, "", 1)
    return await store.ledger.read_settled(since, NOW * 1000, first.id, 1000)


QUESTIONS = list_questions()
_READS_ALL = re.compile(
    r"SCAN (requests|transfers)\b(?! USING (COVERING )?INDEX ix_requests_open)|(requests|transfers) USING AUTOMATIC"
)


def explain(path: Path, question: Question) -> list[str]:
    """Return the plans of every statement that a question sends."""
    plans = []
    with contextlib.closing(sqlite3.connect(path)) as database:
        for statement in asyncio.run(_listen(path, question)):
            if re.match(r"\s*(SELECT|WITH|INSERT|UPDATE)\b", statement):
                plans += [detail for *_, detail in database.execute(f"EXPLAIN QUERY PLAN {statement}")]
    return plans


async def _listen(path: Path, question: Question) -> list[str]:
    """Return what SQLite hears, with its values in it, from whichever connection."""
    sent: list[str] = []
    connect = sqlite3.connect

    def connect_and_listen(*arguments: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401 - as the driver's
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(sent.append)
        return connection

    with mock.patch.object(sqlite3, "connect", connect_and_listen):
        store = await open_store(path)
        await question(store)
        await store.close()
    return sent


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield an installation that has the books; the 4 GB of the long run are not left to pytest."""
    folder = tmp_path_factory.mktemp("scale")
    path = folder / _DATABASE
    path.parent.mkdir()
    try:
        _clock("fill", lambda: fill(path, shape_of(REQUESTS)), 0)
        yield Service(folder, _CONFIG)
    finally:
        for file in path.parent.glob("techstone.db*"):
            file.unlink()


def test_filled_books_are_those_of_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row by row, in every table of the ledger: what SQL filled is what `apply` makes of the same records."""
    # The suite may have begun long ago, and what is open is overdue a minute after it was heard of last.
    monkeypatch.setattr(statements, "time", SimpleNamespace(time=lambda: NOW, gmtime=time.gmtime))
    filled, booked = tmp_path / "filled.db", tmp_path / "booked.db"
    fill(filled, shape_of(2000))
    with opened(booked, shape_of(2000)):
        pass
    asyncio.run(_book(filled, booked))
    assert _dump(filled) == _dump(booked)


async def _book(filled: Path, booked: Path) -> None:
    """Book what one ledger has of requests in another: the record before the last, if any, then the last."""
    source, target = await open_store(filled), await open_store(booked)
    with contextlib.closing(sqlite3.connect(filled)) as database:
        journals = dict(database.execute("SELECT id, journal FROM requests").fetchall())
        held = {name for (name,) in database.execute("SELECT request FROM transfers WHERE kind = 'release'")}
    shipped: dict[str, list[UsageRecord]] = {}
    for record, _ in await source.ledger.list_requests(None, 0):
        records = shipped.setdefault(journals[record.id], [])
        if record.id in held:
            records.append(msgspec.structs.replace(record, state="open", held=HELD))
        records.append(record)
    for journal, records in shipped.items():
        for start in range(0, len(records), 300):
            await target.ledger.apply(journal, start + 1, records[start : start + 300])
    found = [await store.ledger.check(PREPAID) for store in (source, target)]
    for store in (source, target):
        await store.close()
    assert found == [(), ()]


def _dump(path: Path) -> dict[str, list[str]]:
    """Return every table's rows but for what depends on the order and the time of booking."""
    sums = [f"{table}_{size}" for table in ("rollups", "totals") for size in ("hourly", "daily")]
    tables = ("accounts", "keys", "requests", "transfers", *sums, "journals")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return {
            table: sorted(
                str({name: row[name] for name in row.keys() if name not in {"number", "heard_at"}})  # noqa: SIM118 - of a Row
                for row in database.execute(f"SELECT * FROM {table}")  # noqa: S608 - constants
            )
            for table in tables
        }


@pytest.mark.parametrize("name", [*QUESTIONS, "apply"])
def test_usage_never_reads_every_request(service: Service, name: str) -> None:
    """No statement of these scans `requests` or `transfers`; the index of open requests may be read as a whole."""
    plans = explain(service.folder / _DATABASE, QUESTIONS.get(name) or apply("e" * 16, 0))
    assert plans
    assert [plan for plan in plans if _READS_ALL.search(plan)] == []


@pytest.mark.parametrize(
    ("search", "index"),
    [
        ("list_failures, 400 d", "failed"),
        ("find_requests that failed", "failed"),
        ("find_requests of a code that none has", "failed"),
        ("find_requests all", "account"),
        ("find_requests all, 200 d ago, before one", "account"),
        ("find_requests of a model that nobody used", "account"),
    ],
)
def test_search_reads_requests_in_the_order_of_an_index(service: Service, search: str, index: str) -> None:
    """Of an account by time, so that a page ends where it is full; failed requests have an index of their own."""
    plans = explain(service.folder / _DATABASE, QUESTIONS[f"{search}, the largest account"])
    assert [
        plan for plan in plans if re.search(rf"SEARCH requests USING (COVERING )?INDEX ix_requests_{index}\b", plan)
    ]
    assert [plan for plan in plans if plan == "USE TEMP B-TREE FOR ORDER BY"] == []


def test_usage_is_measured(service: Service) -> None:
    """Each question on a connection of its own, then again and again there; the books stay in order."""
    path = service.folder / _DATABASE
    assert asyncio.run(_measure(path, "check, whole", [lambda store: store.ledger.check(PREPAID)])) == [()]
    for name, question in QUESTIONS.items():
        asyncio.run(_measure(path, name, [question] * (TIMES + 1)))
    batches = [apply("f" * 16, number) for number in range(TIMES + 1)]
    asyncio.run(_measure(path, f"apply, {BATCH} records", batches))
    for span in _SPANS if LONG else ():
        _measure_command(service, span)
    assert asyncio.run(_measure(path, "check, quick, at the end", [QUESTIONS["check, quick"]])) == [()]
    print(json.dumps({"id": "usage at 10 M", "requests": REQUESTS, **_weigh(path)}))


async def _measure(path: Path, name: str, questions: list[Question]) -> list[object]:
    """Ask one after the other on a store that has no connection yet, and print the times."""
    store, times, answers = SqlStore(SqliteDatabase(path)), [], []
    for question in questions:
        began, busy = time.perf_counter(), time.process_time()
        answers.append(await question(store))
        times.append(time.perf_counter() - began)
        busy = time.process_time() - busy
        if sum(times) > PATIENCE:
            break
    await store.close()
    _tell(name, times, {"cpu ms": round(busy * 1000, 1)})
    return answers


def _measure_command(service: Service, span: str) -> None:
    """Run `techstone usage` as people do, without and with a control plane that it asks."""

    def command() -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return service.run("usage", "--since", span.replace(" ", ""), "--json").returncode == 0
        return False

    _clock(f"techstone usage, {span}, no control", command, TIMES)
    try:
        _clock(f"techstone serve, until it serves ({span})", service.start, 0)
        _clock(f"techstone usage, {span}, asks control", command, TIMES)
    finally:
        # Amid a query of a minute it does not end in time, and is killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            service.stop()


def _clock(name: str, act: Callable[[], object], more: int) -> None:
    """Do it, and so many times more, and print the times; one that fails is the last."""
    times: list[float] = []
    failed = False
    while len(times) <= more and not failed and sum(times) <= PATIENCE:
        began = time.perf_counter()
        failed = act() is False
        times.append(time.perf_counter() - began)
    _tell(name, times, {"failed": 1} if failed else {})


def _tell(name: str, times: list[float], more: dict[str, float] | None = None) -> None:
    """Print what was measured; the first time is the cold one."""
    cold, *warm = (round(seconds * 1000, 1) for seconds in times)
    figures = {"p50 ms": sorted(warm)[len(warm) // 2], "max ms": max(warm), "times": len(warm)} if warm else {}
    figures |= {"cold ms": cold} | (more or {})
    print(json.dumps({"id": "usage at 10 M", "requests": REQUESTS, "query": name, **figures}), flush=True)


def _weigh(path: Path) -> dict[str, object]:
    """Return how large the file is, and the rows and the depth of its trees."""
    with contextlib.closing(sqlite3.connect(path)) as database, path.open("rb") as file:
        trees = database.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0").fetchall()
        ((hourly, daily),) = database.execute(
            "SELECT (SELECT count(*) FROM rollups_hourly), (SELECT count(*) FROM rollups_daily)"
        )
        depths = {name: _sound(file, root) for name, root in trees if "requests" in name or "rollups" in name}
    return {"MB": path.stat().st_size // 10**6, "hourly": hourly, "daily": daily, "depths": depths}


def _sound(file: BinaryIO, page: int) -> int:
    """Return how many pages lie on the way to a leaf (sqlite.org/fileformat2.html, section 1.6)."""
    depth = 1
    while True:
        file.seek((page - 1) * 4096)
        head = file.read(12)
        if head[0] not in (2, 5):  # interior pages; the last of their children stands at 8
            return depth
        page, depth = int.from_bytes(head[8:12], "big"), depth + 1
