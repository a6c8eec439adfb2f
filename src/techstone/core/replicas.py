"""Which of a provider's replicas a request goes to, and which are tried after it. No state but counters that come in.

`affinity`: requests that begin alike go to the same replica, whose KV cache has the beginning already. By rendezvous
hashing (Thaler and Ravishankar 1998; weights: Schindelhauer and Schomaker 2005), so that all gateways choose alike
without a word, and a replica that goes away moves its own share alone. It yields where the replica is too busy: bounded
loads (Mirrokni, Thorup, Zadimoghaddam 2016, arxiv.org/abs/1608.01350), with 1.25 of the mean and 2 requests.
`least-busy`: the smallest load for its weight; of many replicas the better one of two that chance names (Mitzenmacher
2001), since what is reported is a second old and everybody would run to the same one. `weighted`: chance alone.

`order` is the whole rule. Nearly every request needs the first of the order alone, and of 64 replicas the whole takes
0.1 ms; so there are `choose` and `draw` for that one, which tests hold equal to it.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from techstone.core.snapshot import Routing
    from techstone.wire.chat import Message

# The paper's 1 + epsilon: a smaller one moves more conversations, a larger one lets more of them wait.
FACTOR = 1.25
# Below a few requests the mean says nothing: two conversations on one of four idle replicas are no overload.
SLACK = 2
SCANNED = 8
# Conversations share so many orders: of 64 replicas each is the first of 256, give or take 16. With fewer the shares
# are rougher, with more what is kept of them (about 200 bytes each) is larger.
SLOTS = 1 << 14
# Of each of the first messages so much: system prompts that are alike for so long are cached alike, too.
_CHARACTERS = 2048
_MESSAGES = 8
_MASK = (1 << 64) - 1


class Standing(msgspec.Struct, gc=False):
    """A replica as it is now: `load` in requests, those that wait included; `usable`: neither down nor cut off."""

    seed: int
    weight: int
    load: int
    usable: bool = True


def seed(address: str) -> int:
    """Return the number by which a replica is known to the hash, the same in every gateway."""
    return int.from_bytes(hashlib.blake2b(address.encode(), digest_size=8).digest())


def fingerprint(model: str, account: str, messages: Sequence[Message]) -> int:
    """Return what a conversation keeps from its first turn on: all up to the first message of the user.

    The account is part of it: the same first words of two tenants are two conversations, so that one cannot choose the
    replica of another's, and a prompt that everybody sends is spread.
    """
    digest = hashlib.blake2b(f"{model}\0{account}".encode("utf-8", "replace"), digest_size=8)
    for message in messages[:_MESSAGES]:
        content = message.content
        if isinstance(content, str):
            text = content[:_CHARACTERS]
        else:
            text = "\0".join((part.text or part.type)[:_CHARACTERS] for part in (content or ())[:_MESSAGES])
        digest.update(f"\0{message.role}\0{text}".encode("utf-8", "replace"))
        if message.role == "user":
            break
    return int.from_bytes(digest.digest())


def order(standings: Sequence[Standing], routing: Routing, key: int, chances: Sequence[float]) -> list[int]:
    """Return the places of the replicas, the one to try first first. `key` is a fingerprint, `chances` in [0, 1).

    Those that are not usable come last.
    """
    if routing == "affinity":
        return _order_by_key(standings, key)
    places = range(len(standings))
    # The exponential race: the smallest of these comes first as often as its weight says (as in `routing.plan`).
    raced = [-math.log(1.0 - chance) / one.weight for one, chance in zip(standings, chances, strict=True)]
    if routing == "weighted":
        return sorted(places, key=lambda place: (not standings[place].usable, raced[place]))
    busy = [standing.load / standing.weight for standing in standings]
    found = sorted(places, key=lambda place: (not standings[place].usable, busy[place], raced[place]))
    if len(found) > SCANNED:
        named = sorted(places, key=lambda place: (not standings[place].usable, raced[place]))[:2]
        first = min(named, key=lambda place: (not standings[place].usable, busy[place]))
        found.remove(first)
        found.insert(0, first)
    return found


class Preferences:
    """The order in which each conversation prefers the replicas while they are idle; kept once it was computed."""

    __slots__ = ("_known", "_replicas")

    def __init__(self, replicas: Sequence[tuple[int, int]]) -> None:
        """Take the seed and the weight of each; there are at most 256."""
        self._replicas = replicas
        self._known: dict[int, bytes] = {}

    def find(self, key: int) -> bytes:
        """Return their places, one a byte."""
        slot = key % SLOTS
        known = self._known.get(slot)
        if known is None:
            drawn = [_draw(slot, seed, weight) for seed, weight in self._replicas]
            known = self._known[slot] = bytes(sorted(range(len(drawn)), key=drawn.__getitem__))
        return known


def choose(preferred: bytes, weights: Sequence[int], loads: Sequence[int]) -> int | None:
    """Return the first place of `order` by affinity; None where none is usable: such a replica's load is below 0."""
    load, weight = sum(loads), sum(weights)
    if min(loads) < 0:
        usable = [place for place, each in enumerate(loads) if each >= 0]
        if not usable:
            return None
        load, weight = sum(loads[place] for place in usable), sum(weights[place] for place in usable)
    room = FACTOR * (1 + load) / weight
    # Not all of them can be over the mean.
    return next(place for place in preferred if 0 <= loads[place] <= room * weights[place] + SLACK - 1)


def add_up(weights: Iterable[int]) -> tuple[int, ...]:
    """Return the sums that `draw` looks in."""
    return tuple(itertools.accumulate(weights))


def draw(sums: Sequence[int], chance: float) -> int:
    """Return the place that a chance names, each as often as its weight says."""
    return min(bisect.bisect_right(sums, chance * sums[-1]), len(sums) - 1)


def _order_by_key(standings: Sequence[Standing], key: int) -> list[int]:
    usable = [standing for standing in standings if standing.usable] or standings
    load = weight = 0
    for standing in usable:
        load += standing.load
        weight += standing.weight
    room = FACTOR * (1 + load) / weight
    ranked = [
        (not one.usable, one.load + 1 > room * one.weight + SLACK, _draw(key % SLOTS, one.seed, one.weight), place)
        for place, one in enumerate(standings)
    ]
    ranked.sort()
    return [entry[3] for entry in ranked]


def _draw(slot: int, seed: int, weight: int) -> float:
    """Return when a replica comes in the race for a slot; the same each time, and of nothing but the two."""
    # SplitMix64's finaliser (Steele, Lea, Flood 2014): each bit of the two decides each bit of the result.
    x = slot ^ seed
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return -math.log(((x ^ (x >> 31)) + 0.5) / 2**64) / weight
