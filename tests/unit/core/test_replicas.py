"""The choice among replicas: each law of it for any cluster, any load, any conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core import replicas
from techstone.core.replicas import FACTOR, SLACK, Preferences, Standing
from techstone.wire.chat import ImageUrl, Message, Part

if TYPE_CHECKING:
    from techstone.core.snapshot import Routing

WEIGHTS = st.lists(st.integers(1, 5), min_size=1, max_size=12)
KEYS = st.integers(0, 2**64 - 1)
ROUTINGS: tuple[Routing, ...] = ("affinity", "least-busy", "weighted")
CLUSTERS = st.lists(
    st.builds(Standing, KEYS, st.integers(1, 5), st.integers(0, 50), st.booleans()), min_size=1, max_size=12
)


def make_cluster(weights: list[int]) -> list[Standing]:
    return [Standing(replicas.seed(f"http://gpu-{place}:8000/v1"), weight, 0) for place, weight in enumerate(weights)]


@pytest.mark.parametrize("routing", ROUTINGS)
@given(st.data(), CLUSTERS, KEYS)
def test_each_replica_once_and_those_that_are_down_last(
    routing: Routing, data: st.DataObject, cluster: list[Standing], key: int
) -> None:
    """Whatever the load: a request can reach every replica, and tries none that is down before one that is not."""
    chances = data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=len(cluster), max_size=len(cluster)))
    order = replicas.order(cluster, routing, key, chances)
    assert sorted(order) == list(range(len(cluster)))
    usable = [cluster[place].usable for place in order]
    assert usable == sorted(usable, reverse=True)


@given(CLUSTERS, KEYS)
def test_one_that_is_chosen_is_the_first_of_the_order(cluster: list[Standing], key: int) -> None:
    """What is computed for most requests alone is what the whole rule says; it is there while any is usable."""
    preferences = Preferences([(one.seed, one.weight) for one in cluster])
    loads = [one.load if one.usable else -1 for one in cluster]
    chosen = replicas.choose(preferences.find(key), [one.weight for one in cluster], loads)
    if any(one.usable for one in cluster):
        assert chosen == replicas.order(cluster, "affinity", key, ())[0]
    else:
        assert chosen is None
    idle = [Standing(one.seed, one.weight, 0) for one in cluster]
    assert list(preferences.find(key)) == replicas.order(idle, "affinity", key, ())


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_one_that_chance_names_is_named_as_often_as_its_weight_says(weights: list[int]) -> None:
    """Exactly: of equal steps of chance each has as many as its weight is."""
    sums = replicas.add_up(weights)
    named = [replicas.draw(sums, (step + 0.5) / sums[-1]) for step in range(sums[-1])]
    assert [named.count(place) for place in range(len(weights))] == weights
    assert replicas.draw(sums, 0.0) == 0
    assert replicas.draw(sums, 1 - 2**-53) == len(weights) - 1


@given(WEIGHTS, st.lists(KEYS, max_size=200))
def test_no_replica_is_over_its_share_by_more_than_the_bound(weights: list[int], keys: list[int]) -> None:
    """Bounded loads: 1.25 of the mean for its weight and 2 requests, also if all conversations are one."""
    cluster = make_cluster(weights)
    for count, key in enumerate(keys, 1):
        (place, *_) = replicas.order(cluster, "affinity", key, ())
        cluster[place].load += 1
        assert cluster[place].load <= FACTOR * count * weights[place] / sum(weights) + SLACK


@given(st.lists(st.integers(1, 5), min_size=2, max_size=12), st.data(), KEYS)
def test_replica_that_goes_moves_only_its_own_share(weights: list[int], data: st.DataObject, key: int) -> None:
    """Of an idle cluster the others keep every conversation that they had, in the same order."""
    cluster = make_cluster(weights)
    gone = data.draw(st.integers(0, len(weights) - 1))
    before = replicas.order(cluster, "affinity", key, ())
    rest = [place for place in range(len(weights)) if place != gone]
    after = [rest[place] for place in replicas.order([cluster[place] for place in rest], "affinity", key, ())]
    assert after == [place for place in before if place != gone]
    cluster[gone].usable = False
    assert replicas.order(cluster, "affinity", key, ()) == [*after, gone]


def test_conversations_are_spread_by_weight() -> None:
    """Weights 1, 1 and 2 are given a quarter, a quarter and a half of 4,000 conversations."""
    cluster = make_cluster([1, 1, 2])
    firsts = [replicas.order(cluster, "affinity", replicas.seed(str(key)), ())[0] for key in range(4000)]
    assert [firsts.count(place) / 4000 for place in range(3)] == pytest.approx([0.25, 0.25, 0.5], abs=0.03)


def test_conversation_returns_once_its_replica_has_room() -> None:
    """It yields while its replica is over the bound, to the same second choice each time."""
    cluster = make_cluster([1, 1, 1])
    first, second, _ = replicas.order(cluster, "affinity", 7, ())
    cluster[first].load = 30
    assert replicas.order(cluster, "affinity", 7, ())[0] == second
    cluster[first].load = 2
    assert replicas.order(cluster, "affinity", 7, ())[0] == first


def test_least_busy_counts_what_waits_for_its_weight() -> None:
    """Five requests on a replica of weight 4 are less than two on one of weight 1."""
    cluster = [Standing(1, 1, 2), Standing(2, 4, 5), Standing(3, 1, 9)]
    assert replicas.order(cluster, "least-busy", 0, (0.1, 0.9, 0.1)) == [1, 0, 2]


def test_of_many_the_better_one_of_two_is_tried_first() -> None:
    """Among more than eight chance names two, so that gateways do not all run to the idle one."""
    cluster = [Standing(place, 1, place) for place in range(10)]
    chances = [0.9] * 8 + [0.1, 0.2]
    order = replicas.order(cluster, "least-busy", 0, chances)
    assert order == [8, *range(8), 9]


def test_conversation_is_known_by_its_first_turn() -> None:
    """What comes after the first message of the user changes nothing; that message, the system's, and who asks do."""
    system, user = Message("system", "Be kind."), Message("user", "Hello")
    known = replicas.fingerprint("m", "a", [system, user])
    later = [system, user, Message("assistant", "Hi."), Message("user", "Bye")]
    assert replicas.fingerprint("m", "a", later) == known
    others = [
        replicas.fingerprint("n", "a", later),
        replicas.fingerprint("m", "b", later),
        replicas.fingerprint("m", "a", [user]),
        replicas.fingerprint("m", "a", [Message("system", "Be rude."), user]),
        replicas.fingerprint("m", "a", [system, Message("user", "Hello!")]),
    ]
    assert len({known, *others}) == 6


def test_parts_of_a_message_count_by_their_text() -> None:
    """An image counts as one, and never its megabytes."""
    image = Part("image_url", image_url=ImageUrl("data:image/png;base64,AAAA"))
    other = Part("image_url", image_url=ImageUrl("data:image/png;base64,BBBB"))
    asked = [replicas.fingerprint("m", "a", [Message("user", [Part("text", "What?"), one])]) for one in (image, other)]
    assert asked[0] == asked[1] != replicas.fingerprint("m", "a", [Message("user", [image])])


@given(st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.text()), max_size=20))
def test_any_conversation_has_a_fingerprint(messages: list[Message]) -> None:
    """Of any text, and the same each time."""
    assert replicas.fingerprint("m", "a", messages) == replicas.fingerprint("m", "a", messages) < 2**64
