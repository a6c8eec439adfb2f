"""The catalog over HTTP: the internal API, and the operators' part of the management API.

An entry is not named in the path: a model's name may have slashes. A secret comes in a body, and in no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router, get, post
from litestar.params import JSONBody

from techstone.control.catalog.records import (
    Addition,
    CatalogEntry,
    EntryChosen,
    ModelShown,
    NewModel,
    NewPlan,
    NewProvider,
    PlanShown,
    ProviderChange,
    ProviderShown,
    Switched,
    Trial,
    TrialShown,
)

if TYPE_CHECKING:
    from techstone.control.catalog.models import Models
    from techstone.control.catalog.plans import Plans
    from techstone.control.catalog.providers import Providers
    from techstone.control.catalog.service import Offers


def route_catalog(catalog: Offers) -> Router:
    """Return what is on offer, under /models."""

    @get("/")
    async def list_models() -> list[ModelShown]:
        await catalog.refresh()
        return list(await catalog.list_models())

    return Router("/models", route_handlers=[list_models])


def route_providers(providers: Providers) -> Router:
    """Return the routes under /providers."""

    @get("/")
    async def list_providers() -> list[ProviderShown]:
        return list(await providers.list())

    @post("/")
    async def create(data: JSONBody[NewProvider]) -> ProviderShown:
        return await providers.create(data)

    @post("/change", status_code=200)
    async def change(data: JSONBody[ProviderChange]) -> ProviderShown:
        return await providers.change(data)

    @post("/switch", status_code=200)
    async def switch(data: JSONBody[Switched]) -> ProviderShown:
        return await providers.switch(data.name, on=data.on)

    @post("/remove", status_code=200)
    async def remove(data: JSONBody[EntryChosen]) -> ProviderShown:
        return await providers.remove(data.name)

    @post("/test", status_code=200)
    async def test(data: JSONBody[Trial]) -> TrialShown:
        return await providers.test(data)

    return Router("/providers", route_handlers=[list_providers, create, change, switch, remove, test])


def route_entries(models: Models) -> Router:
    """Return the routes under /catalog: every model, also what is off."""

    @get("/")
    async def list_entries() -> list[CatalogEntry]:
        return list(await models.list())

    @post("/")
    async def create(data: JSONBody[NewModel]) -> CatalogEntry:
        return await models.create(data)

    @post("/add")
    async def add(data: JSONBody[Addition]) -> list[CatalogEntry]:
        return list(await models.add(data))

    @post("/change", status_code=200)
    async def change(data: JSONBody[NewModel]) -> CatalogEntry:
        return await models.change(data)

    @post("/switch", status_code=200)
    async def switch(data: JSONBody[Switched]) -> CatalogEntry:
        return await models.switch(data.name, on=data.on)

    @post("/remove", status_code=200)
    async def remove(data: JSONBody[EntryChosen]) -> CatalogEntry:
        return await models.remove(data.name)

    return Router("/catalog", route_handlers=[list_entries, create, add, change, switch, remove])


def route_plans(plans: Plans) -> Router:
    """Return the routes under /plans."""

    @get("/")
    async def list_plans() -> list[PlanShown]:
        return list(await plans.list())

    @post("/")
    async def create(data: JSONBody[NewPlan]) -> PlanShown:
        return await plans.create(data)

    @post("/change", status_code=200)
    async def change(data: JSONBody[NewPlan]) -> PlanShown:
        return await plans.change(data)

    @post("/remove", status_code=200)
    async def remove(data: JSONBody[EntryChosen]) -> PlanShown:
        return await plans.remove(data.name)

    return Router("/plans", route_handlers=[list_plans, create, change, remove])
