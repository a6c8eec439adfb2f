"""Prices, codes and alerts over the internal API. A code is named in the body, never in a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router, get, post
from litestar.params import FromQuery, JSONBody

from techstone.control.billing.records import (
    AlertShown,
    CodeChosen,
    CodeShown,
    CreatedCode,
    ModelChosen,
    NewCodes,
    NewPrice,
    PriceShown,
    Redeemed,
    Redemption,
)

if TYPE_CHECKING:
    from techstone.control.billing.alerts import Alerts
    from techstone.control.billing.codes import Codes
    from techstone.control.billing.prices import Prices


def route_prices(prices: Prices) -> Router:
    """Return the routes under /internal/prices; a model is not named in the path, since it may have slashes."""

    @get("/")
    async def list_prices(model: FromQuery[str | None] = None) -> list[PriceShown]:
        return list(await prices.list(model))

    @post("/")
    async def set_price(data: JSONBody[NewPrice]) -> list[PriceShown]:
        return list(await prices.set(data))

    @post("/reset")
    async def reset(data: JSONBody[ModelChosen]) -> list[PriceShown]:
        return list(await prices.reset(data.model))

    return Router("/prices", route_handlers=[list_prices, set_price, reset])


def route_codes(codes: Codes) -> Router:
    """Return the routes under /internal/codes."""

    @post("/")
    async def create(data: JSONBody[NewCodes]) -> list[CreatedCode]:
        return list(await codes.create(data))

    @get("/")
    async def list_codes() -> list[CodeShown]:
        return list(await codes.list())

    @post("/redeem")
    async def redeem(data: JSONBody[Redemption]) -> Redeemed:
        return await codes.redeem(data)

    @post("/revoke")
    async def revoke(data: JSONBody[CodeChosen]) -> CodeShown:
        return await codes.revoke(data.id)

    return Router("/codes", route_handlers=[create, list_codes, redeem, revoke])


def route_alerts(alerts: Alerts) -> Router:
    """Return the routes under /internal/alerts."""

    @get("/")
    async def list_alerts(account: FromQuery[str | None] = None) -> list[AlertShown]:
        return list(await alerts.list(account))

    return Router("/alerts", route_handlers=[list_alerts])
