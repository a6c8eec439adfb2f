"""How often a password may be guessed: at most 100 times an hour for a subject, and never a lock-out without an end.

Five failures are free; then the wait doubles from 1 s to 60 s (row A-3; OWASP ASVS 4.0, 2.2.1). Subjects are an address
of e-mail together with where the guess comes from, each of the two alone counting towards the hundred.
"""

from __future__ import annotations

from collections import OrderedDict, deque

HOUR = 3600
MOST = 100
_FREE = 5
_LONGEST_WAIT = 60
# Of forgotten ones the oldest go first: an attacker with this many addresses has other ways.
_SUBJECTS = 10_000


class Throttle:
    """Guesses by subject, in memory; `most` in any hour."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()

    def take(self, email: str, address: str, now: int) -> int:
        """Return for how many seconds no guess is let through; 0: this one is, and counts until it has succeeded.

        It is counted before it is checked: of many guesses at once no more get through than of many in a row.
        """
        waits = [self._wait_fully(subject, now) for subject in (f"email {email}", f"address {address}")]
        if wait := max(self._wait_doubling(f"{address} {email}", now), *waits):
            return wait
        for subject in (f"{address} {email}", f"email {email}", f"address {address}"):
            failures = self._failures.pop(subject, None) or deque(maxlen=self._most)
            failures.append(now)
            self._failures[subject] = failures
        while len(self._failures) > _SUBJECTS:
            self._failures.popitem(last=False)
        return 0

    def succeed(self, email: str, address: str) -> None:
        """Forget what this client failed at; what others do with the same address of e-mail stays counted."""
        self._failures.pop(f"{address} {email}", None)
        for subject in (f"email {email}", f"address {address}"):
            if failures := self._failures.get(subject):
                failures.pop()

    def _recent(self, subject: str, now: int) -> deque[int]:
        failures = self._failures.get(subject, deque())
        while failures and failures[0] <= now - HOUR:
            failures.popleft()
        return failures

    def _wait_fully(self, subject: str, now: int) -> int:
        failures = self._recent(subject, now)
        return failures[0] + HOUR - now if len(failures) >= self._most else 0

    def _wait_doubling(self, subject: str, now: int) -> int:
        failures = self._recent(subject, now)
        if len(failures) < _FREE:
            return 0
        return max(0, failures[-1] + min(_LONGEST_WAIT, 1 << min(6, len(failures) - _FREE)) - now)


class Allowance:
    """So many of something in any hour for each of several subjects, all of them or none; in memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: OrderedDict[str, deque[int]] = OrderedDict()

    def take(self, now: int, *subjects: str) -> bool:
        """Say whether each subject has one left, and take it."""
        found = [self._taken.pop(subject, deque(maxlen=self._most)) for subject in subjects]
        self._taken.update(zip(subjects, found, strict=True))
        while len(self._taken) > _SUBJECTS:
            self._taken.popitem(last=False)
        if any(len(times) == self._most and times[0] > now - HOUR for times in found):
            return False
        for times in found:
            times.append(now)
        return True
