"""A small snapshot and drawn changes to it, for what frames lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from techstone.core.snapshot import Account, Key, Model, Plan, Provider, Route, Snapshot
from techstone.core.stream import Delta

if TYPE_CHECKING:
    from techstone.core.view import View

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


def tell(base: int, changes: Change, *, digests: bool = True) -> Delta:
    """Return the frame of a change."""
    accounts, keys, gone_accounts, gone = changes
    gone_keys = tuple(f"k{number}" for number in gone)
    gone_digests = tuple(f"{number:064x}" for number in gone) if digests else ()
    return Delta(
        base, base + 1, tuple(accounts), tuple(keys), tuple(gone_accounts), gone_keys, gone_digests=gone_digests
    )


def hold(view: View) -> tuple[dict[str, Account], dict[str, Key]]:
    """Return what a view holds, by id."""
    return dict(view.accounts), {key.id: key for key in view.keys}
