"""What may be done with prices: note what is configured, set one, go back, list. Knows no HTTP and no database."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from techstone.control.acts import acting
from techstone.control.billing import versions
from techstone.control.billing.records import OPERATOR, NewPrice, PriceShown
from techstone.core import pricing
from techstone.core.errors import InvalidRequest
from techstone.core.pricing import Price

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from techstone.control.billing.ports import BillingStore
    from techstone.control.billing.records import PriceVersion
    from techstone.control.ports import Clock
    from techstone.core.snapshot import Model

_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


class Prices:
    """The prices of the models on offer; a model of the catalog carries its configured one."""

    def __init__(self, store: BillingStore, models: Callable[[], Sequence[Model]], clock: Clock) -> None:
        self._store = store
        self._offered = models
        self._clock = clock

    @property
    def _models(self) -> dict[str, Model]:
        return {model.name: model for model in self._offered()}

    async def note_configured(self) -> None:
        """Note what is configured now, from now on; at the control plane's start, when the configuration is read."""
        configured = {name: model.prices[0] for name, model in self._models.items() if model.prices}
        with acting("price.configure", "every model"):
            await self._store.note_configured(configured, self._clock())

    async def histories(self) -> dict[str, tuple[Price, ...]]:
        """Return every model's prices as they followed each other, oldest first."""
        return {name: versions.arrange(found) for name, found in group(await self._store.read_prices()).items()}

    async def list(self, model: str | None = None) -> tuple[PriceShown, ...]:
        """Return what is in force and what will be, of one model or of all."""
        models = self._models
        names = models if model is None else (self._check(model),)
        found = group(await self._store.read_prices())
        now = self._clock()
        shown: list[PriceShown] = []
        for name in names:
            prices = versions.arrange(found.get(name, ()), now) or models[name].prices
            shown += (_show(name, price, now) for price in prices)
        return tuple(shown)

    async def history(self, model: str) -> tuple[PriceShown, ...]:
        """Return all prices that a model has had, has and will have, oldest first."""
        found = group(await self._store.read_prices()).get(self._check(model), [])
        now = self._clock()
        prices = versions.arrange(found) or self._models[model].prices
        current = max((place for place, price in enumerate(prices) if price.valid_from <= now), default=0)
        shown = (_show(model, price, now) for price in prices)
        return tuple(
            msgspec.structs.replace(price, state="past") if place < current else price
            for place, price in enumerate(shown)
        )

    async def set(self, wanted: NewPrice) -> tuple[PriceShown, ...]:
        """Set a price from a time on; it goes before the configured one until it is reset."""
        name, now = self._check(wanted.model), self._clock()
        price = Price(
            version=0,
            valid_from=now if wanted.begins is None else _read_time(wanted.begins),
            input=_read_usd("input", wanted.input),
            output=_read_usd("output", wanted.output),
            cached_input=None if wanted.cached_input is None else _read_usd("cached_input", wanted.cached_input),
            reasoning=None if wanted.reasoning is None else _read_usd("reasoning", wanted.reasoning),
            source=OPERATOR,
        )
        told = msgspec.structs.asdict(wanted)
        told.pop("model")
        with acting("price.set", name, **told):
            await self._store.add_price(name, price, now)
        return await self.list(name)

    async def reset(self, model: str) -> tuple[PriceShown, ...]:
        """Go back to the configured price now; what was set, also for later, is over."""
        name, now = self._check(model), self._clock()
        noted = versions.newest_configured(group(await self._store.read_prices()).get(name, ()))
        configured = noted.price if noted is not None else next(iter(self._models[name].prices), None)
        if configured is None:
            raise InvalidRequest(f"There is no configured price for `{name}`.", param="model")
        price = msgspec.structs.replace(configured, version=0, valid_from=now)
        with acting("price.reset", name):
            await self._store.add_price(name, price, now, reset=True)
        return await self.list(name)

    def _check(self, model: str) -> str:
        if model not in self._models:
            raise InvalidRequest(f"There is no model `{model}`.", param="model")
        return model


class PriceBook:
    """The models with the prices that are in force now or later, as the gateways are told them."""

    def __init__(
        self, store: BillingStore, models: Callable[[], Sequence[Model]], clock: Clock = lambda: int(time.time())
    ) -> None:
        self._store = store
        self._models = models
        self._clock = clock

    async def read(self) -> tuple[Model, ...]:
        """Return every model."""
        return await self._price(self._models())

    async def read_changes(self, since: int) -> tuple[Model, ...]:
        """Return the models that have a version which came after a revision."""
        names = {version.model for version in await self._store.read_prices(since)}
        changed = [model for model in self._models() if model.name in names]
        return await self._price(changed) if changed else ()

    async def _price(self, models: Sequence[Model]) -> tuple[Model, ...]:
        found = group(await self._store.read_prices())
        now = self._clock()
        return tuple(
            msgspec.structs.replace(model, prices=versions.arrange(found.get(model.name, ()), now) or model.prices)
            for model in models
        )


def group(found: Sequence[PriceVersion]) -> dict[str, list[PriceVersion]]:
    """Return versions by model."""
    by_model: dict[str, list[PriceVersion]] = {}
    for version in found:
        by_model.setdefault(version.model, []).append(version)
    return by_model


def _show(model: str, price: Price, now: int) -> PriceShown:
    return PriceShown(
        model=model,
        state="in force" if price.valid_from <= now else "future",
        input=pricing.show(price.input),
        output=pricing.show(price.output),
        cached_input=None if price.cached_input is None else pricing.show(price.cached_input),
        reasoning=None if price.reasoning is None else pricing.show(price.reasoning),
        source=price.source,
        valid_from=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(price.valid_from)) if price.valid_from else None,
        version=price.version,
    )


def _read_usd(field: str, usd: str) -> int:
    try:
        return pricing.parse(usd)
    except ValueError as error:
        raise InvalidRequest(f"{field}: {error}.", param=field) from error


def _read_time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 0 < moment.timestamp() < _LATEST:
        raise InvalidRequest("from must be a time with its zone, such as 2026-12-01T00:00Z.", param="begins")
    return int(moment.timestamp())
