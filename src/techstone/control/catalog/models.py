"""What may be done with models: list, add, change, switch, remove. Knows no HTTP and no database.

Every model has a price: what was typed, else what it has, else what the list which comes with us says; one that nobody
has a price for is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.acts import acting
from techstone.control.catalog import rules
from techstone.control.catalog.records import CatalogEntry, NewModel, StoredModel
from techstone.control.ports import Taken
from techstone.core import pricing
from techstone.core.errors import InvalidRequest
from techstone.core.pricing import FREE, Price
from techstone.core.snapshot import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from techstone.control.catalog.ports import CatalogStore, Means
    from techstone.control.catalog.records import Addition, EntryState
    from techstone.control.catalog.service import Offers
    from techstone.control.ports import Clock
    from techstone.core.snapshot import Model

SOURCE = "console"
_LONGEST_DISPLAY = 100
_MOST_ROUTES = 32
_MOST_ADDED = 200


class Models:
    """Those of the configuration, which can be switched off, and those that operators add.

    `note_prices` has the configured prices noted anew, after a name has another model behind it.
    """

    def __init__(
        self,
        store: CatalogStore,
        offers: Offers,
        means: Means,
        note_prices: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._store = store
        self._offers = offers
        self._means = means
        self._note_prices = note_prices
        self._clock = clock

    async def list(self) -> tuple[CatalogEntry, ...]:
        """Return all, also those that are off, those of the configuration first."""
        await self._offers.refresh()
        added = {model.name for model in self._offers.stored.models}
        shown = [
            self._show_configured(model)
            for model in self._offers.configured.models
            if model.name not in added or model.name not in self._offers.configured.stand_ins
        ]
        taken = self._taken()
        for model in self._offers.stored.models:
            state = "hidden" if model.name in taken else self._read_state(model.name)
            shown.append(_show_stored(model, state))
        return tuple(shown)

    async def show(self, name: str) -> CatalogEntry:
        """Return one; raise InvalidRequest."""
        for model in await self.list():
            if model.name == name:
                return model
        raise InvalidRequest(f"There is no model `{name}`.", param="name")

    def _taken(self) -> set[str]:
        """Return the names that the configuration keeps for itself; a stand-in gives way."""
        configured = self._offers.configured
        return {model.name for model in configured.models} - configured.stand_ins

    def _read_state(self, name: str) -> EntryState:
        return "off" if ("model", name) in self._offers.stored.off else "on"

    def _show_configured(self, model: Model) -> CatalogEntry:
        price = model.prices[0] if model.prices else None
        return CatalogEntry(
            name=model.name,
            display=None,
            origin="configuration file",
            state=self._read_state(model.name),
            routes=model.routes,
            context_window=model.context_window,
            max_output_tokens=model.max_output_tokens,
            **_show_price(price),
        )

    async def create(self, wanted: NewModel) -> CatalogEntry:
        """Add one; its name must be nobody's, and its routes must lead somewhere."""
        await self._offers.refresh()
        if wanted.name in self._taken():
            raise InvalidRequest(
                f"name: `{wanted.name}` comes from the configuration file; choose another name.", param="name"
            )
        await self._put(await self._draft(wanted), fresh=True)
        return await self.show(wanted.name)

    async def change(self, wanted: NewModel) -> CatalogEntry:
        """Put all of one that was added anew."""
        old = await self._find(wanted.name)
        await self._put(await self._draft(wanted, old), fresh=False)
        return await self.show(wanted.name)

    async def add(self, wanted: Addition) -> tuple[CatalogEntry, ...]:
        """Offer several models of a provider by their own names; all are checked before the first is added."""
        await self._offers.refresh()
        names = tuple(dict.fromkeys(wanted.names))
        if not names or len(names) > _MOST_ADDED:
            raise InvalidRequest(f"names: choose 1 to {_MOST_ADDED} models.", param="names")
        known = dict(zip(names, await self._look_up(wanted.provider, names), strict=True))
        drafts = []
        for name in names:
            if name in self._taken() or any(model.name == name for model in self._offers.stored.models):
                raise InvalidRequest(f"names: there is a model `{name}` already.", param="names")
            routes = (Route(wanted.provider, name),)
            unpriced = known[name] is None
            wish = (
                NewModel(name, routes, input=wanted.input, output=wanted.output) if unpriced else NewModel(name, routes)
            )
            drafts.append(await self._draft(wish, known=known[name]))
        for draft in drafts:
            await self._put(draft, fresh=True)
        return tuple([await self.show(name) for name in names])

    async def switch(self, name: str, *, on: bool) -> CatalogEntry:
        """Switch one on or off, also one of the configuration; requests that run are not touched."""
        await self.show(name)
        with acting("model.switch_on" if on else "model.switch_off", name):
            await self._store.switch("model", name, on=on)
        return await self.show(name)

    async def remove(self, name: str) -> CatalogEntry:
        """Forget one that was added; what was billed for it stays explained."""
        await self._find(name)
        shown = await self.show(name)
        with acting("model.remove", name):
            await self._store.remove_model(name)
        await self._offers.refresh()
        if self._offers.has_model(name):  # the configuration's model of that name is back, with its own price
            await self._note_prices()
        return shown

    async def suggest(self, provider: str, model: str) -> Price | None:
        """Return what a provider's model costs by the list that comes with us."""
        return (await self._look_up(provider, (model,)))[0]

    async def _put(self, model: StoredModel, *, fresh: bool) -> None:
        told = {
            "routes": ", ".join(f"{route.provider}/{route.model}" for route in model.routes),
            "input": pricing.show(model.price.input),
            "output": pricing.show(model.price.output),
        }
        with acting("model.create" if fresh else "model.change", model.name, None, **told):
            try:
                await self._store.put_model(model, self._clock(), fresh=fresh)
            except Taken as taken:
                raise InvalidRequest(f"name: there is a model `{model.name}` already.", param="name") from taken
        await self._offers.refresh()

    async def _draft(self, wanted: NewModel, old: StoredModel | None = None, known: Price | None = None) -> StoredModel:
        """Check the wish and return the model that it asks for."""
        with rules.told():
            rules.check_model(wanted.name, wanted.routes, wanted.context_window, wanted.max_output_tokens)
        self._check_routes(wanted.routes)
        display = (wanted.display or "").strip() or None
        if display is not None and (len(display) > _LONGEST_DISPLAY or not display.isprintable()):
            raise InvalidRequest(f"display: expected at most {_LONGEST_DISPLAY} printable characters.", param="display")
        return StoredModel(
            wanted.name,
            wanted.routes,
            await self._price(wanted, known or (old.price if old else None)),
            display,
            wanted.context_window,
            wanted.max_output_tokens,
            old.created_at if old else self._clock(),
        )

    def _check_routes(self, routes: Sequence[Route]) -> None:
        if len(routes) > _MOST_ROUTES:
            raise InvalidRequest(f"routes: expected at most {_MOST_ROUTES}.", param="routes")
        known = {provider.name for provider in self._offers.configured.providers}
        known |= {provider.name for provider in self._offers.stored.providers}
        for place, route in enumerate(routes):
            if route.provider not in known:
                raise InvalidRequest(
                    f"routes[{place}].provider: there is no provider `{route.provider}`.",
                    param=f"routes[{place}].provider",
                )
            with rules.told():
                rules.check_upstream_name(f"routes[{place}].model", route.model)
                rules.check_range(f"routes[{place}].priority", route.priority, 0, 1000)

    async def _price(self, wanted: NewModel, known: Price | None) -> Price:
        for field in ("input", "output", "cached_input", "reasoning"):
            with rules.told():
                rules.check_price(field, getattr(wanted, field))
        if wanted.input is not None and wanted.output is not None:
            return Price(
                0,
                0,
                pricing.parse(wanted.input),
                pricing.parse(wanted.output),
                None if wanted.cached_input is None else pricing.parse(wanted.cached_input),
                None if wanted.reasoning is None else pricing.parse(wanted.reasoning),
                SOURCE,
            )
        if wanted.input is not None or wanted.output is not None:
            field = "input" if wanted.input is None else "output"
            raise InvalidRequest(f"{field}: expected both prices, of input and of output, or neither.", param=field)
        if known is not None:
            return known
        route = min(wanted.routes, key=lambda route: route.priority)
        if all(self._is_engine(route.provider) for route in wanted.routes):
            return msgspec.structs.replace(FREE, source=SOURCE)
        found = await self.suggest(route.provider, route.model)
        if found is None:
            raise InvalidRequest(
                f'input: no price is known for `{wanted.name}`. Type one, in USD per million tokens; "0" is a price.',
                param="input",
            )
        return found

    def _is_engine(self, provider: str) -> bool:
        return any(one.name == provider and one.kind == "engine" for one in self._offers.configured.providers)

    async def _look_up(self, provider: str, models: Sequence[str]) -> Sequence[Price | None]:
        urls = {one.name: one.base_url for one in self._offers.configured.providers}
        urls |= {one.name: one.base_url for one in self._offers.stored.providers}
        if self._means.price_list is None or provider not in urls:
            return [None] * len(models)
        return await self._means.price_list.ask(provider, urls[provider], models)

    async def _find(self, name: str) -> StoredModel:
        await self._offers.refresh()
        for model in self._offers.stored.models:
            if model.name == name:
                return model
        if any(model.name == name for model in self._offers.configured.models):
            raise InvalidRequest(
                f"`{name}` comes from the configuration file. It can be switched off here, and changed there.",
                param="name",
            )
        raise InvalidRequest(f"There is no model `{name}`.", param="name")


def _show_stored(model: StoredModel, state: EntryState) -> CatalogEntry:
    return CatalogEntry(
        name=model.name,
        display=model.display,
        origin="console",
        state=state,
        routes=model.routes,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        **_show_price(model.price),
    )


def _show_price(price: Price | None) -> dict[str, str | None]:
    if price is None:
        return dict.fromkeys(("input", "output", "cached_input", "reasoning"))
    return {
        "input": pricing.show(price.input),
        "output": pricing.show(price.output),
        "cached_input": None if price.cached_input is None else pricing.show(price.cached_input),
        "reasoning": None if price.reasoning is None else pricing.show(price.reasoning),
    }
