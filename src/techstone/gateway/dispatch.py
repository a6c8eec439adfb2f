"""Opens the upstream: the routes of a model in their order, each once, until one gives an answer that can be used.

All retry and failover is here, and all of it before the first byte to the client: the caller's `prepare` step reads as
much of the answer as is needed to know that it is one. Keeps the breakers and the prepared request heads per provider.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from techstone.core import failure, routing
from techstone.core.breaker import Breaker
from techstone.core.failure import Failure
from techstone.gateway.ports import Answer, Call, Origin, UpstreamProblem, Upstreams

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from techstone.core.snapshot import Provider, Route, View
    from techstone.gateway.admission import Admission

T = TypeVar("T")

_ERROR_BODY = 64 * 1024
_COMPLETIONS = "/chat/completions"


class Target:
    """A provider made ready: where its connection goes, and the head of every request to it."""

    __slots__ = ("head", "origin", "provider")

    def __init__(self, provider: Provider, environment: Mapping[str, str]) -> None:
        self.provider = provider
        parts = urlsplit(provider.base_url)
        scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
        port = parts.port or (443 if scheme == "https" else 80)
        self.origin = Origin(scheme, parts.hostname or "", port)
        path = parts.path.rstrip("/") + _COMPLETIONS + (f"?{parts.query}" if parts.query else "")
        lines = [
            f"POST {path} HTTP/1.1",
            f"host: {parts.netloc.rpartition('@')[2]}",
            "content-type: application/json",
            "accept: application/json, text/event-stream",
            "accept-encoding: identity",
            "user-agent: techstone",
        ]
        key = environment.get(provider.api_key_env) if provider.api_key_env else None
        names = {name.lower() for name in provider.headers}
        if key and "authorization" not in names and "api-key" not in names:
            lines.append(f"authorization: Bearer {key}")
        # Azure names its key header `api-key`; a header's value may name the key instead of holding it: ${NAME}.
        lines += [f"{name.lower()}: {_fill(value, environment)}" for name, value in provider.headers.items()]
        self.head = "\r\n".join(lines).encode("latin-1") + b"\r\nx-request-id: "


def _fill(value: str, environment: Mapping[str, str]) -> str:
    if value.startswith("${") and value.endswith("}"):
        return environment.get(value[2:-1], "")
    return value


class Attempt(msgspec.Struct, gc=False):
    """Who is trying to serve, for headers, metrics and the log; of a failed request the last one."""

    provider: str = ""
    model: str = ""
    count: int = 0
    breaker: Breaker | None = None

    def work(self) -> None:
        """Hear that the route works: a stream that began need not end before its breaker closes."""
        if self.breaker is not None:
            self.breaker.succeed()


class Opened(Generic[T]):
    """An answer that can be used, what `prepare` made of it, and the breaker of its route."""

    __slots__ = ("answer", "breaker", "prepared")

    def __init__(self, answer: Answer, prepared: T, breaker: Breaker) -> None:
        self.answer = answer
        self.prepared = prepared
        self.breaker = breaker


class Dispatch:
    """Opens upstreams. `clock` is monotonic, `chance` gives numbers in [0, 1), `environment` holds provider keys."""

    def __init__(
        self,
        upstreams: Upstreams,
        clock: Callable[[], float],
        chance: Callable[[], float],
        environment: Mapping[str, str],
    ) -> None:
        self._upstreams = upstreams
        self._clock = clock
        self._chance = chance
        self._environment = environment
        self._targets: dict[str, Target] = {}
        self.breakers: dict[tuple[str, str, str], Breaker] = {}

    def target(self, view: View, name: str) -> Target:
        """Return the provider made ready; made anew when a snapshot brought another."""
        provider = view.providers[name]
        target = self._targets.get(name)
        if target is None or target.provider is not provider:
            target = self._targets[name] = Target(provider, self._environment)
        return target

    def _breaker(self, model: str, route: Route) -> Breaker:
        key = (model, route.provider, route.model)
        breaker = self.breakers.get(key)
        if breaker is None:
            breaker = self.breakers[key] = Breaker()
        return breaker

    async def open(
        self,
        admission: Admission,
        request_id: bytes,
        encode: Callable[[Provider, str], bytes],
        prepare: Callable[[Answer], Awaitable[T]],
        attempt: Attempt,
    ) -> Opened[T]:
        """Return the first answer that can be used; raise the ApiError that fits once no route is left.

        `encode` gives the body for a provider and its name of the model; `prepare` raises UpstreamProblem for an answer
        that is none. `attempt` is filled in as it goes.
        """
        model = admission.model
        routes = model.routes
        chances = () if len(routes) == 1 else [self._chance() for _ in routes]
        failures: list[Failure] = []
        shortest_wait = 0.0
        for route in routing.plan(routes, chances):
            breaker = self._breaker(model.name, route)
            if not breaker.allows(self._clock()):
                wait = breaker.wait(self._clock())
                shortest_wait = min(shortest_wait or wait, wait)
                continue
            target = self.target(admission.view, route.provider)
            attempt.provider = route.provider
            attempt.model = route.model
            attempt.count += 1
            attempt.breaker = breaker
            body = encode(target.provider, route.model)
            call = Call(target.origin, target.head + request_id, body, target.provider.timeouts)
            try:
                found = await self._try(call, prepare)
            except BaseException:
                breaker.abandon()
                raise
            if not isinstance(found, Failure):
                breaker.succeed()
                return Opened(found[0], found[1], breaker)
            failures.append(found)
            if found.blame == "client":
                breaker.succeed()
                break
            if found.trips:
                breaker.fail(self._clock())
            else:
                breaker.abandon()
        raise failure.explain(model.name, failures, shortest_wait)

    async def _try(self, call: Call, prepare: Callable[[Answer], Awaitable[T]]) -> tuple[Answer, T] | Failure:
        try:
            answer = await self._upstreams.open(call)
        except UpstreamProblem as problem:
            return failure.judge_problem(problem.kind)
        try:
            if answer.status == 200:
                return answer, await prepare(answer)
            return await self._read_refusal(answer)
        except RefusedInStream as refusal:
            answer.close()
            return refusal.failure
        except UpstreamProblem as problem:
            answer.close()
            return failure.judge_problem(problem.kind)
        except asyncio.CancelledError:
            answer.close()
            raise

    @staticmethod
    async def _read_refusal(answer: Answer) -> Failure:
        retry_after = answer.header(b"retry-after")
        try:
            body = await answer.read(_ERROR_BODY)
        except UpstreamProblem:
            body = b""  # the status says enough
            answer.close()
        return failure.judge_status(answer.status, retry_after, body)


class RefusedInStream(Exception):
    """The answer began with 200 but is an error (llama.cpp#14566); raised by a `prepare` step."""

    def __init__(self, found: Failure) -> None:
        super().__init__(found.kind)
        self.failure = found
