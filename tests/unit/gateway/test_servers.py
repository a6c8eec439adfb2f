"""A provider of several servers: how one is chosen, what is tried after it, and what is kept of each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from techstone.core.breaker import FAILURES, OPEN_SECONDS
from techstone.core.engines import Load
from techstone.core.errors import ApiError, UpstreamUnavailable
from techstone.core.snapshot import Model, Provider, Replica, Route, Routing, Snapshot
from techstone.core.view import View
from techstone.gateway.dispatch import Attempt, Dispatch
from techstone.gateway.ports import Answer, Call, RemoteAnswer, UpstreamProblem
from techstone.gateway.target import Keyring

if TYPE_CHECKING:
    from techstone.gateway.admission import Candidate
    from techstone.gateway.servers import Server

MODEL = Model("m", (Route("gpu", "up"),))


class Whole:
    """An answer that came."""

    status = 200

    def close(self) -> None:
        """Nothing is open."""


class Cluster:
    """Servers of one provider on ports 1 to n; those of `dead` refuse. Keeps which ports were called."""

    def __init__(self, count: int = 4, routing: Routing | None = None) -> None:
        self.now = 0.0
        self.dead: set[int] = set()
        self.called: list[int] = []
        self.dispatch = Dispatch(self, lambda: self.now, lambda: 0.5, Keyring({}))
        self.view = make_view(count, routing)

    async def open(self, call: Call) -> RemoteAnswer:
        self.called.append(call.origin.port)
        if call.origin.port in self.dead:
            raise UpstreamProblem("connect", "refused")
        return cast("RemoteAnswer", Whole())

    async def ask(self, key: int = 7) -> list[int]:
        """Ask once; return the ports that were tried."""
        del self.called[:]
        await self.dispatch.open(cast("Candidate", Chosen(self.view, MODEL)), Request(key), Attempt())
        return self.called

    def server(self, port: int) -> Server:
        return self.dispatch.servers.all["gpu"][port - 1]


class Request:
    """What is sent; it stays open while a test looks."""

    request_id = b"req_1"

    def __init__(self, key: int) -> None:
        self._key = key

    def fingerprint(self) -> int:
        return self._key

    def encode(self, _: Provider, __: str) -> bytes:
        return b"{}"

    async def prepare(self, _: Answer) -> None:
        pass


class Chosen(msgspec.Struct):
    """What is asked of a candidate."""

    view: View
    model: Model


def make_view(count: int, routing: Routing | None = None) -> View:
    replicas = tuple(Replica(f"http://127.0.0.1:{port}/v1") for port in range(1, count + 1))
    provider = Provider("gpu", "vllm", replicas[0].base_url, replicas=replicas, routing=routing)
    return View(Snapshot(1, models=(MODEL,), providers=(provider,)))


async def test_conversation_keeps_its_server() -> None:
    """And others have others."""
    cluster = Cluster()
    homes = [(await cluster.ask(key))[0] for key in range(32)]
    assert set(homes) == {1, 2, 3, 4}
    assert [(await cluster.ask(key))[0] for key in range(32)] == homes


async def test_dead_server_is_passed_and_then_left_out() -> None:
    """Its conversations go to their second choice; after five failures in a row without asking it first."""
    cluster = Cluster()
    (home,) = await cluster.ask()
    cluster.dead = {home}
    tried = [tuple(await cluster.ask()) for _ in range(FAILURES + 1)]
    second = tried[0][1]
    assert tried == [(home, second)] * FAILURES + [(second,)]
    cluster.dead = set()
    cluster.now += OPEN_SECONDS
    assert await cluster.ask() == [home]


async def test_three_servers_are_tried_for_a_request() -> None:
    """A cluster in trouble is not asked for each request as often as it has servers."""
    cluster = Cluster(8)
    cluster.dead = set(range(1, 9))
    with pytest.raises(UpstreamUnavailable):
        await cluster.ask()
    assert len(set(cluster.called)) == len(cluster.called) == 3


async def test_servers_that_are_probed_are_passed_over() -> None:
    """Requests that come while one of each tries three servers that may be there again go to the fourth at once."""
    cluster = Cluster()
    (home,) = await cluster.ask()
    cluster.dead = {1, 2, 3, 4} - {home}
    for name, breaker in cluster.dispatch.breakers.items():
        if name[3] != home:
            for _ in range(FAILURES):
                breaker.fail(cluster.now)
    cluster.now += OPEN_SECONDS
    for breaker in cluster.dispatch.breakers.values():
        breaker.allows(cluster.now)
    for key in range(16):
        assert await cluster.ask(key) == [home]


async def test_server_that_is_down_is_the_last_to_be_tried() -> None:
    """By its checks, not by a breaker: it is asked all the same where no other answers."""
    cluster = Cluster(2)
    (home,) = await cluster.ask()
    for _ in range(3):
        cluster.server(home).health.fail()
    (other,) = await cluster.ask()
    assert other != home
    cluster.dead = {other}
    assert await cluster.ask() == [other, home]


async def test_breaker_of_a_server_that_is_there_again_lets_a_request_through() -> None:
    """At once, not ten seconds later; that of another server stays as it is."""
    cluster = Cluster(1)
    cluster.dead = {1}
    for _ in range(FAILURES + 1):
        with pytest.raises(UpstreamUnavailable):
            await cluster.ask()
    assert cluster.called == []
    cluster.dead = set()
    cluster.dispatch.hasten(cluster.server(1))
    assert await cluster.ask() == [1]


async def test_what_a_server_has_from_others_counts() -> None:
    """Of what it tells the gateway's own requests are taken away, since those are counted as they come and go."""
    cluster = Cluster(2, "least-busy")
    await cluster.ask()
    server, other = cluster.server(1), cluster.server(2)
    server.in_flight = 2
    server.hear(Load(5, 3, 0.5))
    assert (server.load, server.reported) == (8, Load(5, 3, 0.5))
    server.in_flight = 0
    assert await cluster.ask() == [2]
    other.hear(Load(7, 0))
    assert await cluster.ask() == [1]
    server.hear(None)
    assert server.load == 0


@pytest.mark.parametrize("routing", ["affinity", "least-busy", "weighted"])
async def test_every_server_of_many_is_reached_once_and_those_that_are_down_last(routing: Routing) -> None:
    """Also where the one that is chosen first is down, cut off or busy: of twelve, three are tried, none twice."""
    cluster = Cluster(12, routing)
    chances = itertools.cycle([0.1, 0.9, 0.4, 0.6, 0.2])
    cluster.dispatch = Dispatch(cluster, lambda: cluster.now, lambda: next(chances), Keyring({}))
    (home,) = await cluster.ask()
    for port in range(1, 13):
        cluster.server(port).in_flight = port % 4 * 3
    for port in {1, 2, 3, 4, 5, 6, home}:
        for _ in range(3):
            cluster.server(port).health.fail()
    usable = {7, 8, 9, 10, 11, 12} - {home}
    cluster.dead = set(range(1, 13))
    for key in range(8):
        with pytest.raises(UpstreamUnavailable):
            await cluster.ask(key)
        assert len(set(cluster.called)) == len(cluster.called) == 3
        assert set(cluster.called) <= usable
        for breaker in cluster.dispatch.breakers.values():
            breaker.succeed()


async def test_busy_server_of_many_is_not_chosen() -> None:
    """By affinity it is over its bound; by load the other one of the two that chance names is less busy."""
    cluster = Cluster(12)
    (home,) = await cluster.ask()
    cluster.server(home).in_flight = 20
    assert await cluster.ask() != [home]
    cluster = Cluster(12, "least-busy")
    chances = itertools.cycle([0.01, 0.99])
    cluster.dispatch = Dispatch(cluster, lambda: cluster.now, lambda: next(chances), Keyring({}))
    assert await cluster.ask() == [1]
    cluster.server(1).in_flight = 1
    assert await cluster.ask() == [12]


async def test_changed_provider_begins_anew() -> None:
    """Its servers, their load and breakers; one that is gone leaves nothing behind."""
    cluster = Cluster(2)
    cluster.dead = {1, 2}
    with pytest.raises(UpstreamUnavailable):
        await cluster.ask()
    assert len(cluster.dispatch.breakers) == 2
    cluster.dead = set()
    cluster.view = make_view(1)
    assert await cluster.ask() == [1]
    assert list(cluster.dispatch.breakers) == [("m", "gpu", "up", 0)]
    cluster.dispatch.servers.prune(View(Snapshot(2)))
    assert cluster.dispatch.servers.all == {}


async def test_provider_of_another_time_is_left_out_and_told_once() -> None:
    """A newer control plane may have kinds and routings that are not known here: the other routes serve."""
    told: list[str] = []
    cluster = Cluster(1)
    known = cluster.view.providers["gpu"]
    cluster.dispatch = Dispatch(cluster, lambda: 0.0, lambda: 0.5, Keyring({}, report=told.append))
    for change in ({"kind": "tomorrow"}, {"routing": "tidal"}):
        other = msgspec.structs.replace(known, name="other", **change)
        alone, both = (
            Model("m", routes) for routes in ((Route("other", "up"),), (Route("other", "up"), MODEL.routes[0]))
        )
        view = View(Snapshot(1, providers=(known, other), models=(both,)))
        for _ in range(2):
            with pytest.raises(UpstreamUnavailable):
                await cluster.dispatch.open(cast("Candidate", Chosen(view, alone)), Request(7), Attempt())
            await cluster.dispatch.open(cast("Candidate", Chosen(view, both)), Request(7), Attempt())
    assert cluster.called == [1] * 4
    assert told == ["provider other: its kind tomorrow is not known here; update this gateway"]


async def test_request_counts_for_its_server_until_it_ends() -> None:
    """Also where it ends badly."""
    cluster = Cluster(1)
    seen: list[int] = []

    class Looking(Request):
        async def prepare(self, _: Answer) -> None:
            seen.append(cluster.server(1).in_flight)
            raise UpstreamProblem("reset", "in the middle")

    with pytest.raises(ApiError):
        await cluster.dispatch.open(cast("Candidate", Chosen(cluster.view, MODEL)), Looking(7), Attempt())
    assert seen == [1]
    assert cluster.server(1).in_flight == 0
