"""The catalog in force, asked by everybody: what is configured, and what operators added to it.

It follows the store: whoever changed something, and the publisher whenever the store's revision rises, has it read
again. In between it is a value in memory.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from techstone.control.catalog.merging import merge
from techstone.control.catalog.records import ModelShown, Stored
from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.control.catalog.ports import CatalogStore
    from techstone.control.catalog.records import Catalog
    from techstone.core.snapshot import Model, Plan


class Offers:
    """The catalog, indexed. Implements the port `Offer`."""

    def __init__(self, configured: Catalog, store: CatalogStore) -> None:
        _check(configured)
        self.configured = configured
        self.stored = Stored()
        self.heard: list[Callable[[], None]] = []
        """Called after each change of the catalog."""
        self._store = store
        self._turn = asyncio.Lock()
        self._index(configured)

    def _index(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._plans = {plan.name: plan for plan in catalog.plans}
        self._models = frozenset(model.name for model in catalog.models)
        self._displays = {model.name: model.display for model in self.stored.models}

    async def refresh(self) -> None:
        """Read again what operators added."""
        async with self._turn:
            stored = await self._store.read()
            if stored == self.stored:
                return
            self.stored = stored
            self._index(merge(self.configured, stored))
        for tell in self.heard:
            tell()

    def find_plan(self, name: str | None) -> Plan:
        """Return the plan (None: the first); raise InvalidRequest for `plan`."""
        if name is None:
            return self.catalog.plans[0]
        plan = self._plans.get(name)
        if plan is None:
            raise InvalidRequest(f"plan must be one of {', '.join(self._plans)}.", param="plan")
        return plan

    def has_model(self, name: str) -> bool:
        """Say whether the model is on offer."""
        return name in self._models

    def models(self) -> tuple[Model, ...]:
        """Return the models on offer."""
        return self.catalog.models

    def prepaid(self) -> tuple[str, ...]:
        """Return the names of the prepaid plans."""
        return tuple(plan.name for plan in self.catalog.plans if plan.billing == "prepaid")

    def postpaid(self) -> tuple[str, ...]:
        """Return the names of the postpaid plans."""
        return tuple(plan.name for plan in self.catalog.plans if plan.billing == "postpaid")

    async def list_models(self) -> tuple[ModelShown, ...]:
        """Return every model on offer, those of the configuration first."""
        return self.show_models()

    def show_models(self) -> tuple[ModelShown, ...]:
        """Return the same at once."""
        return tuple(_show(model, self._displays.get(model.name)) for model in self.catalog.models)


def _check(catalog: Catalog) -> None:
    """Raise ValueError where the catalog contradicts itself: the gateway would refuse requests that look served."""
    if not catalog.plans:
        raise ValueError("the catalog has no plan")
    for kind, names in (
        ("plan", [plan.name for plan in catalog.plans]),
        ("model", [model.name for model in catalog.models]),
        ("provider", [provider.name for provider in catalog.providers]),
    ):
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"the catalog names the {kind} {min(twice)} twice")
    providers = {provider.name for provider in catalog.providers}
    for model in catalog.models:
        for route in model.routes:
            if route.provider not in providers:
                raise ValueError(f"the model {model.name} is routed to {route.provider}, which is no provider")


def _show(model: Model, display: str | None) -> ModelShown:
    routes = sorted(model.routes, key=lambda route: route.priority)
    return ModelShown(
        name=model.name,
        owned_by=model.owned_by,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        served_by=tuple(dict.fromkeys(route.provider for route in routes)),
        display=display,
    )
