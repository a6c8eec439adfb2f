"""Opens the upstream: the routes of a model in their order, each once, until one gives an answer that can be used.

All retry and failover is here, and all of it before the first byte to the client: the caller's `prepare` step reads as
much of the answer as is needed to know that it is one. Keeps the breakers and the prepared request heads per provider.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from techstone.core import failure, routing
from techstone.core.breaker import Breaker
from techstone.core.sealing import Unsealable, name_context
from techstone.gateway.ports import Answer, Call, Origin, UpstreamProblem, Upstreams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from techstone.core.failure import Failure
    from techstone.core.snapshot import Provider, Route, View
    from techstone.gateway.admission import Candidate
    from techstone.gateway.ports import Opener

T_co = TypeVar("T_co", covariant=True)

_ERROR_BODY = 64 * 1024
# The header lines of an answer that are the same for every answer of a route.
_NAMING = b"openai-version: 2020-10-01\r\nx-techstone-served-by: %b\r\n"
_COMPLETIONS = "/chat/completions"


class Keyring:
    """The keys of providers: the environment's, and what is sealed in a snapshot."""

    def __init__(
        self, environment: Mapping[str, str], vault: Opener | None = None, report: Callable[[str], None] | None = None
    ) -> None:
        self._environment = environment
        self._vault = vault
        self._report = report

    def fill(self, value: str) -> str:
        """Return a value, or what the environment has by the name that it holds: `${NAME}`."""
        if value.startswith("${") and value.endswith("}"):
            return self._environment.get(value[2:-1], "")
        return value

    def find(self, provider: Provider) -> str | None:
        """Return a provider's key; raise Unsealable."""
        if provider.secret is None:
            return self._environment.get(provider.api_key_env) if provider.api_key_env else None
        if self._vault is None:
            raise Unsealable("there is nothing to open sealed secrets with")
        context = name_context(provider.name, provider.base_url)
        return self._vault.open(base64.b64decode(provider.secret), context).decode("ascii")

    def complain(self, provider: str, error: Unsealable) -> None:
        """Tell the operator of a key that cannot be used."""
        if self._report is not None:
            self._report(f"provider {provider}: {error}")


class Target:
    """A provider made ready: where its connection goes, and the head of every request to it. May raise Unsealable."""

    __slots__ = ("_fields", "_path", "_query", "head", "origin", "provider")

    def __init__(self, provider: Provider, keyring: Keyring) -> None:
        self.provider = provider
        parts = urlsplit(keyring.fill(provider.base_url))
        scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
        port = parts.port or (443 if scheme == "https" else 80)
        self.origin = Origin(scheme, parts.hostname or "", port)
        self._path, self._query = parts.path.rstrip("/"), f"?{parts.query}" if parts.query else ""
        fields = [
            f"host: {parts.netloc.rpartition('@')[2]}",
            "content-type: application/json",
            "accept: application/json, text/event-stream",
            "accept-encoding: identity",
            "user-agent: techstone",
        ]
        key = keyring.find(provider)
        names = {name.lower() for name in provider.headers}
        if key and "authorization" not in names and "api-key" not in names:
            fields.append(f"authorization: Bearer {key}")
        # Azure names its key header `api-key`; a header's value may name the key instead of holding it: ${NAME}.
        fields += [f"{name.lower()}: {keyring.fill(value)}" for name, value in provider.headers.items()]
        self._fields = fields
        self.head = self.compose("POST", _COMPLETIONS)

    def compose(self, method: str, path: str) -> bytes:
        """Return the head of a request below the base URL, up to the value of its `x-request-id`."""
        lines = [f"{method} {self._path}{path}{self._query} HTTP/1.1", *self._fields]
        return "\r\n".join(lines).encode("latin-1") + b"\r\nx-request-id: "


class Way(msgspec.Struct, frozen=True, gc=False):
    """A route made ready: its target, its breaker and the header line that names it."""

    target: Target
    model: str
    breaker: Breaker
    served_by: bytes


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
        self._keyring = keyring
        self._targets: dict[str, Target] = {}
        self._lost: set[str] = set()
        self._ways: dict[int, Way] = {}
        self._view: View | None = None
        self.breakers: dict[tuple[str, str, str], Breaker] = {}

    def _find(self, candidate: Candidate, route: Route) -> Way:
        """Return the route made ready; made anew when a snapshot brought others. Raise Unsealable."""
        if candidate.view is not self._view:
            self._change(candidate.view)
        way = self._ways.get(id(route))  # the view holds the route, so its id is its own
        if way is None:
            name = f"{route.provider}/{route.model}".encode("ascii", "replace")
            target = self._target(candidate.view, route.provider)
            breaker = self.breakers.setdefault((candidate.model.name, route.provider, route.model), Breaker())
            way = self._ways[id(route)] = Way(target, route.model, breaker, _NAMING % name)
        return way

    def _change(self, view: View) -> None:
        """Begin with another view; of routes that it does not have any more nothing is kept."""
        if self._view is not None and view.models is not self._view.models:
            kept = {
                (model.name, route.provider, route.model) for model in view.models.values() for route in model.routes
            }
            self.breakers = {name: breaker for name, breaker in self.breakers.items() if name in kept}
        self._view = view
        self._ways = {}

    def _target(self, view: View, name: str) -> Target:
        provider = view.providers[name]
        target = self._targets.get(name)
        if target is None or target.provider != provider:
            try:
                fresh = Target(provider, self._keyring)
            except Unsealable as error:
                if name not in self._lost:
                    self._keyring.complain(name, error)
                self._lost.add(name)
                raise
            self._lost.discard(name)
            if target is not None:  # what was said of the old one is not of this one
                self.breakers = {key: breaker for key, breaker in self.breakers.items() if key[1] != name}
            target = self._targets[name] = fresh
        return target

    async def open(self, candidate: Candidate, sendable: Sendable[T_co], attempt: Attempt) -> T_co:
        """Return what was prepared of the first answer that can be used; raise the ApiError that fits if none is left.

        `attempt` is filled in as it goes.
        """
        routes = candidate.model.routes
        if len(routes) > 1:
            routes = tuple(routing.plan(routes, [self._chance() for _ in routes]))
        failures: list[Failure] = []
        shortest_wait = 0.0
        for route in routes:
            try:
                way = self._find(candidate, route)
            except Unsealable:
                failures.append(failure.judge_problem("connect"))
                continue
            breaker = way.breaker
            if not breaker.closed and not breaker.allows(self.clock()):
                wait = breaker.wait(self.clock())
                shortest_wait = min(shortest_wait or wait, wait)
                continue
            target = way.target
            attempt.provider, attempt.model, attempt.served_by = route.provider, route.model, way.served_by
            attempt.count += 1
            attempt.breaker = breaker
            provider = target.provider
            body = sendable.encode(provider, route.model)
            answer: Answer | None = None
            try:
                answer = await self._upstreams.open(
                    Call(target.origin, target.head + sendable.request_id, body, provider.timeouts)
                )
                if answer.status == 200:
                    prepared = await sendable.prepare(answer)
                    breaker.succeed()
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


def _close(answer: Answer | None) -> None:
    if answer is not None:
        answer.close()


class RefusedInStream(Exception):
    """The answer began with 200 but is an error (llama.cpp#14566); raised by a `prepare` step."""

    def __init__(self, found: Failure) -> None:
        super().__init__(found.kind)
        self.failure = found
