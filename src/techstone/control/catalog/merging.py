"""What is on offer: the configured catalog with what operators added. Pure, and it cannot fail.

What does not fit is left out: a name that the file has taken since, a route to a provider that is gone or off, a model
without a route that is left. So nothing that is stored can keep a gateway from what else is on offer.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from techstone.control.catalog.records import Catalog
from techstone.core.snapshot import Model, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techstone.control.catalog.records import Stored, StoredModel, StoredProvider


def merge(configured: Catalog, stored: Stored) -> Catalog:
    """Return the catalog in force."""
    providers = tuple(_join_providers(configured, stored))
    reachable = {provider.name for provider in providers}
    models = tuple(
        msgspec.structs.replace(model, routes=routes)
        for model in _join_models(configured, stored)
        if ("model", model.name) not in stored.off
        and (routes := tuple(route for route in model.routes if route.provider in reachable))
    )
    plans = {plan.name for plan in configured.plans}
    return Catalog(
        (*configured.plans, *(plan for plan in stored.plans if plan.name not in plans)),
        models,
        providers,
        configured.stand_ins,
    )


def _join_providers(configured: Catalog, stored: Stored) -> Iterator[Provider]:
    taken = {provider.name for provider in configured.providers}
    for provider in configured.providers:
        if ("provider", provider.name) not in stored.off:
            yield provider
    for added in stored.providers:
        if added.name not in taken and ("provider", added.name) not in stored.off:
            yield tell_provider(added)


def _join_models(configured: Catalog, stored: Stored) -> Iterator[Model]:
    added = {model.name: model for model in stored.models}
    taken = {model.name for model in configured.models} - configured.stand_ins
    for model in configured.models:
        if model.name in taken or model.name not in added:
            yield model
    for one in stored.models:
        if one.name not in taken:
            yield tell_model(one)


def tell_provider(provider: StoredProvider) -> Provider:
    """Return a stored provider as the gateways are told of it."""
    secret = None if provider.secret is None else base64.b64encode(provider.secret).decode()
    return Provider(
        provider.name,
        provider.kind,
        provider.base_url,
        timeouts=provider.timeouts,
        secret=secret,
        replicas=provider.replicas,
        routing=provider.routing,
        metrics_port=provider.metrics_port,
    )


def tell_model(model: StoredModel) -> Model:
    """Return a stored model as the gateways are told of it."""
    return Model(
        model.name,
        model.routes,
        model.created_at,
        min(model.routes, key=lambda route: route.priority).provider if model.routes else "techstone",
        model.context_window,
        model.max_output_tokens,
        (model.price,),
    )
