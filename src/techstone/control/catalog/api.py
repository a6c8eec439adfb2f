"""The catalog over the internal API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router, get

from techstone.control.catalog.records import ModelShown

if TYPE_CHECKING:
    from techstone.control.catalog.service import Offers


def route_catalog(catalog: Offers) -> Router:
    """Return the routes under /internal/models."""

    @get("/")
    async def list_models() -> list[ModelShown]:
        return list(await catalog.list_models())

    return Router("/models", route_handlers=[list_models])
