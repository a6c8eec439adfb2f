"""The servers that providers are: one each, or several replicas of an engine, with what is known of how busy they are.

Kept for every provider that was asked or is checked; a provider that changes begins anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core import replicas
from techstone.core.health import Health
from techstone.core.sealing import Unsealable
from techstone.core.snapshot import KINDS, ROUTINGS
from techstone.gateway.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.core.engines import Load
    from techstone.core.snapshot import Provider
    from techstone.core.view import View
    from techstone.gateway.target import Keyring


class Server:
    """One server. `number` counts a provider's replicas from 1; 0: it is the only one.

    `in_flight` are the requests of this gateway, `others` those that the engine told beyond them; `answered` counts.
    """

    __slots__ = (
        "address",
        "answered",
        "health",
        "in_flight",
        "number",
        "others",
        "reported",
        "seed",
        "target",
        "weight",
    )

    def __init__(self, target: Target, address: str, number: int, weight: int) -> None:
        self.target = target
        self.address = address
        self.number = number
        self.weight = weight
        self.seed = replicas.seed(address)
        self.health = Health()
        self.in_flight = 0
        self.others = 0
        self.answered = 0
        self.reported: Load | None = None

    @property
    def load(self) -> int:
        """How many requests it has, as far as is known."""
        return self.in_flight + self.others

    def hear(self, load: Load | None) -> None:
        """Take what the engine told of its load: that includes what it got from here, so only the rest is kept."""
        self.reported = load
        self.others = 0 if load is None else max(0, load.running + load.waiting - self.in_flight)


class Unservable(Exception):
    """A provider cannot be used by this gateway: one line for the operator."""


class Servers:
    """All of them, by provider. `forget` is told of a provider that is another one now."""

    def __init__(self, keyring: Keyring, forget: Callable[[str], None]) -> None:
        self._keyring = keyring
        self._forget = forget
        self._lost: set[str] = set()
        self.all: dict[str, tuple[Server, ...]] = {}
        self._preferences: dict[str, replicas.Preferences] = {}

    def find(self, view: View, name: str) -> tuple[Server, ...]:
        """Return a provider's servers, made anew if it changed; raise Unservable, and tell of it once."""
        provider = view.providers[name]
        known = self.all.get(name)
        if known is not None and known[0].target.provider == provider:
            return known
        try:
            fresh = tuple(self._make(provider))
        except (Unsealable, Unservable) as error:
            if name not in self._lost:
                self._keyring.complain(name, error)
            self._lost.add(name)
            raise Unservable(name) from error
        self._lost.discard(name)
        if known is not None:
            self._forget(name)
        self.all[name] = fresh
        self._preferences.pop(name, None)
        return fresh

    def prefer(self, name: str) -> replicas.Preferences:
        """Return which of a provider's servers conversations prefer: kept as long as the servers are the same."""
        known = self._preferences.get(name)
        if known is None:
            seeds = [(server.seed, server.weight) for server in self.all[name]]
            known = self._preferences[name] = replicas.Preferences(seeds)
        return known

    def _make(self, provider: Provider) -> list[Server]:
        if provider.kind not in KINDS:
            raise Unservable(f"its kind {provider.kind} is not known here; update this gateway")
        if provider.routing is not None and provider.routing not in ROUTINGS:
            raise Unservable(f"its routing {provider.routing} is not known here; update this gateway")
        several = len(provider.servers) > 1
        return [
            Server(Target(provider, self._keyring, replica.base_url), replica.base_url, place * several, replica.weight)
            for place, replica in enumerate(provider.servers, 1)
        ]

    def prune(self, view: View) -> None:
        """Forget those of providers that are gone."""
        for name in self.all.keys() - view.providers.keys():
            del self.all[name]
            self._preferences.pop(name, None)
