"""The store's revision: a number that every change raises, and that gateways name as what they know.

Its upper part is an era, which begins where a backup is restored, or changes that were told are lost: what a gateway
knows of another era does not lead to what there is now, whatever the numbers say, so it is told the whole. The era is
the minute in which it began: of a database that is lost nobody can say how far it had come, but its era began before.
Numbers stay below 2^53, which every reader of JSON takes exactly, until the year 2225.
"""

from __future__ import annotations

# Changes of one era, 67 million. Who makes more runs into the next one, where gateways are told the whole once.
_CHANGES = 2**26


def begin_era(newest: int, now: int) -> int:
    """Return the first revision of a new era: after `newest`, and after all that was told before `now` (unix s)."""
    return max(now // 60, newest // _CHANGES + 1) * _CHANGES


def was_told(revision: int, now: int) -> bool:
    """Say whether somebody may have been told it by `now` (unix s): no era begins in advance."""
    return revision // _CHANGES <= now // 60


def follows(since: int, newest: int) -> bool:
    """Say whether `newest` is what became of `since` by changes alone."""
    return since <= newest and since // _CHANGES == newest // _CHANGES
