"""GET /v1/limits: what the asking key has left and who was refused lately. Nothing is counted, no model is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core.errors import NotReady

if TYPE_CHECKING:
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import LimitStore

_ENCODER = msgspec.json.Encoder()


class Survey:
    """The endpoint."""

    def __init__(self, limits: LimitStore) -> None:
        self._limits = limits

    async def show(self, exchange: Exchange) -> None:
        """Answer with where the account and the key stand, by the books that decide."""
        if exchange.principal is None:
            raise NotReady
        exchange.send_json(200, _ENCODER.encode(self._limits.survey(exchange.principal)))
