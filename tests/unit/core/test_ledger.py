"""The ledger's rules: whatever is delivered, and however often, each request is charged once and every hold ends."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from usage import make_record

from techstone.core.ledger import BOOKS, Book, Kind, Standing, Transfer, advance
from techstone.core.usage import State, UsageRecord

_STATES: st.SearchStrategy[State] = st.sampled_from(["open", "open", "settled", "void"])


def record(number: int, state: State, cost: int = 0, held: int = 0) -> UsageRecord:
    return msgspec.structs.replace(make_record(number, state), cost=cost, held=held)


_RECORDS = st.lists(
    st.builds(record, st.integers(1, 3), _STATES, st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=12
)


class House:
    """A ledger: where each request stands, its transfers, and the books of one account."""

    def __init__(self) -> None:
        self.standings: dict[str, Standing] = {}
        self.moved: dict[str, list[Transfer]] = {}
        self.books: dict[Book, int] = dict.fromkeys(get_args(Book), 0)

    def book(self, records: list[UsageRecord]) -> None:
        for one in records:
            going = advance(self.standings.get(one.id), one)
            if going is not None:
                self.standings[one.id], transfers = going
                self.moved.setdefault(one.id, []).extend(transfers)
                for transfer in transfers:
                    giving, taking = BOOKS[transfer.kind]
                    self.books[giving] -= transfer.nano
                    self.books[taking] += transfer.nano

    def sum(self, request: str, kind: Kind) -> int:
        return sum(transfer.nano for transfer in self.moved.get(request, []) if transfer.kind == kind)


@given(_RECORDS)
def test_money_is_conserved_whatever_comes(records: list[UsageRecord]) -> None:
    """In any order: what is held is what was held less what was released, and no book gains what no other lost."""
    house = House()
    for one in records:
        house.book([one])
        assert sum(house.books.values()) == 0
        assert house.books["held"] == sum(standing.held for standing in house.standings.values())
        for name, standing in house.standings.items():
            assert house.sum(name, "hold") - house.sum(name, "release") == standing.held
            assert standing.held == 0 or standing.state == "open"
    assert all(transfer.nano > 0 for moved in house.moved.values() for transfer in moved)


@given(_RECORDS)
def test_request_is_charged_once_by_the_first_record_that_ends_it(records: list[UsageRecord]) -> None:
    """Later ones, of whatever state and cost, change nothing; a request that never ended or is void owes nothing."""
    house = House()
    house.book(records)
    ends: dict[str, UsageRecord] = {}
    for one in records:
        if one.state != "open":
            ends.setdefault(one.id, one)
    for name, standing in house.standings.items():
        end = ends.get(name)
        owed = end.cost if end is not None and end.state == "settled" else 0
        charges = [transfer.nano for transfer in house.moved[name] if transfer.kind == "charge"]
        assert charges == ([owed] if owed else [])
        assert standing.state == (end.state if end is not None else "open")
    assert house.books["revenue"] == sum(house.sum(name, "charge") for name in house.moved)


@given(_RECORDS, st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=4))
def test_journal_may_be_delivered_again(records: list[UsageRecord], tries: list[tuple[int, int]]) -> None:
    """Resumed from anywhere before, as far as it was known or further: standings and books are as of one delivery."""
    once, often = House(), House()
    once.book(records)
    known = 0
    for start, end in [*tries, (12, 12)]:
        again, known = min(start, known), max(known, end)
        often.book(records[again:known])
    assert often.standings == once.standings
    assert often.books == once.books


@pytest.mark.parametrize(
    ("current", "coming", "standing", "moved"),
    [
        (None, record(1, "open", 5, 10), Standing("open", 10), [("hold", 10)]),
        (None, record(1, "open"), Standing("open"), []),
        (None, record(1, "settled", 7), Standing("settled"), [("charge", 7)]),
        (None, record(1, "settled"), Standing("settled"), []),
        (None, record(1, "void", 7), Standing("void"), []),
        (Standing("open", 10), record(1, "open", 5, 30), Standing("open", 30), [("hold", 20)]),
        (Standing("open", 10), record(1, "open", 5, 4), Standing("open", 4), [("release", 6)]),
        (Standing("open", 10), record(1, "settled", 7), Standing("settled"), [("release", 10), ("charge", 7)]),
        (Standing("open", 10), record(1, "settled", 70), Standing("settled"), [("release", 10), ("charge", 70)]),
        (Standing("open", 10), record(1, "void"), Standing("void"), [("release", 10)]),
    ],
)
def test_request_goes_on(
    current: Standing | None, coming: UsageRecord, standing: Standing, moved: list[tuple[Kind, int]]
) -> None:
    """What is held follows the last record; the end gives all of it back first and then charges."""
    assert advance(current, coming) == (standing, [Transfer(kind, "a1", nano) for kind, nano in moved])


@pytest.mark.parametrize("state", ["settled", "void"])
@pytest.mark.parametrize("coming", get_args(State))
def test_what_ended_stays_so(state: State, coming: State) -> None:
    """A late checkpoint, a second settlement: nothing of it is booked."""
    assert advance(Standing(state), record(1, coming, 7, 9)) is None


def test_corrections_go_the_way_of_what_they_correct() -> None:
    """A release is a hold turned round, a refund a charge turned round, a surcharge one more charge."""
    assert set(BOOKS) == set(get_args(Kind))
    assert all(giving != taking for giving, taking in BOOKS.values())
    assert BOOKS["release"] == BOOKS["hold"][::-1]
    assert BOOKS["refund"] == BOOKS["charge"][::-1]
    assert BOOKS["surcharge"] == BOOKS["charge"]
