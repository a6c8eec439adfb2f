"""What operators added to the catalog, and the feature switches, in memory: the same promises as the database's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.adapters.storage.catalog import NAMED
from techstone.control.catalog.ports import InUse
from techstone.control.catalog.records import Stored
from techstone.control.ports import Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from techstone.adapters.storage.memory_billing import MemoryBilling
    from techstone.control.accounts.records import Account
    from techstone.control.catalog.records import EntryKind, StoredModel, StoredProvider
    from techstone.core.snapshot import Plan


class MemoryCatalog:
    """Implements `CatalogStore`. `rise` raises the store's revision, `note` notes the act."""

    def __init__(
        self,
        accounts: Mapping[str, Account],
        billing: MemoryBilling,
        rise: Callable[[], int],
        note: Callable[[], None],
    ) -> None:
        self._accounts = accounts
        self._billing = billing
        self._rise = rise
        self._note = note
        self._providers: dict[str, StoredProvider] = {}
        self._models: dict[str, StoredModel] = {}
        self._plans: dict[str, Plan] = {}
        self._off: set[tuple[str, str]] = set()

    async def read(self) -> Stored:
        """Return all of it."""
        return Stored(
            tuple(sorted(self._providers.values(), key=lambda provider: (provider.created_at, provider.name))),
            tuple(sorted(self._models.values(), key=lambda model: (model.created_at, model.name))),
            tuple(sorted(self._plans.values(), key=lambda plan: plan.name)),
            frozenset(self._off),
        )

    async def put_provider(self, provider: StoredProvider, *, fresh: bool) -> None:
        """Store it; raise Taken("name") where a fresh one's name is in use."""
        _refuse_taken(provider.name, self._providers, fresh=fresh)
        self._change()
        self._providers[provider.name] = provider

    async def remove_provider(self, name: str) -> bool:
        """Forget it; say whether it was there. Raise InUse while stored models have routes to it."""
        used = sorted(
            model.name for model in self._models.values() if any(route.provider == name for route in model.routes)
        )
        if used:
            raise InUse(tuple(used[:NAMED]))
        self._change()
        self._off.discard(("provider", name))
        return self._providers.pop(name, None) is not None

    async def put_model(self, model: StoredModel, now: int, *, fresh: bool) -> None:
        """Store it and note its price as configured; raise Taken("name") as above."""
        _refuse_taken(model.name, self._models, fresh=fresh)
        self._change()
        self._models[model.name] = model
        self._billing.note_prices({model.name: model.price}, now)

    async def remove_model(self, name: str) -> bool:
        """Forget it; say whether it was there."""
        self._change()
        self._off.discard(("model", name))
        return self._models.pop(name, None) is not None

    async def put_plan(self, plan: Plan, *, fresh: bool) -> None:
        """Store it; raise Taken("name") as above."""
        _refuse_taken(plan.name, self._plans, fresh=fresh)
        self._change()
        self._plans[plan.name] = plan

    async def remove_plan(self, name: str) -> bool:
        """Forget it; say whether it was there. Raise InUse while accounts are on it."""
        used = sorted(account.email for account in self._accounts.values() if account.plan == name)
        if used:
            raise InUse(tuple(used[:NAMED]))
        self._change()
        return self._plans.pop(name, None) is not None

    async def switch(self, kind: EntryKind, name: str, *, on: bool) -> None:
        """Switch an entry on or off."""
        self._change()
        if on:
            self._off.discard((kind, name))
        else:
            self._off.add((kind, name))

    def _change(self) -> None:
        self._note()
        self._rise()


class MemorySwitches:
    """Implements `SwitchStore`."""

    def __init__(self, rise: Callable[[], int], note: Callable[[], None]) -> None:
        self._rise = rise
        self._note = note
        self._set: dict[str, bool] = {}

    async def read(self) -> Mapping[str, bool]:
        """Return the switches that are set, by name."""
        return dict(self._set)

    async def set(self, name: str, *, on: bool | None) -> None:
        """Set one, or (None) have its default count again."""
        self._note()
        self._rise()
        if on is None:
            self._set.pop(name, None)
        else:
            self._set[name] = on


def _refuse_taken(name: str, there: Mapping[str, object], *, fresh: bool) -> None:
    if fresh and name in there:
        raise Taken("name")
