"""What every ledger tells of single requests: pages of them, one, those that failed, and when keys were used."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from usage import make_record

from techstone.control.accounts.records import Account
from techstone.control.keys.records import Key
from techstone.control.ledger.records import NEWEST, SEARCHED, Bucket, HourSums, RequestFilter, Timing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from techstone.control.ports import LedgerStore, Store
    from techstone.core.usage import UsageRecord

_HOUR = 3600
# The first millisecond of a UTC day.
_AT = 1_800_057_600_000
_ALL = RequestFilter()


@pytest.fixture
async def store(store: Store) -> AsyncIterator[Store]:
    for name in ("acct_a", "acct_b"):
        await store.add_account(Account(name, f"{name}@example.com", "pro", 10**12))
        for number in range(3):
            await store.add_key(Key(f"key_{name}{number}", f"{name}{number}".encode(), name, "k", "ts_live_"))
    yield store
    assert await store.ledger.check([]) == ()


@pytest.fixture
def ledger(store: Store) -> LedgerStore:
    return store.ledger


def make(number: int, **fields: Any) -> UsageRecord:  # noqa: ANN401 - a record's fields are of many types
    """Return the record of `r<number>`, of the first account and key, a second after the one before."""
    given: dict[str, Any] = {"account": "acct_a", "key": "key_acct_a0", "at": _AT + 1000 * number, **fields}
    return msgspec.structs.replace(make_record(number), **given)


async def book(ledger: LedgerStore, records: Sequence[UsageRecord]) -> None:
    await ledger.apply("a" * 16, 1, records)


async def find_ids(ledger: LedgerStore, filters: RequestFilter = _ALL, before: str = "", limit: int = 100) -> list[str]:
    page = await ledger.find_requests("acct_a", filters, before, limit)
    assert page is not None
    return [entry.id for entry in page.rows]


async def read_through(ledger: LedgerStore, filters: RequestFilter, limit: int) -> tuple[list[UsageRecord], list[bool]]:
    """Return the rows of all pages, and of each page whether it was partial."""
    rows: list[UsageRecord] = []
    partial: list[bool] = []
    before = ""
    while True:
        page = await ledger.find_requests("acct_a", filters, before, limit)
        assert page is not None
        assert len(page.rows) <= limit
        rows += page.rows
        partial.append(page.partial)
        if not page.more:
            return rows, partial
        before = page.next


@pytest.mark.parametrize("limit", [1, 2, 7, 24, 25])
async def test_requests_of_an_account_are_found_newest_first_page_by_page(ledger: LedgerStore, limit: int) -> None:
    """By time of admission, then by id: each comes once, also of those that were admitted in the same millisecond."""
    entries = [make(number, at=_AT + number // 3) for number in range(24)]
    random.Random(limit).shuffle(entries)
    await book(ledger, [*entries, make(99, account="acct_b")])
    rows, _ = await read_through(ledger, _ALL, limit)
    assert rows == sorted(entries, key=lambda entry: (entry.at, entry.id), reverse=True)


async def test_page_says_where_to_go_on_and_how_far_it_reaches(ledger: LedgerStore) -> None:
    """A full page goes on from its last row; the last one has nothing after it, also where it is just full."""
    await book(ledger, [make(number) for number in range(4)])
    first = await ledger.find_requests("acct_a", _ALL, "", 2)
    assert first is not None
    assert (first.next, first.more, first.partial, first.reached) == ("r2", True, False, _AT + 2000)
    last = await ledger.find_requests("acct_a", _ALL, first.next, 2)
    assert last is not None
    assert ([entry.id for entry in last.rows], last.next, last.more, last.reached) == (["r1", "r0"], "", False, None)


async def test_request_that_comes_between_two_pages_moves_none(ledger: LedgerStore) -> None:
    """A page begins after a request, not after so many."""
    await book(ledger, [make(number) for number in range(4)])
    assert await find_ids(ledger, limit=2) == ["r3", "r2"]
    await ledger.apply("b" * 16, 1, [make(4)])
    assert await find_ids(ledger, before="r2") == ["r1", "r0"]


async def test_page_before_a_request_that_the_account_has_not_is_none(ledger: LedgerStore) -> None:
    """Neither one that nobody has nor another account's."""
    await book(ledger, [make(1), make(2, account="acct_b")])
    for before in ("r2", "r3"):
        assert await ledger.find_requests("acct_a", _ALL, before, 10) is None


_MIXED = (
    make(0),
    make(1, model="m1", duration=2_000_000),
    make(2, key="key_acct_a1"),
    make(3, status=499, error_code="client_closed"),
    make(4, state="void", status=503, error_code="upstream_unavailable", cost=0),
    make(5, state="void", status=499, error_code=None, cost=0, key="key_acct_a1"),
    make(6, status=200, error_code="odd", duration=1_999_999),
    make(7, state="open", status=499, held=100),
)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (_ALL, "76543210"),
        (RequestFilter(since=_AT + 2000), "765432"),
        (RequestFilter(until=_AT + 2000), "10"),
        (RequestFilter(since=_AT + 2000, until=_AT + 5000), "432"),
        (RequestFilter(status="ok"), "210"),
        (RequestFilter(status="failed"), "6543"),
        (RequestFilter(model="m1"), "1"),
        (RequestFilter(key="key_acct_a1"), "52"),
        (RequestFilter(key="key_acct_a1", status="failed"), "5"),
        (RequestFilter(key="key_acct_a1", status="ok"), "2"),
        (RequestFilter(error_code="client_closed"), "3"),
        (RequestFilter(error_code="client_closed", status="ok"), ""),
        (RequestFilter(error_code="unheard_of"), ""),
        (RequestFilter(duration_ms=2000), "1"),
        (RequestFilter(duration_ms=1999), "61"),
        (RequestFilter(since=_AT, model="m1", key="key_acct_a0", duration_ms=1), "1"),
    ],
)
async def test_only_requests_that_pass_every_filter_are_found(
    ledger: LedgerStore, filters: RequestFilter, expected: str
) -> None:
    """`since` is within, `until` without; what is open has not failed, though its status is a hang-up's."""
    await book(ledger, _MIXED)
    assert await find_ids(ledger, filters) == [f"r{number}" for number in expected]
    rows, _ = await read_through(ledger, filters, 1)
    assert [entry.id for entry in rows] == [f"r{number}" for number in expected]


async def test_request_that_ends_badly_is_found_among_the_failed(ledger: LedgerStore) -> None:
    """Open, then void: the failure is known from its end on."""
    await book(ledger, [make(1, state="open", status=499, held=10)])
    assert await ledger.list_failures("acct_a", 0, 10) == ()
    ended = make(1, state="void", status=502, error_code="upstream_error", cost=0)
    await ledger.apply("a" * 16, 2, [ended])
    assert await ledger.list_failures("acct_a", 0, 10) == (ended,)


async def test_search_for_what_is_rare_stops_and_goes_on(ledger: LedgerStore) -> None:
    """A page looks at so many requests and no more; it may be empty, and the next one goes on where it stopped."""
    count = 2 * SEARCHED + 10
    rare = {3, SEARCHED, count - 1}
    await book(ledger, [make(number, model="rare" if number in rare else "m") for number in range(count)])
    rows, partial = await read_through(ledger, RequestFilter(model="rare"), 50)
    assert [entry.id for entry in rows] == [f"r{number}" for number in sorted(rare, reverse=True)]
    assert partial == [True, True, False]
    page = await ledger.find_requests("acct_a", RequestFilter(model="none"), "", 50)
    assert page is not None
    assert (page.rows, page.next, page.reached) == ((), f"r{count - SEARCHED}", _AT + (count - SEARCHED) * 1000)


async def test_search_goes_on_through_requests_of_the_same_millisecond(ledger: LedgerStore) -> None:
    """Where it stops among them all the others are looked at as well, so that none is missed and none comes twice."""
    count = SEARCHED + 20
    entries = [make(number, at=_AT + number // (SEARCHED + 10), model=f"m{number % 1000}") for number in range(count)]
    await book(ledger, entries)
    rows, _ = await read_through(ledger, RequestFilter(model="m0"), 2)
    assert sorted(entry.id for entry in rows) == sorted(entry.id for entry in entries if entry.model == "m0")


async def test_failures_are_not_searched_for_among_all_requests(ledger: LedgerStore) -> None:
    """However many went well since: the page is whole at once."""
    failed = make(0, state="void", status=429, error_code="rate_limited", cost=0)
    await book(ledger, [failed, *(make(number) for number in range(1, SEARCHED + 2))])
    for filters in (RequestFilter(status="failed"), RequestFilter(error_code="rate_limited", key="key_acct_a0")):
        page = await ledger.find_requests("acct_a", filters, "", 50)
        assert page is not None
        assert (page.rows, page.more) == ((failed,), False)


async def test_request_is_found_by_its_whole_id(ledger: LedgerStore) -> None:
    """An account knows its own requests alone."""
    mine, other = make(1), make(2, account="acct_b")
    await book(ledger, [mine, other])
    assert await ledger.find_request("acct_a", "r1") == mine
    assert await ledger.find_request("acct_b", "r2") == other
    for account, request_id in (("acct_a", "r2"), ("acct_a", "r"), ("acct_a", ""), ("acct_c", "r1")):
        assert await ledger.find_request(account, request_id) is None


async def test_newest_failures_are_listed_since_a_time(ledger: LedgerStore) -> None:
    """Newest first, at most so many, of the account alone."""
    await book(ledger, [*_MIXED, make(8, account="acct_b", status=500, error_code="internal_error")])
    for since, limit, expected in ((0, 10, "6543"), (_AT + 4000, 10, "654"), (0, 2, "65"), (_AT + 9000, 10, "")):
        assert [entry.id for entry in await ledger.list_failures("acct_a", since, limit)] == [
            f"r{number}" for number in expected
        ]


async def test_use_of_keys_is_summed_by_the_hour(ledger: LedgerStore) -> None:
    """Of whole hours, over models, of settled requests; of the account's keys or of those that are asked for."""
    hour = _HOUR * 1000
    await book(
        ledger,
        [
            make(1, at=_AT - 1, cost=1),
            make(2, at=_AT, cost=2),
            make(3, at=_AT + hour - 1, cost=4, model="m1"),
            make(4, at=_AT + hour, cost=8, key="key_acct_a1"),
            make(5, at=_AT + hour, state="void", cost=0),
            make(6, at=_AT, cost=16, account="acct_b", key="key_acct_b0"),
        ],
    )
    second = _AT // 1000
    first, other = HourSums("key_acct_a0", second, 2, 6), HourSums("key_acct_a1", second + _HOUR, 1, 8)
    assert await ledger.sum_by_hour("acct_a", second + 1) == (first, other)
    assert await ledger.sum_by_hour("acct_a", second, ["key_acct_a1", "key_acct_b0"]) == (other,)
    assert await ledger.sum_by_hour("acct_a", second, []) == ()
    assert (await ledger.sum_by_hour("acct_a", second - 1))[0] == HourSums("key_acct_a0", second - _HOUR, 1, 1)


async def test_last_use_of_a_key_is_exact_among_the_newest_requests(ledger: LedgerStore) -> None:
    """Also of those that came to nothing or are still open; a key that was never used is left out."""
    await book(
        ledger,
        [
            make(1),
            make(2, key="key_acct_a1"),
            make(3, key="key_acct_a1", state="void", cost=0),
            make(4, account="acct_b", key="key_acct_b0"),
            make(5, state="open", held=10),
        ],
    )
    assert await ledger.last_used("acct_a") == {"key_acct_a0": _AT + 5000, "key_acct_a1": _AT + 3000}
    assert await ledger.last_used("acct_b") == {"key_acct_b0": _AT + 4000}
    assert await ledger.last_used("acct_c") == {}


async def test_last_use_of_a_key_is_told_to_the_hour_beyond_them(ledger: LedgerStore) -> None:
    """The beginning of the hour of its last settled request, on whichever day that was."""
    day = 24 * _HOUR * 1000
    await book(
        ledger,
        [
            make(1, key="key_acct_a1", at=_AT - 9 * day),
            make(2, key="key_acct_a1", at=_AT - 2 * day + 5_000_000),
            make(3, key="key_acct_a1", at=_AT - day, state="void", cost=0),
            make(4, key="key_acct_a2", at=_AT - 1),
            *(make(number) for number in range(5, 5 + NEWEST)),
        ],
    )
    assert await ledger.last_used("acct_a") == {
        "key_acct_a0": _AT + (4 + NEWEST) * 1000,
        "key_acct_a1": _AT - 2 * day + _HOUR * 1000,
        "key_acct_a2": _AT - _HOUR * 1000,
    }


async def test_use_is_told_over_time_by_key_and_by_model(ledger: LedgerStore) -> None:
    """By the hour and by the day; tokens of both kinds; of settled requests of the account alone."""
    hour = _HOUR * 1000
    use = {"prompt_tokens": 10, "completion_tokens": 5}
    await book(
        ledger,
        [
            make(1, at=_AT - 1, cost=1, model="a", **use),
            make(2, at=_AT, cost=2, model="a", **use),
            make(3, at=_AT + hour, cost=4, model="b", key="key_acct_a1", **use),
            make(4, at=_AT + hour, cost=8, model="a", **use),
            make(5, at=_AT, state="void", cost=0),
            make(6, at=_AT, cost=16, account="acct_b", key="key_acct_b0", model="a", **use),
        ],
    )
    day = _AT // 1000
    assert await ledger.sum_over_time("acct_a", day + 5, "model", "hour") == (
        Bucket("a", day, 1, 15, 2), Bucket("a", day + _HOUR, 1, 15, 8), Bucket("b", day + _HOUR, 1, 15, 4),
    )  # fmt: skip
    assert await ledger.sum_over_time("acct_a", day, "key", "day") == (
        Bucket("key_acct_a0", day, 2, 30, 10), Bucket("key_acct_a1", day, 1, 15, 4),
    )  # fmt: skip
    assert len(await ledger.sum_over_time("acct_a", day - 1, "model", "day")) == 3
    assert await ledger.sum_over_time("acct_c", 0, "model", "day") == ()


async def test_newest_requests_tell_how_they_went(ledger: LedgerStore) -> None:
    """Of all accounts, newest first; of the newest so many, and of these no one that still runs."""
    await book(
        ledger,
        [
            make(1, model="a", status=200, stream=True, first_byte=5, duration=9),
            make(2, account="acct_b", key="key_acct_b0", model="b", state="void", status=502, error_code="x", cost=0),
            make(3, state="open", status=499, held=10),
        ],
    )
    first, second = make(1), make(2)
    one = Timing("a", 200, None, True, 5, 9)
    other = Timing("b", 502, "x", second.stream, second.first_byte, second.duration)
    assert await ledger.list_timings(0, 10) == (other, one)
    assert await ledger.list_timings(0, 2) == (other,)
    assert await ledger.list_timings(first.at + 1, 10) == (other,)
    assert await ledger.list_timings(_AT + 9000, 10) == ()


async def test_usage_is_summed_of_some_keys_alone(ledger: LedgerStore) -> None:
    """By whatever is asked, to the hour that the time lies in; no key at all is nothing."""
    keys = [f"key_acct_a{number % 3}" for number in range(60)]
    records = [make(number * 1800, key=key, cost=number + 1) for number, key in enumerate(keys)]
    await ledger.apply("a" * 16, 1, records)
    for hours in (0, 7, 24, 25):
        since = _AT // 1000 + hours * _HOUR
        for chosen in (("key_acct_a0", "key_acct_a2"), ("key_acct_a1",), ()):
            wanted = [one for one in records if one.key in chosen and one.at // 1000 >= since]
            for by in ("model", "key", "hour", "account"):
                found = await ledger.sum_usage("acct_a", since + 5, by, chosen)
                assert sum(one.cost_nano for one in found) == sum(one.cost for one in wanted)
                assert sum(one.requests for one in found) == len(wanted)
            days = await ledger.sum_usage("acct_a", since, "day", chosen)
            midnight = since // 86_400 * 86_400
            assert sum(one.cost_nano for one in days) == sum(
                one.cost for one in records if one.key in chosen and one.at // 1000 >= midnight
            )
    assert await ledger.sum_usage("acct_b", 0, "key", ("key_acct_a0",)) == ()


async def test_requests_of_some_keys_are_found(ledger: LedgerStore) -> None:
    """Also among the failed; with another wish, both must hold."""
    records = [make(number, key=f"key_acct_a{number % 3}", status=500 if number % 2 else 200) for number in range(12)]
    await ledger.apply("a" * 16, 1, records)
    for filters, numbers in (
        (RequestFilter(keys=("key_acct_a0", "key_acct_a1")), [10, 9, 7, 6, 4, 3, 1, 0]),
        (RequestFilter(keys=("key_acct_a2",), status="failed"), [11, 5]),
        (RequestFilter(keys=("key_acct_a2",), key="key_acct_a1"), []),
        (RequestFilter(keys=()), []),
    ):
        page = await ledger.find_requests("acct_a", filters, "", 50)
        assert page is not None
        assert [one.id for one in page.rows] == [f"r{number}" for number in numbers]
