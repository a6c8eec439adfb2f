"""The part of the internal API's client that runs the catalog: providers, models, plans, feature switches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from techstone.control.catalog.records import (
    Addition,
    CatalogEntry,
    EntryChosen,
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
from techstone.control.switches.records import SwitchChange, SwitchShown

if TYPE_CHECKING:
    import msgspec

_T = TypeVar("_T")

# A trial waits for a provider, twice.
_TRIAL_SECONDS = 90.0


class Caller(Protocol):
    """Sends one request and reads its answer."""

    async def call(
        self, method: str, url: str, shape: type[_T], body: msgspec.Struct | None = None, *, seconds: float = ...
    ) -> _T:
        """Return the answer; raise ApiError as the service did."""


class Providers:
    """Providers; a secret travels in the body."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(self) -> tuple[ProviderShown, ...]:
        """Return all."""
        return await self._caller.call("GET", "/providers", tuple[ProviderShown, ...])

    async def create(self, wanted: NewProvider) -> ProviderShown:
        """Add one."""
        return await self._caller.call("POST", "/providers", ProviderShown, wanted)

    async def change(self, wanted: ProviderChange) -> ProviderShown:
        """Change one that was added."""
        return await self._caller.call("POST", "/providers/change", ProviderShown, wanted)

    async def switch(self, name: str, *, on: bool) -> ProviderShown:
        """Switch one on or off."""
        return await self._caller.call("POST", "/providers/switch", ProviderShown, Switched(name, on))

    async def remove(self, name: str) -> ProviderShown:
        """Forget one that was added."""
        return await self._caller.call("POST", "/providers/remove", ProviderShown, EntryChosen(name))

    async def test(self, wanted: Trial) -> TrialShown:
        """Have it tried."""
        return await self._caller.call("POST", "/providers/test", TrialShown, wanted, seconds=_TRIAL_SECONDS)


class Models:
    """Models, also those that are off."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(self) -> tuple[CatalogEntry, ...]:
        """Return all."""
        return await self._caller.call("GET", "/catalog", tuple[CatalogEntry, ...])

    async def create(self, wanted: NewModel) -> CatalogEntry:
        """Add one."""
        return await self._caller.call("POST", "/catalog", CatalogEntry, wanted)

    async def add(self, wanted: Addition) -> tuple[CatalogEntry, ...]:
        """Add several of a provider."""
        return await self._caller.call("POST", "/catalog/add", tuple[CatalogEntry, ...], wanted)

    async def change(self, wanted: NewModel) -> CatalogEntry:
        """Put all of one that was added anew."""
        return await self._caller.call("POST", "/catalog/change", CatalogEntry, wanted)

    async def switch(self, name: str, *, on: bool) -> CatalogEntry:
        """Switch one on or off."""
        return await self._caller.call("POST", "/catalog/switch", CatalogEntry, Switched(name, on))

    async def remove(self, name: str) -> CatalogEntry:
        """Forget one that was added."""
        return await self._caller.call("POST", "/catalog/remove", CatalogEntry, EntryChosen(name))


class Plans:
    """Plans."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(self) -> tuple[PlanShown, ...]:
        """Return all."""
        return await self._caller.call("GET", "/plans", tuple[PlanShown, ...])

    async def create(self, wanted: NewPlan) -> PlanShown:
        """Add one."""
        return await self._caller.call("POST", "/plans", PlanShown, wanted)

    async def change(self, wanted: NewPlan) -> PlanShown:
        """Give one other numbers."""
        return await self._caller.call("POST", "/plans/change", PlanShown, wanted)

    async def remove(self, name: str) -> PlanShown:
        """Forget one that was added."""
        return await self._caller.call("POST", "/plans/remove", PlanShown, EntryChosen(name))


class Switches:
    """Feature switches."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def list(self) -> tuple[SwitchShown, ...]:
        """Return all."""
        return await self._caller.call("GET", "/switches", tuple[SwitchShown, ...])

    async def set(self, name: str, *, on: bool | None) -> SwitchShown:
        """Set one."""
        return await self._caller.call("POST", "/switches", SwitchShown, SwitchChange(name, on))
