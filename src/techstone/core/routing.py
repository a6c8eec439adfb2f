"""Which upstreams to try for a model, in which order: by priority, within a priority by weighted chance.

Randomness comes in: `chances` are numbers in [0, 1), one a route.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techstone.core.snapshot import Route


def plan(routes: tuple[Route, ...], chances: Sequence[float]) -> list[Route]:
    """Return the routes in the order in which to try them. A route of weight 0 comes last in its priority.

    Weighted order without replacement: the exponential race of Efraimidis and Spirakis (2006), key = -ln(u) / weight.
    """
    if len(routes) == 1:
        return [routes[0]]
    keyed = []
    for position, (route, chance) in enumerate(zip(routes, chances, strict=True)):
        key = -math.log(1.0 - chance) / route.weight if route.weight > 0 else math.inf
        keyed.append((route.priority, key, position, route))
    keyed.sort(key=lambda entry: entry[:3])
    return [entry[3] for entry in keyed]
