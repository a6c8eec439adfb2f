"""The end of every chat request, by success, error or hang-up: one record of what it was and what it took.

Settled exactly once, and before the client has the last byte of its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core.record import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.core.tally import Tally
    from techstone.gateway.dispatch import Attempt
    from techstone.gateway.exchange import Exchange

# What nginx writes for a client that hung up; nobody is sent it.
HUNG_UP = 499


class Outcome(msgspec.Struct, gc=False):
    """How a request ended; filled in while it runs. Starts as a hang-up, which is what an unforeseen end is."""

    stream: bool
    status: int = HUNG_UP
    error_code: str | None = "client_closed"
    delivered: bool = False
    first_byte: float = 0.0

    def succeed(self, first_byte: float) -> None:
        """Hear that the answer is whole; its first byte leaves at that time, or left."""
        self.status = 200
        self.error_code = None
        self.delivered = True
        self.first_byte = first_byte


class Settlement:
    """Writes records. `clock` is the event loop's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def settle(self, exchange: Exchange, model: str, tally: Tally, attempt: Attempt, outcome: Outcome) -> None:
        """Write the record of a request that is over, if it is not written yet."""
        principal = exchange.principal
        if exchange.record is not None or principal is None:
            return
        usage = tally.settled() if outcome.delivered else None
        exchange.record = RequestRecord(
            principal.account.id,
            principal.key.id,
            model,
            attempt.provider,
            attempt.model,
            outcome.status,
            outcome.stream,
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
            exchange.started,
            outcome.first_byte,
            self._clock(),
            outcome.error_code,
            attempt.count,
        )
