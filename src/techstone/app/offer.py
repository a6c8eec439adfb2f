"""From the configuration and the environment to the catalog: which plans, models and providers are on offer.

The rule of the first start: a provider counts as configured when it stands in the file or its key is in the
environment; without any, every well-known model name is answered by the built-in engine, and says so. Every model has
a price: the file's, else that of our table, else that of the list which comes with us; what only the engine answers is
free, unless the file says otherwise; what nobody has a price for is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.app import presets, pricelist
from techstone.app.config import ConfigError
from techstone.control.catalog.records import Catalog
from techstone.core import pricing
from techstone.core.pricing import FREE
from techstone.core.snapshot import Model, Plan, Provider, Replica, Route, Timeouts
from techstone.engine.options import BUILT_IN, name_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techstone.app.sections import Config, ProviderEntry
    from techstone.app.sections import Price as PriceEntry

ENGINE = "engine"
ENGINE_URL_ENV = "TECHSTONE_ENGINE_URL"
ENGINE_KEY_ENV = "TECHSTONE_ENGINE_KEY"
# Unix seconds of the models' entry in /v1/models: a constant, so that all processes say the same. 2026-08-21.
_CREATED = 1_787_270_400


class EngineAddress(msgspec.Struct, frozen=True):
    """Where the embedded engine listens, and the name of the model that it serves."""

    base_url: str
    model: str
    context: int


def locate_engine(config: Config) -> EngineAddress | None:
    """Return the engine that the supervisor runs, or the one that it would run, for commands beside it."""
    if not config.engine.enabled:
        return None
    # By name: its port is another at each start, and a gateway begins with the snapshot of the last one.
    return EngineAddress(f"${{{ENGINE_URL_ENV}}}", name_model(config.engine.model or BUILT_IN), config.engine.context)


def compose(config: Config, environment: Mapping[str, str], engine: EngineAddress | None) -> Catalog:
    """Return what is on offer; raise ConfigError for a route to nowhere, an unknown price, no model at all."""
    providers = _list_providers(config, environment)
    models = _configured(config, {provider.name for provider in providers}, engine)
    stand_ins: frozenset[str] = frozenset()
    models = _price(models, config, {provider.name: provider.base_url for provider in providers})
    if not models:
        models = _well_known(providers, engine)
        stand_ins = frozenset(name for name, model in models.items() if model.routes[0].provider == ENGINE)
    if engine is not None:
        timeouts = Timeouts(first_byte=120.0)  # a queue for the slots of a small machine is no failure
        providers.append(Provider(ENGINE, "engine", engine.base_url, ENGINE_KEY_ENV, {}, timeouts))
        models.setdefault(
            engine.model,
            Model(
                engine.model,
                (Route(ENGINE, engine.model),),
                _CREATED,
                "techstone",
                engine.context,
                engine.context,
                (FREE,),
            ),
        )
    if not models:
        raise ConfigError("nothing to offer: enable [engine], or add a [[providers]] and its [[models]]")
    return Catalog(_list_plans(config), tuple(models.values()), tuple(providers), stand_ins)


def missing_secrets(config: Config, environment: Mapping[str, str]) -> list[str]:
    """Return a line for each configured provider whose key is not in the environment."""
    missing = [
        f"oidc[{place}].client_secret_env: the environment has no {entry.client_secret_env}; export it before the start"
        for place, entry in enumerate(config.oidc)
        if not environment.get(entry.client_secret_env)
    ]
    for place, provider in enumerate(config.providers):
        named = {"api_key_env": provider.api_key_env}
        named |= {f"headers.{name}": find_secret(value) for name, value in provider.headers.items()}
        missing += [
            f"providers[{place}].{path}: the environment has no {name}; export it before the start"
            for path, name in named.items()
            if name is not None and not environment.get(name)
        ]
    return missing


def find_secret(header: str) -> str | None:
    """Return the environment variable that a header's value names as `${NAME}`."""
    return header[2:-1] if header.startswith("${") and header.endswith("}") else None


def _list_providers(config: Config, environment: Mapping[str, str]) -> list[Provider]:
    providers = [_read_provider(entry) for entry in config.providers]
    taken = {provider.name for provider in providers}
    providers += [
        Provider(preset.name, "openai", preset.base_url, preset.api_key_env)
        for preset in presets.PROVIDERS
        if preset.name not in taken and environment.get(preset.api_key_env)
    ]
    return providers


def _read_provider(entry: ProviderEntry) -> Provider:
    replicas = tuple(Replica(replica.base_url, replica.weight) for replica in entry.replicas)
    return Provider(
        entry.name,
        entry.kind,
        entry.base_url or replicas[0].base_url,
        entry.api_key_env,
        entry.headers,
        entry.timeouts,
        replicas=replicas,
        routing=entry.routing,
        metrics_port=entry.metrics_port,
    )


def _configured(config: Config, providers: set[str], engine: EngineAddress | None) -> dict[str, Model]:
    """Return the models of the file; one whose only providers are well-known but without a key is left out."""
    known = providers | ({ENGINE} if engine is not None else set())
    presets_known = {preset.name for preset in presets.PROVIDERS}
    models: dict[str, Model] = {}
    for place, entry in enumerate(config.models):
        routes = []
        for number, route in enumerate(entry.routes):
            if route.provider in known:
                routes.append(Route(route.provider, route.model, route.weight, route.priority))
            elif route.provider not in presets_known:
                names = ", ".join(sorted(known)) or "none"
                raise ConfigError(
                    f"models[{place}].routes[{number}].provider: there is no provider `{route.provider}`; "
                    f"configured: {names}"
                )
        prices: tuple[pricing.Price, ...] = ()
        if not routes and engine is not None and not providers:
            # The file's price is that of the provider, who does not answer here.
            routes, prices = [Route(ENGINE, engine.model)], (FREE,)
        if routes:
            owner = routes[0].provider if routes[0].provider != ENGINE else "techstone"
            models[entry.name] = Model(
                entry.name, tuple(routes), _CREATED, owner, entry.context_window, entry.max_output_tokens, prices
            )
    return models


def _price(models: dict[str, Model], config: Config, urls: Mapping[str, str]) -> dict[str, Model]:
    """Return the models with their prices; `urls` are the providers', by name. Raise ConfigError."""
    entries = {entry.name: (place, entry.price) for place, entry in enumerate(config.models)}
    found: dict[str, pricing.Price | None] = {}
    unknown: dict[str, Route] = {}
    for name, model in models.items():
        route = min(model.routes, key=lambda route: route.priority)
        written = entries[name][1]
        if model.prices:
            found[name] = model.prices[0]
        elif written is not None:
            found[name] = _read_price(written, "config")
        elif all(route.provider == ENGINE for route in model.routes):
            found[name] = FREE
        elif (preset := _PRESETS.get((route.provider, route.model))) is not None:
            found[name] = _read_price(preset, "preset")
        else:
            unknown[name] = route
    questions = [
        pricelist.Question(route.provider, urls.get(route.provider, ""), route.model) for route in unknown.values()
    ]
    found |= zip(unknown, pricelist.ask(questions), strict=True)
    for name, price in found.items():
        if price is None:
            raise ConfigError(
                f"models[{entries[name][0]}].name: no price is known for `{name}` of provider "
                f'`{unknown[name].provider}`; write price = {{ input = "…", output = "…" }} (USD per million tokens; '
                '"0" is a price)'
            )
    return {name: msgspec.structs.replace(model, prices=(found[name],)) for name, model in models.items()}


def _read_price(written: PriceEntry | presets.ModelPreset, source: str) -> pricing.Price:
    """Return a price that is written in USD; it was checked when it was read."""
    cached, thought = written.cached_input, written.reasoning
    return pricing.Price(
        version=0,
        valid_from=0,
        input=pricing.parse(written.input),
        output=pricing.parse(written.output),
        cached_input=None if cached is None else pricing.parse(cached),
        reasoning=None if thought is None else pricing.parse(thought),
        source=source,
    )


_PRESETS = {(preset.provider, preset.name): preset for preset in presets.MODELS}


def _well_known(providers: list[Provider], engine: EngineAddress | None) -> dict[str, Model]:
    """Return the models that need no configuration: those of the enabled providers, or all of them on the engine."""
    enabled = {provider.name for provider in providers}
    models: dict[str, Model] = {}
    for preset in presets.MODELS:
        if preset.provider in enabled:
            route = Route(preset.provider, preset.name)
            window, longest = preset.context_window, preset.max_output_tokens
            price = _read_price(preset, "preset")
        elif engine is not None and not enabled:
            route = Route(ENGINE, engine.model)
            window = longest = engine.context
            price = FREE
        else:
            continue
        owner = preset.provider if route.provider != ENGINE else "techstone"
        models[preset.name] = Model(preset.name, (route,), _CREATED, owner, window, longest, (price,))
    return models


def _list_plans(config: Config) -> tuple[Plan, ...]:
    plans = {plan.name: plan for plan in presets.PLANS}
    for name, entry in config.plans.items():
        changes = {field: value for field, value in msgspec.structs.asdict(entry).items() if value is not None}
        if name in plans:
            plans[name] = msgspec.structs.replace(plans[name], **changes)
            continue
        missing = [field for field in entry.__struct_fields__ if field not in changes]
        if missing:
            raise ConfigError(f"plans.{name}.{missing[0]}: missing; a new plan needs rpm, tpm, concurrent and billing")
        plans[name] = Plan(name, **changes)
    return tuple(plans.values())
