"""How often a password may be guessed: at most 100 times an hour for a subject, and never a lock-out without an end.

Five failures are free; then the wait doubles from 1 s to 60 s (row A-3; OWASP ASVS 4.0, 2.2.1). Subjects are whom a
guess is about together with where it comes from, each of the two alone counting towards the hundred. Where it comes
from is a network, as for keys: whoever has an IPv6 host has 2^64 addresses.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from techstone.core.attempts import name_network

HOUR = 3600
MOST = 100
_FREE = 5
_LONGEST_WAIT = 60
# Of forgotten ones the oldest go first: an attacker with this many networks, or names, has other ways. Those who are
# known are counted apart, and many more of them: what somebody makes up must not make us forget them.
_SUBJECTS = 10_000
_PEOPLE = 50_000


class _Counters:
    """Times of failures by subject, of so many subjects."""

    def __init__(self, most: int, subjects: int) -> None:
        self._most = most
        self._subjects = subjects
        self._times: OrderedDict[str, deque[int]] = OrderedDict()

    def recent(self, subject: str, now: int) -> deque[int]:
        times = self._times.get(subject, deque())
        while times and times[0] <= now - HOUR:
            times.popleft()
        return times

    def add(self, subject: str, now: int) -> None:
        times = self._times.pop(subject, None) or deque(maxlen=self._most)
        times.append(now)
        self._times[subject] = times
        if len(self._times) > self._subjects:
            self._times.popitem(last=False)

    def wait(self, subject: str, now: int) -> int:
        """Return for how long it has none left."""
        times = self.recent(subject, now)
        return times[0] + HOUR - now if len(times) >= self._most else 0

    def forget_last(self, subject: str) -> None:
        if times := self._times.get(subject):
            times.pop()

    def forget(self, subject: str) -> None:
        self._times.pop(subject, None)


class Throttle:
    """Guesses by subject, in memory; `most` in any hour.

    Whom a guess is about is a person's id, or (`known` False) a name that is nobody's: they are counted in maps of
    their own, and alike, so that none tells who there is.
    """

    def __init__(self, most: int = MOST) -> None:
        self._clients = _Counters(most, _SUBJECTS)
        self._pairs = _Counters(most, _SUBJECTS)
        self._strangers = _Counters(most, _SUBJECTS)
        self._people = _Counters(most, _PEOPLE)

    def take(self, who: str, address: str, now: int, *, known: bool = True) -> int:
        """Return for how many seconds no guess is let through; 0: this one is, and counts until it has succeeded.

        It is counted before it is checked: of many guesses at once no more get through than of many in a row.
        """
        client, named = name_network(address), self._people if known else self._strangers
        pair = f"{client} {who}"
        if wait := max(self._wait_doubling(pair, now), named.wait(who, now), self._clients.wait(client, now)):
            return wait
        for counters, subject in ((self._pairs, pair), (named, who), (self._clients, client)):
            counters.add(subject, now)
        return 0

    def succeed(self, person: str, address: str) -> None:
        """Forget what this client failed at; what others do with the same person stays counted."""
        client = name_network(address)
        self._pairs.forget(f"{client} {person}")
        self._people.forget_last(person)
        self._clients.forget_last(client)

    def _wait_doubling(self, pair: str, now: int) -> int:
        failures = self._pairs.recent(pair, now)
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
