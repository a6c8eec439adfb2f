"""How a request of the management API is made: its address, the admin key, and how arguments are written."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from ._errors import MissingAdminKeyError
from ._settings import locate_management

if TYPE_CHECKING:
    from openai import RequestOptions

    from ._client import AsyncTechStoneAI, TechStoneAI


class Place(NamedTuple):
    """Where a request goes and what goes with it."""

    url: str
    options: RequestOptions


def locate(client: TechStoneAI | AsyncTechStoneAI, path: str, **query: str | int | None) -> Place:
    """Return the place of a part of the management API; raise MissingAdminKeyError before anything is sent."""
    if not client.admin_key:
        raise MissingAdminKeyError
    # openai has the same two kinds of keys, and by this word sends the second one and never the first.
    options: RequestOptions = {"security": {"admin_api_key_auth": True}}
    if given := {name: value for name, value in query.items() if value is not None}:
        options["params"] = given
    return Place(locate_management(client.base_url, path), options)


def write_time(moment: datetime | float | None) -> int | None:
    """Return unix seconds. A datetime without a zone is local time, as for Python itself."""
    if moment is None:
        return None
    return math.floor(moment.timestamp() if isinstance(moment, datetime) else moment)


def write_seconds(duration: timedelta | int) -> int:
    """Return a duration in whole seconds, rounded up: what is promised for 1.5 s must last 1.5 s."""
    return math.ceil(duration.total_seconds()) if isinstance(duration, timedelta) else duration


def write_amount(amount: Decimal | str | int) -> str:
    """Return an amount of US dollars without an exponent."""
    return format(amount, "f") if isinstance(amount, Decimal) else str(amount)
