"""Which version of a price is in force when. Pure.

Two layers: what is configured, which the control plane notes at its start, and over it what the operator set. A reset
ends all that was set before it. Within a layer the version that began last is in force; of two that begin at the same
moment, the one made last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.control.billing.records import OPERATOR, PriceVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from techstone.core.pricing import Price


def newest_configured(versions: Iterable[PriceVersion]) -> PriceVersion | None:
    """Return the configured version that was noted last."""
    return max(
        (version for version in versions if version.price.source != OPERATOR),
        key=lambda version: version.price.version,
        default=None,
    )


def follow(found: Iterable[PriceVersion], configured: Mapping[str, Price], now: int) -> tuple[PriceVersion, ...]:
    """Return the versions to add, so that what is configured now is noted; a model's first is valid from 0."""
    noted: dict[str, Price] = {}
    for version in sorted(found, key=lambda version: version.price.version):
        if version.price.source != OPERATOR:
            noted[version.model] = version.price
    fresh = []
    for model, price in configured.items():
        known = noted.get(model)
        if known is None or price != msgspec.structs.replace(known, version=price.version, valid_from=price.valid_from):
            begins = 0 if known is None else now
            fresh.append(PriceVersion(model, msgspec.structs.replace(price, valid_from=begins), now))
    return tuple(fresh)


def arrange(versions: Sequence[PriceVersion], now: int | None = None) -> tuple[Price, ...]:
    """Return a model's prices as they follow each other, oldest first; with `now`, without those that are over."""
    arranged: list[Price] = []
    for moment in sorted({version.price.valid_from for version in versions}):
        price = _choose(versions, moment)
        if not arranged or arranged[-1].version != price.version:
            arranged.append(msgspec.structs.replace(price, valid_from=moment))
    if now is not None:
        while len(arranged) > 1 and arranged[1].valid_from <= now:
            del arranged[0]
    return tuple(arranged)


def _choose(versions: Sequence[PriceVersion], moment: int) -> Price:
    begun = [version for version in versions if version.price.valid_from <= moment]
    ended = max((version.price.version for version in begun if version.reset), default=0)
    by_hand = [version for version in begun if version.price.source == OPERATOR and version.price.version > ended]
    layer = by_hand or [version for version in begun if version.price.source != OPERATOR] or begun
    return max(layer, key=lambda version: (version.price.valid_from, version.price.version)).price
