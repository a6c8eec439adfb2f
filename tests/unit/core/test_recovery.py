"""What a crash left open is ended once: billed as far as it was delivered, nothing where nothing was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from usage import make_record

from techstone.core import ledger
from techstone.core.recovery import close_open

if TYPE_CHECKING:
    from techstone.core.usage import State, UsageRecord

_STATES: st.SearchStrategy[State] = st.sampled_from(["open", "open", "settled", "void"])
_JOURNALS = st.lists(st.builds(make_record, st.integers(1, 4), _STATES, tokens=st.integers(0, 9)), max_size=20)


@given(_JOURNALS)
def test_only_what_is_open_at_last_is_ended(journal: list[UsageRecord]) -> None:
    """Each such request by one record; a second crash right after finds nothing to end."""
    last = {record.id: record for record in journal}
    closed = close_open(journal)
    assert {record.id for record in closed} == {name for name, record in last.items() if record.state == "open"}
    assert len({record.id for record in closed}) == len(closed)
    assert close_open([*journal, *closed]) == []


@given(_JOURNALS)
def test_ledger_is_left_with_nothing_held(journal: list[UsageRecord]) -> None:
    """Booked after the journal, the endings give back every hold."""
    standings: dict[str, ledger.Standing] = {}
    held = 0
    for record in [*journal, *close_open(journal)]:
        going = ledger.advance(standings.get(record.id), record)
        if going is not None:
            standings[record.id] = going[0]
            for transfer in going[1]:
                held += {"hold": 1, "release": -1}.get(transfer.kind, 0) * transfer.nano
    assert {standing.held for standing in standings.values()} <= {0}
    assert held == 0


def test_stream_is_billed_as_far_as_it_was_delivered() -> None:
    """By its last record before the crash, with that one's tokens and cost; its hold ends."""
    journal = [make_record(1, "open", tokens=2), make_record(2, "open", tokens=1), make_record(1, "open", tokens=3)]
    first, second = close_open(journal)
    assert (first.id, second.id) == ("r1", "r2"), "in the order in which they began"
    assert first == msgspec.structs.replace(
        journal[2], state="settled", status=499, held=0, error_code="gateway_restarted"
    )
    assert (first.completion_tokens, first.cost) == (3, 21)
    assert (second.state, second.cost) == ("settled", 7), "one token is something"


def test_stream_that_delivered_nothing_owes_nothing() -> None:
    """Not even its prompt."""
    waiting = msgspec.structs.replace(make_record(1, "open", tokens=0), cost=30, held=90)
    (record,) = close_open([waiting])
    assert (record.state, record.cost, record.held, record.error_code) == ("void", 0, 0, "gateway_restarted")
