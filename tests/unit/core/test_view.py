"""The snapshot as requests look at it: changes lead where the whole would stand."""

from __future__ import annotations

import msgspec
from changes import CHANGES, EMPTY, Change, hold, tell
from hypothesis import given
from hypothesis import strategies as st
from wholes import follow, tell_whole

from techstone.core.pricing import Price
from techstone.core.snapshot import Account, Key, Model
from techstone.core.stream import (
    Delta,
    decode,
    encode,
)
from techstone.core.view import Principal, View


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
        told = decode(encode(tell(base, changes, digests=digests)))
        assert isinstance(told, Delta)
        view = follow(view, told)
        accounts.update((account.id, account) for account in changes[0])
        keys.update((key.id, key) for key in changes[1])
        for gone in changes[2]:
            accounts.pop(gone, None)
        for number in changes[3]:
            keys.pop(f"k{number}", None)
    assert view.snapshot.revision == len(story)
    assert hold(view) == (accounts, keys)
    anew = View(tell_whole(view))
    assert _principals(view) == _principals(anew)
    assert [_holder(view, name) for name in accounts] == [_holder(anew, name) for name in accounts]


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
