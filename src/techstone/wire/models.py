"""The model list of GET /v1/models, as OpenAI's document has it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Model(msgspec.Struct, frozen=True):
    """A model that can be asked for. `created` is in unix seconds."""

    id: str
    created: int
    owned_by: str
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct, frozen=True):
    """All of them."""

    data: list[Model]
    object: Literal["list"] = "list"
