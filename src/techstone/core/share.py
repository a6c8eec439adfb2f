"""What one of several gateways may give by itself, while they cannot ask each other: its part, rounded down.

So all of them together never give more than the plan, however long that lasts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core.snapshot import Limits

if TYPE_CHECKING:
    from techstone.core.view import Principal


def divide(principal: Principal, gateways: int) -> Principal:
    """Return who asks, with the limits of account and key divided by the number of gateways."""
    if gateways <= 1:
        return principal
    limits, key = principal.limits, principal.key
    return msgspec.structs.replace(
        principal,
        limits=Limits(limits.rpm // gateways, limits.tpm // gateways, limits.concurrent // gateways),
        key=msgspec.structs.replace(
            key,
            rpm=_divide(key.rpm, gateways),
            tpm=_divide(key.tpm, gateways),
            concurrent=_divide(key.concurrent, gateways),
        ),
    )


def _divide(limit: int | None, gateways: int) -> int | None:
    return None if limit is None else limit // gateways
