"""Who answers what: the list of the API's endpoints; every other path goes to the control plane.

Also what is decided on a head alone, before a body is read: unknown URL, method, media type, key. The order is that of
conformance.md 0.4: 401 before anything that a body says.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from techstone.core.errors import ApiError, MethodNotAllowed, UrlNotFound
from techstone.core.keys import Scope
from techstone.gateway.guard import check_media

if TYPE_CHECKING:
    from techstone.gateway.exchange import Exchange

Endpoint = Callable[["Exchange"], Coroutine[Any, None, None]]
"""Answers an exchange whose body is whole."""

Check = Callable[["Exchange", Scope], ApiError | None]
"""Decides on a head alone, and on what the route is for; returns the refusal."""


class Route:
    """One URL of the API."""

    __slots__ = ("check", "endpoint", "json", "methods", "scope")

    def __init__(
        self,
        methods: tuple[bytes, ...],
        endpoint: Endpoint,
        *,
        check: Check | None = None,
        scope: Scope = "chat",
        json: bool = False,
    ) -> None:
        self.methods = methods
        self.endpoint = endpoint
        self.check = check
        self.scope: Scope = scope
        self.json = json


class Directory:
    """The API's URLs: exact ones, and prefixes whose rest is an argument. `forward` answers all others."""

    def __init__(self, exact: dict[bytes, Route], prefixes: dict[bytes, Route], forward: Endpoint) -> None:
        self._exact = exact
        self._prefixes = tuple(prefixes.items())
        self.forward = forward

    def find(self, exchange: Exchange) -> tuple[Endpoint, ApiError | None]:
        """Return who answers, and the refusal if the head alone decides so."""
        route = self._exact.get(exchange.path)
        if route is None:
            route = self._find_prefix(exchange.path)
            if route is None:
                return self.forward, self._refuse_unknown(exchange)
        if exchange.method not in route.methods:
            allowed = tuple(method.decode() for method in route.methods)
            return route.endpoint, MethodNotAllowed(exchange.method.decode(), allowed)
        if route.check is not None:
            refusal = route.check(exchange, route.scope)
            if refusal is not None:
                return route.endpoint, refusal
        return route.endpoint, check_media(exchange.headers) if route.json else None

    def _find_prefix(self, path: bytes) -> Route | None:
        for prefix, route in self._prefixes:
            if path.startswith(prefix) and len(path) > len(prefix):
                return route
        return None

    @staticmethod
    def _refuse_unknown(exchange: Exchange) -> ApiError | None:
        """Refuse what looks like the API but is not; pages and the management API are the control plane's."""
        path = exchange.path
        if path.startswith(b"/v1/") or path in {b"/v1", b"*"} or exchange.method == b"OPTIONS":
            return UrlNotFound(exchange.method.decode(), path.decode("latin-1"))
        return None
