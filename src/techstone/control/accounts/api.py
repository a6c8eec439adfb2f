"""Accounts over the internal API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router, get, post
from litestar.params import FromQuery, JSONBody

from techstone.control.accounts.records import AccountShown, CapChange, CreditAdded, NewAccount, PlanChange, Suspension

if TYPE_CHECKING:
    from techstone.control.accounts.service import Accounts


def route_accounts(accounts: Accounts) -> Router:
    """Return the routes under /internal/accounts; `who` is an email or id."""

    @post("/")
    async def create(data: JSONBody[NewAccount]) -> AccountShown:
        return await accounts.create(data)

    @get("/")
    async def list_all() -> list[AccountShown]:
        return list(await accounts.list())

    @get("/one")
    async def show(who: FromQuery[str]) -> AccountShown:
        return await accounts.show(who)

    @post("/plan")
    async def set_plan(who: FromQuery[str], data: JSONBody[PlanChange]) -> AccountShown:
        return await accounts.set_plan(who, data)

    @post("/cap")
    async def set_cap(who: FromQuery[str], data: JSONBody[CapChange]) -> AccountShown:
        return await accounts.set_cap(who, data.monthly_cap)

    @post("/credit")
    async def add_credit(who: FromQuery[str], data: JSONBody[CreditAdded]) -> AccountShown:
        return await accounts.add_credit(who, data.usd)

    @post("/suspension")
    async def suspend(who: FromQuery[str], data: JSONBody[Suspension]) -> AccountShown:
        return await accounts.suspend(who, suspended=data.suspended)

    return Router("/accounts", route_handlers=[create, list_all, show, set_plan, set_cap, add_credit, suspend])
