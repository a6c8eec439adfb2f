"""The services over a store in memory, with a clock that a test moves and randomness that never repeats."""

from __future__ import annotations

import itertools

from techstone.adapters.storage.memory import MemoryStore
from techstone.control.catalog.records import Catalog
from techstone.control.services import Services
from techstone.core.snapshot import Model, Plan, Provider, Route


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


class House:
    """The services and what they stand on."""

    def __init__(self) -> None:
        numbers = itertools.count(1)
        self.clock = Clock()
        self.store = MemoryStore()
        self.catalog = Catalog(
            (Plan("free", 60, 150_000, 5, "prepaid"), Plan("pro", 500, 2_000_000, 50, "postpaid")),
            (Model("m1", (Route("up", "x"),)), Model("m2", (Route("up", "y"),))),
            (Provider("up", "openai", "https://up.example/v1"),),
        )
        services = Services(
            self.store,
            self.catalog,
            clock=self.clock,
            randomness=lambda size: (next(numbers) * 0x9E3779B97F4A7C15 % 2**64).to_bytes(size, "big"),
        )
        self.services = services
        self.accounts = services.accounts
        self.keys = services.keys
