"""The end of every chat request, by success, error or hang-up: one record of what it was and what it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.core.record import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.core.tally import Tally
    from techstone.gateway.dispatch import Attempt
    from techstone.gateway.exchange import Exchange
    from techstone.gateway.ports import Meter

# What nginx writes for a client that hung up; nobody is sent it.
HUNG_UP = 499


class Settlement:
    """Writes records. `clock` is the event loop's."""

    def __init__(self, meter: Meter, clock: Callable[[], float]) -> None:
        self._meter = meter
        self._clock = clock

    def settle(
        self,
        exchange: Exchange,
        model: str,
        tally: Tally | None,
        attempt: Attempt,
        outcome: Outcome,
    ) -> None:
        """Write the record of a request that is over."""
        principal = exchange.principal
        usage = tally.settled() if tally is not None and outcome.delivered else None
        self._meter.finished(
            RequestRecord(
                request_id=exchange.request_id.decode(),
                account=principal.account.id if principal else "",
                key=principal.key.id if principal else "",
                model=model,
                provider=attempt.provider,
                upstream_model=attempt.model,
                status=outcome.status,
                stream=outcome.stream,
                prompt_tokens=usage.prompt_tokens if usage else 0,
                completion_tokens=usage.completion_tokens if usage else 0,
                started=exchange.started,
                first_byte=outcome.first_byte,
                ended=self._clock(),
                error_code=outcome.error_code,
                attempts=attempt.count,
            )
        )


class Outcome:
    """How a request ended; filled in while it runs. Starts as a hang-up, which is what an unforeseen end is."""

    __slots__ = ("delivered", "error_code", "first_byte", "status", "stream")

    def __init__(self, *, stream: bool) -> None:
        self.status = HUNG_UP
        self.stream = stream
        self.delivered = False
        self.first_byte = 0.0
        self.error_code: str | None = "client_closed"
