"""What may be done with the catalog: ask it. It is configured, so nothing here changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.catalog.records import ModelShown
from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from techstone.control.catalog.records import Catalog
    from techstone.core.snapshot import Model, Plan


class Offers:
    """The catalog, checked once and indexed. Implements the port `Offer`."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._plans = {plan.name: plan for plan in catalog.plans}
        self._models = frozenset(model.name for model in catalog.models)
        _check(catalog)

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

    async def list_models(self) -> tuple[ModelShown, ...]:
        """Return every model, in the order of the configuration."""
        return tuple(_show(model) for model in self.catalog.models)


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


def _show(model: Model) -> ModelShown:
    routes = sorted(model.routes, key=lambda route: route.priority)
    return ModelShown(
        name=model.name,
        owned_by=model.owned_by,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        served_by=tuple(dict.fromkeys(route.provider for route in routes)),
    )
