"""Who reads the documentation while logged in: their own key's hint stands in its snippets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.control.console.playground import is_passing
from techstone.control.console.session import PageRequest, recognise
from techstone.core.roles import may

if TYPE_CHECKING:
    from techstone.control.identity.service import Identity
    from techstone.control.keys.service import Keys


class Reader:
    """Finds the hint of the reader's newest key for inference, such as `ts_live_...mQZm`; none of the playground's."""

    def __init__(self, identity: Identity, keys: Keys) -> None:
        self._identity = identity
        self._keys = keys

    async def find_hint(self, request: PageRequest) -> str | None:
        """Return it; None for who is not logged in, has no key, or may not see any."""
        visitor = await recognise(self._identity, request)
        if visitor is None or visitor.seat is None or not may(visitor.seat.role, "keys.read"):
            return None
        found = await self._keys.list(visitor.seat.account)
        lasting = (key for key in found if not is_passing(key))
        hints = [key.hint for key in lasting if key.state == "active" and key.kind == "inference"]
        return hints[-1] if hints else None
