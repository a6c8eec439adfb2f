"""The catalog: plans, models and providers in the seam's own structs, so that nothing is said twice."""

from __future__ import annotations

import msgspec

from techstone.core.snapshot import Model, Plan, Provider


class Catalog(msgspec.Struct, frozen=True):
    """Everything on offer, as configured. The first plan is the one that an account gets when none is named."""

    plans: tuple[Plan, ...]
    models: tuple[Model, ...] = ()
    providers: tuple[Provider, ...] = ()


class ModelShown(msgspec.Struct, frozen=True):
    """A model as people and scripts see it; `served_by` names the providers in the order in which they are tried."""

    name: str
    owned_by: str
    context_window: int | None
    max_output_tokens: int | None
    served_by: tuple[str, ...]
