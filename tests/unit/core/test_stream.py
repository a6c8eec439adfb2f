"""The seam: what is told in changes is what would be told whole, and nothing that does not follow is taken."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wholes import follow, tell_whole

from techstone.core.pricing import Price
from techstone.core.snapshot import Account, Head, Key, Model, Plan, Principal, Provider, Route, Snapshot, View
from techstone.core.stream import (
    FORMAT,
    OLDEST,
    Assembly,
    Delta,
    Frame,
    Heartbeat,
    Part,
    SnapshotError,
    Whole,
    advance,
    choose_format,
    decode,
    encode,
    lower,
)

# As a control plane of the format before told it, recorded; one a format.
RECORDED = Path(__file__).with_name("stream_format_1.ndjson")

PLANS = (Plan("pro", 500, 2_000_000, 50, "postpaid"), Plan("free", 60, 150_000, 5, "prepaid"))
# Few ids and digests, so that changes meet each other; "gold" is a plan that is not there, a9 an account.
ACCOUNTS = st.builds(Account, st.sampled_from(["a1", "a2", "a3"]), st.just("a@b.c"), st.sampled_from(["pro", "gold"]))
KEYS = st.integers(0, 5).flatmap(
    lambda number: st.builds(
        Key,
        st.just(f"k{number}"),
        st.just(f"{number:064x}"),
        st.sampled_from(["a1", "a2", "a9"]),
        st.just("name"),
        st.just("ts_live_...abcd"),
        models=st.none() | st.just(("m",)),
    )
)
Change = tuple[list[Account], list[Key], list[str], list[int]]
CHANGES = st.tuples(
    st.lists(ACCOUNTS, max_size=3, unique_by=lambda account: account.id),
    st.lists(KEYS, max_size=4, unique_by=lambda key: key.id),
    st.lists(st.sampled_from(["a1", "a2", "a3"]), max_size=2),
    st.lists(st.integers(0, 5), max_size=2),
)
EMPTY = Snapshot(
    0, PLANS, models=(Model("m", (Route("up", "x"),)),), providers=(Provider("up", "openai", "https://up.example/v1"),)
)


def _tell(base: int, changes: Change, *, digests: bool = True) -> Delta:
    accounts, keys, gone_accounts, gone = changes
    gone_keys = tuple(f"k{number}" for number in gone)
    gone_digests = tuple(f"{number:064x}" for number in gone) if digests else ()
    return Delta(
        base, base + 1, tuple(accounts), tuple(keys), tuple(gone_accounts), gone_keys, gone_digests=gone_digests
    )


def _whole(view: View) -> tuple[dict[str, Account], dict[str, Key]]:
    return dict(view.accounts), {key.id: key for key in view.keys}


def _principals(view: View) -> dict[int, Principal | None]:
    return {number: view.principals.get(number.to_bytes(32, "big")) for number in range(6)}


def _holder(view: View, account: str) -> dict[str, Principal] | None:
    found = view.find_holder(account)
    return None if found is None else {who.key.id: who for who in (found.principal, *found.keys)}


@given(st.lists(CHANGES, max_size=8), st.booleans())
def test_changes_lead_where_the_whole_stands(story: list[Change], digests: bool) -> None:  # noqa: FBT001 - drawn
    """After any changes the view holds the last word on every record; also where gone keys are told by their ids."""
    view, keys, accounts = View(EMPTY), dict[str, Key](), dict[str, Account]()
    for base, changes in enumerate(story):
        _principals(view)  # what was composed before must not outlive the change
        told = decode(encode(_tell(base, changes, digests=digests)))
        assert isinstance(told, Delta)
        view = follow(view, told)
        accounts.update((account.id, account) for account in changes[0])
        keys.update((key.id, key) for key in changes[1])
        for gone in changes[2]:
            accounts.pop(gone, None)
        for number in changes[3]:
            keys.pop(f"k{number}", None)
    assert view.snapshot.revision == len(story)
    assert _whole(view) == (accounts, keys)
    anew = View(tell_whole(view))
    assert _principals(view) == _principals(anew)
    assert [_holder(view, name) for name in accounts] == [_holder(anew, name) for name in accounts]


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
    assert _whole(view) == _whole(View(whole))
    delta = _tell(1, (changes[0], changes[1], [], changes[3]))  # accounts never go
    expected = follow(View(whole), delta)
    resumed = Assembly(view)
    head = msgspec.structs.replace(whole.head(), revision=2, since=1, spending=False)
    for frame in (head, Part(delta.accounts, delta.keys, delta.gone_digests)):
        assert resumed.take(frame) is None
    found = resumed.take(Whole(2, len(expected.accounts), sum(1 for _ in expected.keys)))
    assert found is not None
    assert (_whole(found), found.snapshot.revision, found.snapshot.since) == (_whole(expected), 2, None)


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


def test_changed_model_takes_its_place() -> None:
    """By its name, with new prices and all; the others and the view before stay as they were."""
    whole = msgspec.structs.replace(EMPTY, models=(*EMPTY.models, Model("n", ())))
    before = View(whole)
    dearer = msgspec.structs.replace(EMPTY.models[0], prices=(Price(1, 0, 5, 6),))
    delta = decode(encode(Delta(0, 1, models=(dearer,))))
    assert isinstance(delta, Delta)
    after = follow(before, delta)
    assert after.snapshot.models == (dearer, Model("n", ()))
    assert (before.models["m"].prices, after.models["m"].prices) == ((), (Price(1, 0, 5, 6),))
    assert after.models == View(after.snapshot).models


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


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"type":"snapshot"}',
        b'{"type":"novelty","revision":1}',
        b'{"type":"heartbeat","revision":"1"}',
        b'{"type":"delta","base":1,"revision":2,"keys":[{"id":"k1"}]}',
        encode(msgspec.structs.replace(EMPTY, format=FORMAT + 1)),
        encode(msgspec.structs.replace(EMPTY, format=OLDEST - 1)),
    ],
)
def test_unknown_frame_is_refused(line: bytes) -> None:
    """Anything but a frame of a format that is read here is a SnapshotError and nothing else."""
    with pytest.raises(SnapshotError):
        decode(line)


def test_frame_is_one_line() -> None:
    """A line end inside a value does not end the frame."""
    snapshot = msgspec.structs.replace(EMPTY, accounts=(Account("a1", "a\n@b.c", "pro"),))
    assert encode(snapshot).count(b"\n") == 1
    assert decode(encode(snapshot)) == snapshot


def test_unknown_optional_field_is_no_other_format() -> None:
    """A newer control plane may add a field; an older gateway reads on."""
    assert decode(b'{"type":"heartbeat","revision":3,"novelty":1}') == Heartbeat(3, 2)


def test_recorded_stream_of_the_format_before_is_read() -> None:
    """A gateway that was updated first follows a control plane that was not: its lines, as they were recorded."""
    assembly = Assembly()
    view = [assembly.take(decode(line)) for line in RECORDED.read_bytes().splitlines(keepends=True)][-1]
    assert view is not None
    assert view.snapshot.revision == 4
    assert [(key.id, key.rpm) for key in view.keys] == [("key_2", 7)]
    assert view.models["gpt-4o"].prices[0].input == 2_500


@pytest.mark.parametrize(("reads", "spoken"), [(1, 1), (2, 2), (3, 2), (99, 2)])
def test_gateway_is_told_in_what_it_reads(reads: int, spoken: int) -> None:
    """The newest format of both."""
    assert choose_format(reads) == spoken


def test_gateway_that_reads_nothing_of_ours_is_refused() -> None:
    """With what is told here, so that an operator knows which side to update."""
    with pytest.raises(SnapshotError, match="formats 1 to 2 are told here"):
        choose_format(0)


def test_head_advances_by_what_follows_it() -> None:
    """Records of the catalog by their names; those of accounts and keys are the register's."""
    head = Head(1, PLANS)
    assert advance(head, Delta(1, 2, gone_plans=("free",))) == Head(2, PLANS[:1])
    with pytest.raises(SnapshotError, match="change from revision 0, have 1"):
        advance(head, Delta(0, 2))


def test_kinds_and_routings_of_another_time_are_read() -> None:
    """And go on as they are, onto the disk, for a newer gateway; the rest of the frame is of use."""
    other = Provider("gpu", "tomorrow", "https://gpu.example/v1", routing="tidal")
    for frame in (Head(1, providers=(other,)), Delta(0, 1, providers=(other,))):
        assert decode(encode(frame)) == frame


def test_format_1_knows_two_kinds() -> None:
    """Whatever else speaks OpenAI's API is told as that."""
    told = [Provider(kind, kind, "https://up.example/v1") for kind in ("openai", "engine", "vllm", "tomorrow")]
    assert [one.kind for one in lower(tuple(told))] == ["openai", "engine", "openai", "openai"]
