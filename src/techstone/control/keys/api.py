"""Keys over the internal API. A key is named in the body, never in a URL: it could be the key itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router, get, post
from litestar.params import FromQuery, JSONBody

from techstone.control.keys.records import Alteration, CreatedKey, KeyChosen, KeyShown, NewKey, Rotation

if TYPE_CHECKING:
    from techstone.control.keys.service import Keys


def route_keys(keys: Keys) -> Router:
    """Return the routes under /internal/keys."""

    @post("/")
    async def create(data: JSONBody[NewKey]) -> CreatedKey:
        return await keys.create(data)

    @get("/")
    async def list_all(account: FromQuery[str | None] = None) -> list[KeyShown]:
        return list(await keys.list(account))

    @post("/revoke")
    async def revoke(data: JSONBody[KeyChosen]) -> KeyShown:
        return await keys.revoke(data.key)

    @post("/change")
    async def change(data: JSONBody[Alteration]) -> KeyShown:
        return await keys.change(data.key, data.change)

    @post("/disable")
    async def disable(data: JSONBody[KeyChosen]) -> KeyShown:
        return await keys.disable(data.key)

    @post("/enable")
    async def enable(data: JSONBody[KeyChosen]) -> KeyShown:
        return await keys.enable(data.key)

    @post("/rotate")
    async def rotate(data: JSONBody[Rotation]) -> CreatedKey:
        return await keys.rotate(data.key, data.overlap)

    return Router("/keys", route_handlers=[create, list_all, revoke, change, disable, enable, rotate])
