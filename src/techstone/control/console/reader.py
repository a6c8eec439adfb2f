"""Who reads the documentation while logged in: a hint of their own key stands in it, and a model answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.console.playground import find_guide, is_passing, may_play
from techstone.control.console.session import PageRequest, recognise
from techstone.control.pages.site import Reading
from techstone.core.roles import may

if TYPE_CHECKING:
    from techstone.control.identity.records import Seat
    from techstone.control.identity.service import Identity
    from techstone.control.services import Services


class Reader:
    """Sees what is for a reader alone."""

    def __init__(self, identity: Identity, services: Services) -> None:
        self._identity = identity
        self._services = services

    async def look(self, request: PageRequest) -> Reading:
        """Return the hint of the newest key for inference, such as `ts_live_...mQZm`, and the model to ask.

        Nothing to who is not logged in; no key of the playground's, and none to who may not see any.
        """
        visitor = await recognise(self._identity, request)
        if visitor is None or visitor.seat is None:
            return Reading()
        open_to_all = self._services.switches.is_on("playground")
        guide = find_guide(self._services.catalog.show_models()) if open_to_all and may_play(visitor) else None
        return Reading(await self._find_hint(visitor.seat), guide)

    async def _find_hint(self, seat: Seat) -> str | None:
        if not may(seat.role, "keys.read"):
            return None
        found = await self._services.keys.list(seat.account)
        lasting = (key for key in found if not is_passing(key))
        hints = [key.hint for key in lasting if key.state == "active" and key.kind == "inference"]
        return hints[-1] if hints else None
