"""The sliding log: what was admitted in the last 60 s, so that a plan holds in ANY 60 s.

Every admission is kept with its tokens and counted until it is 60 s old; so the longest honest wait is 60 s. (A token
bucket of the plan's size admits nearly twice the plan in some 60 s, a calendar minute twice.) The clock comes in and
never runs backwards. Above 5,000 requests a minute, admissions of the same 10 ms share an entry that counts until the
youngest of them is 60 s old, which bounds memory and errs on the strict side.
"""

from __future__ import annotations

from collections import deque

SECONDS = 60.0
_MERGED_ABOVE = 5000
_MERGED_SECONDS = 0.01


class Entry:
    """Admissions at one time. `tokens` may be changed while it is in its window, by the window alone."""

    __slots__ = ("at", "first", "requests", "tokens")

    def __init__(self, at: float, requests: int, tokens: int) -> None:
        self.first = at
        self.at = at
        self.requests = requests
        self.tokens = tokens


class Window:
    """The last 60 s of one account or key. `requests` and `tokens` are their sums; look after `expire`."""

    __slots__ = ("_entries", "requests", "tokens")

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self.requests = 0
        self.tokens = 0

    def expire(self, now: float) -> None:
        """Forget what is 60 s old."""
        entries = self._entries
        # As the waits are computed, so that rounding never keeps what the wait for it calls gone.
        while entries and entries[0].at + SECONDS <= now:
            entry = entries.popleft()
            self.requests -= entry.requests
            self.tokens -= entry.tokens
            entry.at = -SECONDS  # out of the window: changes of it no longer count

    def add(self, now: float, requests: int, tokens: int, limit: int = 0) -> Entry:
        """Count an admission and return its entry; `limit` is the requests that the window may hold."""
        self.requests += requests
        self.tokens += tokens
        if limit > _MERGED_ABOVE and self._entries:
            newest = self._entries[-1]
            if now - newest.first < _MERGED_SECONDS:
                newest.at = now
                newest.requests += requests
                newest.tokens += tokens
                return newest
        entry = Entry(now, requests, tokens)
        self._entries.append(entry)
        return entry

    def resume(self, requests: int, tokens: int, at: float) -> None:
        """Be what was counted elsewhere, the newest of it at a time: gone as a whole when that is 60 s old."""
        entries = self._entries
        if not entries:
            entries.append(Entry(at, requests, tokens))
        else:
            entry = entries[0]
            entry.at, entry.requests, entry.tokens = at, requests, tokens
        self.requests = requests
        self.tokens = tokens

    def change(self, entry: Entry, tokens: int) -> None:
        """Count so many tokens more (or, below zero, fewer) at an entry's time; nothing once it is out."""
        if entry.at >= 0:
            entry.tokens += tokens
            self.tokens += tokens

    def wait_for_request(self, now: float, limit: int) -> float:
        """Return the seconds until one more request stays within the limit; 0.0: now."""
        excess = self.requests + 1 - limit
        if excess <= 0:
            return 0.0
        for entry in self._entries:
            excess -= entry.requests
            if excess <= 0:
                return min(SECONDS, entry.at + SECONDS - now)  # rounding may say more at the very moment of it
        return SECONDS  # a limit below one: nothing is ever admitted

    def wait_for_tokens(self, now: float, limit: int, tokens: int) -> float | None:
        """Return the seconds until so many tokens more stay within the limit; 0.0: now, None: never."""
        excess = self.tokens + tokens - limit
        if excess <= 0:
            return 0.0
        if tokens > limit:
            return None
        for entry in self._entries:
            excess -= entry.tokens
            if excess <= 0:
                return min(SECONDS, entry.at + SECONDS - now)
        return None

    def reset(self, now: float) -> float:
        """Return the seconds until the window is empty again."""
        return max(0.0, self._entries[-1].at + SECONDS - now) if self._entries else 0.0
