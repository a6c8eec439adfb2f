"""Opens the upstream: the routes of a model in their order, each once, until one gives an answer that can be used.

All retry and failover is here, and all of it before the first byte to the client: the caller's `prepare` step reads as
much of the answer as is needed to know that it is one. Keeps the breakers, one for each route and server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import msgspec

from techstone.core import engines, failure, replicas, routing
from techstone.core.breaker import Breaker
from techstone.core.replicas import Preferences, Standing
from techstone.core.snapshot import Routing
from techstone.gateway.ports import Answer, Call, UpstreamProblem, Upstreams
from techstone.gateway.servers import Server, Servers, Unservable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from techstone.core.failure import Failure
    from techstone.core.snapshot import Provider, Route
    from techstone.core.view import View
    from techstone.gateway.admission import Candidate
    from techstone.gateway.target import Keyring

    RouteName = tuple[str, str, str, int]
    """The model, the provider, the model's name there, and which of its replicas; 0 where it is one server."""

T_co = TypeVar("T_co", covariant=True)

_ERROR_BODY = 64 * 1024
# The header lines of an answer that are the same for every answer of a route.
_NAMING = b"openai-version: 2020-10-01\r\nx-techstone-served-by: %b\r\n"
# Of a provider's replicas so many are tried for a request: a cluster in trouble must not get each request of all.
_TRIED = 3


class Way(msgspec.Struct, frozen=True, gc=False):
    """A route made ready, to one server: its breaker and the header line that names it."""

    server: Server
    model: str
    breaker: Breaker
    served_by: bytes


class Ways(msgspec.Struct, frozen=True, gc=False):
    """A route made ready: a way to each server, and how one is chosen. `sums` is what `replicas.draw` looks in."""

    all: tuple[Way, ...]
    routing: Routing
    preferences: Preferences
    weights: tuple[int, ...]
    sums: tuple[int, ...]


class Attempt(msgspec.Struct, gc=False):
    """Who is trying to serve, for headers, metrics and the log; of a failed request the last one."""

    provider: str = ""
    model: str = ""
    count: int = 0
    served_by: bytes = b""
    breaker: Breaker | None = None

    def succeed(self) -> None:
        """Hear that the route works."""
        if self.breaker is not None:
            self.breaker.succeed()

    def fail(self, now: float) -> None:
        """Hear that the route failed after all."""
        if self.breaker is not None:
            self.breaker.remember("broke off", now)
            self.breaker.fail(now)


class Sendable(Protocol[T_co]):
    """What is to be sent, and what is made of the answer."""

    @property
    def request_id(self) -> bytes:
        """What the upstream is told as `x-request-id`."""

    def fingerprint(self) -> int:
        """Return what `core.replicas` knows a conversation by."""

    def encode(self, provider: Provider, model: str) -> bytes:
        """Return the body for a provider that knows the model by that name."""

    async def prepare(self, answer: Answer) -> T_co:
        """Read as much as is needed to know that it is an answer; raise UpstreamProblem or RefusedInStream."""


class Dispatch:
    """Opens upstreams. `clock` is monotonic, `chance` gives numbers in [0, 1)."""

    def __init__(
        self,
        upstreams: Upstreams,
        clock: Callable[[], float],
        chance: Callable[[], float],
        keyring: Keyring,
    ) -> None:
        self._upstreams = upstreams
        self.clock = clock
        self._chance = chance
        self.servers = Servers(keyring, self._forget)
        self._ways: dict[int, Ways] = {}
        self._view: View | None = None
        self.breakers: dict[RouteName, Breaker] = {}

    def _find(self, candidate: Candidate, route: Route) -> Ways:
        """Return the route made ready; made anew when a snapshot brought others. Raise Unservable."""
        if candidate.view is not self._view:
            self._change(candidate.view)
        ways = self._ways.get(id(route))  # the view holds the route, so its id is its own
        if ways is None:
            name = f"{route.provider}/{route.model}".encode("ascii", "replace")
            found = []
            for server in self.servers.find(candidate.view, route.provider):
                names = (candidate.model.name, route.provider, route.model, server.number)
                breaker = self.breakers.setdefault(names, Breaker())
                found.append(Way(server, route.model, breaker, _NAMING % name))
            provider = candidate.view.providers[route.provider]
            # Other ones are not served by.
            chosen = cast("Routing | None", provider.routing) or engines.route(provider.kind)
            weights = tuple(way.server.weight for way in found)
            preferences = self.servers.prefer(route.provider)
            ways = Ways(tuple(found), chosen, preferences, weights, replicas.add_up(weights))
            self._ways[id(route)] = ways
        return ways

    def _change(self, view: View) -> None:
        """Begin with another view; of routes that it does not have any more nothing is kept."""
        if self._view is not None and view.models is not self._view.models:
            kept = {
                (model.name, route.provider, route.model) for model in view.models.values() for route in model.routes
            }
            self.breakers = {name: breaker for name, breaker in self.breakers.items() if name[:3] in kept}
        self._view = view
        self._ways = {}

    def _forget(self, provider: str) -> None:
        """Forget what was said of a provider that is another one now."""
        self.breakers = {name: breaker for name, breaker in self.breakers.items() if name[1] != provider}
        self._ways = {}

    def hasten(self, server: Server) -> None:
        """Hear that a server is there again: its breakers let a request through at once."""
        now = self.clock()
        for (_, provider, _, number), breaker in self.breakers.items():
            if provider == server.target.provider.name and number == server.number:
                breaker.hasten(now)

    def _walk(
        self, candidate: Candidate, sendable: Sendable[object], attempt: Attempt, failures: list[Failure]
    ) -> Iterator[Way]:
        """Yield the ways in the order in which to try them; of a route that has none the failure is added.

        Who takes them may pass some over: only those that `attempt` has counted were tried.
        """
        routes = candidate.model.routes
        if len(routes) > 1:
            routes = tuple(routing.plan(routes, [self._chance() for _ in routes]))
        for route in routes:
            try:
                ways = self._find(candidate, route)
            except Unservable:
                failures.append(failure.judge_problem("connect"))
                continue
            if len(ways.all) == 1:
                yield ways.all[0]
            else:
                most = attempt.count + _TRIED
                for way in self._order(ways, sendable):
                    yield way
                    if attempt.count == most:
                        break

    def _order(self, ways: Ways, sendable: Sendable[object]) -> Iterator[Way]:
        """Yield the ways of a route to several servers in their order; most requests take the first alone."""
        now = self.clock()
        key = sendable.fingerprint() if ways.routing == "affinity" else 0
        first = self._choose(ways, key, now)
        if first is not None:
            yield first
        yield from (way for way in self._rank(ways, key, now) if way is not first)

    def _choose(self, ways: Ways, key: int, now: float) -> Way | None:
        """Return the first of the order without the rest; None where it is not to be had so."""
        if ways.routing == "affinity":
            preferred = ways.preferences.find(key)
            home = ways.all[preferred[0]]
            if home.server.load < replicas.SLACK and _is_usable(home, now):
                return home  # with so few it is over no bound, whatever the others have
            # Not by `load` and `_is_usable`: for 64 servers their calls are half of the time.
            loads = [
                server.in_flight + server.others
                if (server := way.server).health.state != "down" and (way.breaker.closed or not way.breaker.wait(now))
                else -1
                for way in ways.all
            ]
            place = replicas.choose(preferred, ways.weights, loads)
            return None if place is None else ways.all[place]
        if ways.routing == "least-busy" and len(ways.all) <= replicas.SCANNED:
            return None
        named = ways.all[replicas.draw(ways.sums, self._chance())]
        if ways.routing == "weighted":
            return named if _is_usable(named, now) else None
        other = ways.all[replicas.draw(ways.sums, self._chance())]
        usable = [way for way in (named, other) if _is_usable(way, now)]
        return min(usable, key=_measure, default=None)

    def _rank(self, ways: Ways, key: int, now: float) -> Iterable[Way]:
        """Return all of them in their order."""
        standings = [
            Standing(way.server.seed, way.server.weight, way.server.load, _is_usable(way, now)) for way in ways.all
        ]
        chances = () if ways.routing == "affinity" else [self._chance() for _ in standings]
        return [ways.all[place] for place in replicas.order(standings, ways.routing, key, chances)]

    async def open(self, candidate: Candidate, sendable: Sendable[T_co], attempt: Attempt) -> T_co:
        """Return what was prepared of the first answer that can be used; raise the ApiError that fits if none is left.

        `attempt` is filled in as it goes.
        """
        failures: list[Failure] = []
        shortest_wait = 0.0
        for way in self._walk(candidate, sendable, attempt, failures):
            breaker = way.breaker
            if not breaker.closed and not breaker.allows(self.clock()):
                wait = breaker.wait(self.clock())
                shortest_wait = min(shortest_wait or wait, wait)
                continue
            server = way.server
            target = server.target
            provider = target.provider
            attempt.provider, attempt.model, attempt.served_by = provider.name, way.model, way.served_by
            attempt.count += 1
            attempt.breaker = breaker
            body = sendable.encode(provider, way.model)
            answer: Answer | None = None
            server.in_flight += 1
            try:
                answer = await self._upstreams.open(
                    Call(target.origin, target.head + sendable.request_id, body, provider.timeouts)
                )
                if answer.status == 200:
                    prepared = await sendable.prepare(answer)
                    breaker.succeed()
                    server.answered += 1
                    return prepared
                found = await self._read_refusal(answer)
            except UpstreamProblem as problem:
                found = failure.judge_problem(problem.kind)
                _close(answer)
            except RefusedInStream as refusal:
                found = refusal.failure
                _close(answer)
            except BaseException:  # a client that hung up, too, leaves no connection and no trial of the breaker behind
                breaker.abandon()
                _close(answer)
                raise
            finally:
                server.in_flight -= 1
            failures.append(found)
            if found.blame == "client":
                breaker.succeed()
                break
            breaker.remember(found.name, self.clock())
            if found.trips:
                breaker.fail(self.clock())
            else:
                breaker.abandon()
        raise failure.explain(candidate.model.name, failures, shortest_wait)

    @staticmethod
    async def _read_refusal(answer: Answer) -> Failure:
        retry_after = answer.header(b"retry-after")
        try:
            body = await answer.read(_ERROR_BODY)
        except UpstreamProblem:
            body = b""  # the status says enough
            answer.close()
        return failure.judge_status(answer.status, retry_after, body)


def _is_usable(way: Way, now: float) -> bool:
    """Return whether a server is neither down nor cut off."""
    return way.server.health.state != "down" and (way.breaker.closed or not way.breaker.wait(now))


def _measure(way: Way) -> float:
    """Return how busy a server is for its weight."""
    return way.server.load / way.server.weight


def _close(answer: Answer | None) -> None:
    if answer is not None:
        answer.close()


class RefusedInStream(Exception):
    """The answer began with 200 but is an error (llama.cpp#14566); raised by a `prepare` step."""

    def __init__(self, found: Failure) -> None:
        super().__init__(found.kind)
        self.failure = found
