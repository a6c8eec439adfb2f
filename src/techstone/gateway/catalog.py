"""GET /v1/models and /v1/models/{id}: the models that the asking key may use."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import msgspec

from techstone.core.errors import ModelNotFound, NotReady
from techstone.wire.models import Model, ModelList

if TYPE_CHECKING:
    from techstone.core.snapshot import Model as Offered
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import Snapshots

_ENCODER = msgspec.json.Encoder()
_PREFIXES = (b"/v1/models/", b"/models/")


class Catalog:
    """The endpoints of the model list."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    async def list(self, exchange: Exchange) -> None:
        """Answer with every model that the key may use, in the order of the configuration."""
        offered = [_show(model) for model in self._allowed(exchange).values()]
        exchange.send_json(200, _ENCODER.encode(ModelList(offered)))

    async def show(self, exchange: Exchange) -> None:
        """Answer with one model; an id may contain slashes (conformance.md 2)."""
        prefix = next(prefix for prefix in _PREFIXES if exchange.path.startswith(prefix))
        name = unquote_to_bytes(exchange.path[len(prefix) :]).decode("utf-8", "replace")
        model = self._allowed(exchange).get(name)
        if model is None:
            # Also where the key may not use it: a list that hides a name must not confirm it.
            raise ModelNotFound(name[:200])
        exchange.send_json(200, _ENCODER.encode(_show(model)))

    def _allowed(self, exchange: Exchange) -> dict[str, Offered]:
        view = self._snapshots.view
        if view is None or exchange.principal is None:
            raise NotReady
        allowed = exchange.principal.key.models
        if allowed is None:
            return view.models
        return {name: model for name, model in view.models.items() if name in allowed}


def _show(model: Offered) -> Model:
    return Model(model.name, model.created, model.owned_by)
