"""Feature switches over HTTP: the internal API, and the operators' part of the management API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router, get, post
from litestar.params import JSONBody

from techstone.control.switches.records import SwitchChange, SwitchShown

if TYPE_CHECKING:
    from techstone.control.switches.service import Switches


def route_switches(switches: Switches) -> Router:
    """Return the routes under /switches."""

    @get("/")
    async def list_switches() -> list[SwitchShown]:
        return list(await switches.list())

    @post("/", status_code=200)
    async def set_switch(data: JSONBody[SwitchChange]) -> SwitchShown:
        return await switches.set(data.name, on=data.on)

    return Router("/switches", route_handlers=[list_switches, set_switch])
