"""What a client is told when a limit refuses: the error that fits, with the true wait and the limit's name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from techstone.core import money
from techstone.core.errors import ApiError, QuotaExceeded, RateLimited
from techstone.core.flood import FACTOR

if TYPE_CHECKING:
    from techstone.core.limits import Refusal

_LIMITED = {
    "requests": "{limit:,} request{s} per minute",
    "tokens": "{limit:,} token{s} per minute",
    "concurrency": "{limit:,} concurrent request{s}",
}
_CAPPED = {"monthly_cap": "monthly spending cap", "daily_cap": "daily spending cap"}


def explain(refusal: Refusal) -> ApiError:
    """Return the error for a refusal."""
    error = _explain(refusal)
    error.axis, error.scope = refusal.axis, refusal.scope
    return error


def _explain(refusal: Refusal) -> ApiError:
    running = " now, as your running requests hold the rest. Please retry after 1 second" if refusal.wait else ""
    if refusal.axis == "credit":
        return QuotaExceeded(
            f"Your credit does not cover this request: up to ${money.show(refusal.needed)} must be held for it and "
            f"${money.show(refusal.limit)} is left{running or '. Add credit, or lower max_tokens'}.",
            refusal.wait,
        )
    if refusal.axis in _CAPPED:
        return QuotaExceeded(
            f"The {_CAPPED[refusal.axis]} of your {refusal.scope} (${money.show(refusal.limit)}) does not cover this "
            f"request, for which up to ${money.show(refusal.needed)} must be held{running}.",
            refusal.wait,
        )
    if refusal.wait is None:
        error = RateLimited(
            f"This request may take {refusal.needed:,} tokens, more than the limit of your {refusal.scope} "
            f"({_name(refusal)}) ever allows. Shorten it, or lower max_tokens.",
            None,
        )
        error.should_retry = False
        return error
    if refusal.axis == "flood":
        done = f"sent more than {refusal.limit:,} requests per minute, {FACTOR} times your plan"
    else:
        done = f"exceeded the rate limit of your {refusal.scope}, {_name(refusal)}"
    seconds = math.ceil(refusal.wait) or 1
    return RateLimited(
        f"You have {done}. Please retry after {seconds} second{'' if seconds == 1 else 's'}.", refusal.wait
    )


def _name(refusal: Refusal) -> str:
    return _LIMITED[refusal.axis].format(limit=refusal.limit, s="" if refusal.limit == 1 else "s")
