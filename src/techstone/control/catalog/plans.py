"""What may be done with plans: list, add, change, remove. Those of the configuration are changed there alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.acts import acting
from techstone.control.catalog import rules
from techstone.control.catalog.ports import InUse
from techstone.control.catalog.records import PlanShown
from techstone.control.ports import Taken
from techstone.core.errors import InvalidRequest
from techstone.core.snapshot import Plan

if TYPE_CHECKING:
    from techstone.control.catalog.ports import CatalogStore
    from techstone.control.catalog.records import NewPlan
    from techstone.control.catalog.service import Offers
    from techstone.control.ports import Holders


class Plans:
    """Every plan, with how many accounts are on it."""

    def __init__(self, store: CatalogStore, offers: Offers, holders: Holders) -> None:
        self._store = store
        self._offers = offers
        self._holders = holders

    async def list(self) -> tuple[PlanShown, ...]:
        """Return all, those of the configuration first."""
        await self._offers.refresh()
        counts = await self._holders.count_plans()
        configured = {plan.name for plan in self._offers.configured.plans}
        return tuple(
            PlanShown(
                **msgspec.structs.asdict(plan),
                origin="configuration file" if plan.name in configured else "console",
                accounts=counts.get(plan.name, 0),
            )
            for plan in self._offers.catalog.plans
        )

    async def show(self, name: str) -> PlanShown:
        """Return one; raise InvalidRequest."""
        for plan in await self.list():
            if plan.name == name:
                return plan
        raise InvalidRequest(f"There is no plan `{name}`.", param="name")

    async def create(self, wanted: NewPlan) -> PlanShown:
        """Add one."""
        return await self._put(wanted, fresh=True)

    async def change(self, wanted: NewPlan) -> PlanShown:
        """Give one that was added other numbers, in force for its accounts at once."""
        await self._find(wanted.name)
        return await self._put(wanted, fresh=False)

    async def remove(self, name: str) -> PlanShown:
        """Forget one that was added, once no account is on it."""
        await self._find(name)
        shown = await self.show(name)
        try:
            with acting("plan.remove", name):
                await self._store.remove_plan(name)
        except InUse as use:
            raise InvalidRequest(
                f"`{name}` is the plan of {', '.join(use.by)}. Put them on another plan first.", param="name"
            ) from use
        await self._offers.refresh()
        return shown

    async def _put(self, wanted: NewPlan, *, fresh: bool) -> PlanShown:
        with rules.told():
            rules.check_plan_name(wanted.name)
            rules.check_plan(wanted.rpm, wanted.tpm, wanted.concurrent)
        if any(plan.name == wanted.name for plan in self._offers.configured.plans):
            raise InvalidRequest(
                f"name: `{wanted.name}` comes from the configuration file; choose another name.", param="name"
            )
        plan = Plan(wanted.name, wanted.rpm, wanted.tpm, wanted.concurrent, wanted.billing)
        told = msgspec.structs.asdict(plan)
        told.pop("name")
        with acting("plan.create" if fresh else "plan.change", plan.name, None, **told):
            try:
                await self._store.put_plan(plan, fresh=fresh)
            except Taken as taken:
                raise InvalidRequest(f"name: there is a plan `{wanted.name}` already.", param="name") from taken
        return await self.show(plan.name)

    async def _find(self, name: str) -> None:
        await self._offers.refresh()
        if any(plan.name == name for plan in self._offers.configured.plans):
            raise InvalidRequest(f"`{name}` comes from the configuration file, and is changed there.", param="name")
        if all(plan.name != name for plan in self._offers.stored.plans):
            raise InvalidRequest(f"There is no plan `{name}`.", param="name")
