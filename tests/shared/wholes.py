"""A view as one value again, and views that frames lead to: for tests, where everything is small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core.snapshot import Snapshot
from techstone.core.stream import advance

if TYPE_CHECKING:
    from techstone.core.stream import Delta
    from techstone.core.view import View


def tell_whole(view: View) -> Snapshot:
    """Return everything that a view holds."""
    head = view.snapshot
    return Snapshot(
        head.revision,
        head.plans,
        tuple(view.accounts.values()),
        tuple(view.keys),
        head.models,
        head.providers,
        head.applied,
        head.as_of_day,
        head.view_secret,
    )


def follow(view: View, delta: Delta) -> View:
    """Return the view after a change."""
    return view.follow(advance(view.snapshot, delta), delta)
