"""The seam: what is told in changes is what would be told whole, and nothing that does not follow is taken."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core.pricing import Price
from techstone.core.snapshot import (
    FORMAT,
    Account,
    Delta,
    Frame,
    Heartbeat,
    Key,
    Model,
    Plan,
    Provider,
    Route,
    Snapshot,
    SnapshotError,
    View,
    advance,
    decode,
    encode,
)

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
CHANGES = st.tuples(
    st.lists(ACCOUNTS, max_size=3, unique_by=lambda account: account.id),
    st.lists(KEYS, max_size=4, unique_by=lambda key: key.id),
    st.lists(st.sampled_from(["a1", "a2", "a3"]), max_size=2),
    st.lists(st.integers(0, 5).map("k{}".format), max_size=2),
)
EMPTY = Snapshot(
    0, PLANS, models=(Model("m", (Route("up", "x"),)),), providers=(Provider("up", "openai", "https://up.example/v1"),)
)


def _tell(base: int, changes: tuple[list[Account], list[Key], list[str], list[str]]) -> Delta:
    accounts, keys, gone_accounts, gone_keys = changes
    return Delta(base, base + 1, tuple(accounts), tuple(keys), tuple(gone_accounts), tuple(gone_keys))


@given(st.lists(CHANGES, max_size=8))
def test_changes_lead_where_the_whole_stands(
    story: list[tuple[list[Account], list[Key], list[str], list[str]]],
) -> None:
    """After any changes the snapshot holds the last word on every record, whatever was said before."""
    current, keys, accounts = EMPTY, dict[str, Key](), dict[str, Account]()
    for base, changes in enumerate(story):
        current = advance(current, decode(encode(_tell(base, changes))))
        accounts.update((account.id, account) for account in changes[0])
        keys.update((key.id, key) for key in changes[1])
        for gone in changes[2]:
            accounts.pop(gone, None)
        for gone in changes[3]:
            keys.pop(gone, None)
    assert current.revision == len(story)
    assert {key.id: key for key in current.keys} == keys
    assert {account.id: account for account in current.accounts} == accounts
    assert (current.plans, current.models, current.providers) == (EMPTY.plans, EMPTY.models, EMPTY.providers)


@given(st.lists(CHANGES, max_size=8))
def test_view_that_followed_equals_one_built_anew(
    story: list[tuple[list[Account], list[Key], list[str], list[str]]],
) -> None:
    """Indexing only what changed admits exactly whom a whole index admits, and leaves the older view as it was."""
    view = View(EMPTY)
    for base, changes in enumerate(story):
        older = dict(view.principals)
        following = view.follow(_tell(base, changes))
        assert view.principals == older
        view, anew = following, View(following.snapshot)
        assert (view.principals, view.models, view.providers) == (anew.principals, anew.models, anew.providers)


def test_changed_model_takes_its_place() -> None:
    """By its name, with new prices and all; the others and the view before stay as they were."""
    whole = msgspec.structs.replace(EMPTY, models=(*EMPTY.models, Model("n", ())))
    before = View(whole)
    dearer = msgspec.structs.replace(EMPTY.models[0], prices=(Price(1, 0, 5, 6),))
    delta = decode(encode(Delta(0, 1, models=(dearer,))))
    assert isinstance(delta, Delta)
    after = before.follow(delta)
    assert after.snapshot.models == (dearer, Model("n", ()))
    assert (before.models["m"].prices, after.models["m"].prices) == ((), (Price(1, 0, 5, 6),))
    assert after.models == View(after.snapshot).models


@given(st.integers(0, 5), st.integers(0, 5))
def test_gap_is_refused(base: int, have: int) -> None:
    """A change or a heartbeat of another revision than ours says that we missed something."""
    current = msgspec.structs.replace(EMPTY, revision=have)
    for frame in (Delta(base, base + 1), Heartbeat(base)):
        if base == have:
            assert advance(current, frame).revision == (have if isinstance(frame, Heartbeat) else have + 1)
        else:
            with pytest.raises(SnapshotError, match=f"revision {base}, have {have}"):
                advance(current, frame)


@pytest.mark.parametrize("frame", [Delta(0, 1), Heartbeat(0)])
def test_change_before_the_whole_is_refused(frame: Frame) -> None:
    """Without a snapshot there is nothing to change."""
    with pytest.raises(SnapshotError, match="before the first whole snapshot"):
        advance(None, frame)


def test_whole_replaces_whatever_was_there() -> None:
    """Also one of a lower revision: the control plane knows better (a restored database)."""
    assert advance(msgspec.structs.replace(EMPTY, revision=9), EMPTY) is EMPTY


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
    ],
)
def test_unknown_frame_is_refused(line: bytes) -> None:
    """Anything but a frame of this format is a SnapshotError and nothing else."""
    with pytest.raises(SnapshotError):
        decode(line)


def test_frame_is_one_line() -> None:
    """A line end inside a value does not end the frame."""
    snapshot = msgspec.structs.replace(EMPTY, accounts=(Account("a1", "a\n@b.c", "pro"),))
    assert encode(snapshot).count(b"\n") == 1
    assert decode(encode(snapshot)) == snapshot


def test_unknown_optional_field_is_no_other_format() -> None:
    """A newer control plane may add a field; an older gateway reads on."""
    assert decode(b'{"type":"heartbeat","revision":3,"novelty":1}') == Heartbeat(3)
