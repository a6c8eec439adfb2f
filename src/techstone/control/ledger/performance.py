"""How models do, told by requests that have ended: how many did not fail here, and how long they took. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from techstone.control.ledger.records import Performance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from techstone.control.ledger.records import Timing


def measure(timings: Iterable[Timing]) -> dict[str, Performance]:
    """Return how each model did."""
    by_model: dict[str, list[Timing]] = {}
    for timing in timings:
        by_model.setdefault(timing.model, []).append(timing)
    return {model: _judge(found) for model, found in by_model.items()}


def failed_here(timing: Timing) -> bool:
    """Say whether a request failed on our side: a 5xx, or an answer that broke off after it had begun.

    What the client did wrong, a limit that it reached, and a hang-up (499) are not ours.
    """
    return timing.status >= 500 or (timing.status < 400 and timing.error_code is not None)


def rank(values: Sequence[float], share: float) -> float | None:
    """Return the value that a share of all do not exceed (nearest rank); None of nothing."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def _judge(found: Sequence[Timing]) -> Performance:
    good = [timing for timing in found if timing.status < 400 and timing.error_code is None]
    first = [timing.first_byte / 1000 for timing in good if timing.stream and timing.first_byte]
    total = [timing.duration / 1000 for timing in good]
    return Performance(
        requests=len(found),
        available=1 - sum(map(failed_here, found)) / len(found),
        first_median=rank(first, 0.5),
        first_p95=rank(first, 0.95),
        total_median=rank(total, 0.5),
        total_p95=rank(total, 0.95),
    )
