"""Frames lead to views: parts to what one frame tells, and nothing that does not follow is taken."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from changes import ACCOUNTS, CHANGES, EMPTY, KEYS, PLANS, Change, hold, tell
from hypothesis import given
from hypothesis import strategies as st
from wholes import follow

from techstone.core.assembly import Assembly
from techstone.core.snapshot import Account, Head, Key
from techstone.core.stream import (
    Delta,
    Frame,
    Heartbeat,
    Part,
    SnapshotError,
    Whole,
    decode,
    encode,
)
from techstone.core.view import View

# As a control plane of the format before told it, recorded; one a format.
RECORDED = Path(__file__).with_name("stream_format_1.ndjson")


@given(
    st.lists(KEYS, max_size=6, unique_by=lambda key: key.id), st.lists(ACCOUNTS, unique_by=lambda one: one.id), CHANGES
)
def test_parts_lead_where_one_frame_does(keys: list[Key], accounts: list[Account], changes: Change) -> None:
    """Format 2 whole, and on top of a revision, comes to what format 1 tells in one frame."""
    whole = msgspec.structs.replace(EMPTY, revision=1, accounts=tuple(accounts), keys=tuple(keys))
    assembly = Assembly()
    frames: list[Frame] = [whole.head(), Part(accounts=whole.accounts)]
    frames += [Part(keys=(key,)) for key in keys]
    assert [assembly.take(decode(encode(frame))) for frame in frames] == [None] * len(frames)
    view = assembly.take(Whole(1, len(accounts), len(keys)))
    assert view is not None
    assert hold(view) == hold(View(whole))
    delta = tell(1, (changes[0], changes[1], [], changes[3]))  # accounts never go
    expected = follow(View(whole), delta)
    resumed = Assembly(view)
    head = msgspec.structs.replace(whole.head(), revision=2, since=1, spending=False)
    for frame in (head, Part(delta.accounts, delta.keys, delta.gone_digests)):
        assert resumed.take(frame) is None
    found = resumed.take(Whole(2, len(expected.accounts), sum(1 for _ in expected.keys)))
    assert found is not None
    assert (hold(found), found.snapshot.revision, found.snapshot.since) == (hold(expected), 2, None)


def test_resumption_with_spending_begins_it_anew() -> None:
    """What somebody spent before and is not told of any more (another month) is nothing; the day is the head's."""
    spent = Account("a1", "a@b.c", "pro", spent=5, spent_month=5)
    view = View(msgspec.structs.replace(EMPTY, accounts=(spent, Account("a2", "b@b.c", "pro", spent_month=3))))
    assembly = Assembly(view)
    head = Head(1, PLANS, since=0, as_of_day=9)
    assert [assembly.take(frame) for frame in (head, Part((msgspec.structs.replace(spent, spent=7, spent_month=0),)))]
    found = assembly.take(Whole(1, 2, 0))
    assert found is not None
    assert [(one.spent, one.spent_month) for one in found.accounts.values()] == [(7, 0), (0, 0)]
    assert found.snapshot.as_of_day == 9


def test_resumption_that_does_not_add_up_is_refused() -> None:
    """Another number of keys than there are: of a database that was restored, so only the whole helps."""
    assembly = Assembly(View(EMPTY))
    assembly.take(Head(1, PLANS, since=0))
    with pytest.raises(SnapshotError, match="0 accounts and 0 keys, expected 0 and 1"):
        assembly.take(Whole(1, 0, 1))
    with pytest.raises(SnapshotError, match="changes since revision 0, have None"):
        assembly.take(Head(1, PLANS, since=0))


def test_requests_see_the_old_until_all_parts_are_there() -> None:
    """A stream that breaks off between its parts has changed nothing."""
    view = View(msgspec.structs.replace(EMPTY, accounts=(Account("a1", "a@b.c", "pro"),)))
    assembly = Assembly(view)
    assembly.take(Head(1, PLANS, since=0))
    assembly.take(Part(accounts=(Account("a1", "a@b.c", "pro", suspended=True),)))
    assert not view.accounts["a1"].suspended
    assert view.snapshot.revision == 0


@given(st.integers(0, 5), st.integers(0, 5))
def test_gap_is_refused(base: int, have: int) -> None:
    """A change or a heartbeat of another revision than ours says that we missed something."""
    for frame in (Delta(base, base + 1), Heartbeat(base)):
        assembly = Assembly()
        assembly.take(msgspec.structs.replace(EMPTY, revision=have))
        if base == have:
            view = assembly.take(frame)
            assert view is not None
            assert view.snapshot.revision == (have if isinstance(frame, Heartbeat) else have + 1)
        else:
            with pytest.raises(SnapshotError, match=f"revision {base}, have {have}"):
                assembly.take(frame)


@pytest.mark.parametrize("frame", [Delta(0, 1), Heartbeat(0), Part(), Whole(0, 0, 0)])
@pytest.mark.parametrize("view", [None, View(EMPTY)])
def test_change_before_the_whole_is_refused(frame: Frame, view: View | None) -> None:
    """Without a beginning there is nothing to change, also where an earlier stream has led to something."""
    with pytest.raises(SnapshotError, match=r"before|did not begin"):
        Assembly(view).take(frame)


def test_change_between_parts_is_refused() -> None:
    """They are of one revision."""
    assembly = Assembly()
    assembly.take(Head(0))
    with pytest.raises(SnapshotError, match="before the first whole snapshot"):
        assembly.take(Delta(0, 1))


def test_whole_replaces_whatever_was_there() -> None:
    """Also one of a lower revision: the control plane knows better (a restored database)."""
    assembly = Assembly(View(msgspec.structs.replace(EMPTY, revision=9)))
    view = assembly.take(EMPTY)
    assert view is not None
    assert view.snapshot.revision == 0


def test_recorded_stream_of_the_format_before_is_read() -> None:
    """A gateway that was updated first follows a control plane that was not: its lines, as they were recorded."""
    assembly = Assembly()
    view = [assembly.take(decode(line)) for line in RECORDED.read_bytes().splitlines(keepends=True)][-1]
    assert view is not None
    assert view.snapshot.revision == 4
    assert [(key.id, key.rpm) for key in view.keys] == [("key_2", 7)]
    assert view.models["gpt-4o"].prices[0].input == 2_500
