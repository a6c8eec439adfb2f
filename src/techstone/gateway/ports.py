"""What the data plane needs of the world, as small as it is needed. Adapters stand one floor above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from techstone.core.record import RequestRecord
    from techstone.core.snapshot import Provider, Timeouts, View


class Snapshots(Protocol):
    """The newest snapshot; the view is swapped by reference and never changed."""

    view: View | None
    """None until the first snapshot was read."""

    problem: str | None
    """Why the newest news could not be used (broken stream, unknown format), None while all is well."""


class Meter(Protocol):
    """Counts; must never block and never raise."""

    def finished(self, record: RequestRecord) -> None:
        """Take one finished chat request."""

    def answered(self, status: int) -> None:
        """Take the status of any answer, chat included."""


class AnswerSink(Protocol):
    """Who receives an upstream's answer while it arrives; called from the event loop, must not block."""

    def body_received(self, data: bytes) -> None:
        """Take the next piece of the body, decoded from its transfer coding."""

    def body_ended(self, problem: UpstreamProblem | None) -> None:
        """Hear once that the body is whole (None) or will never be (why)."""


class UpstreamProblem(Exception):
    """An upstream could not be used: `kind` says how, for retry, breaker and log."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


class Answer(Protocol):
    """An upstream's answer whose head has come."""

    status: int
    headers: dict[bytes, bytes]
    """Lower-case names; of a repeated name the last."""

    async def read(self, limit: int) -> bytes:
        """Return the whole body; raise UpstreamProblem if it breaks off, stalls or is larger than the limit."""

    def pipe(self, sink: AnswerSink) -> None:
        """Hand the body to the sink from now on, as it comes."""

    def pause(self) -> None:
        """Stop reading (back-pressure)."""

    def resume(self) -> None:
        """Read on."""

    def close(self) -> None:
        """Give the connection up at once; it is never pooled again unless the answer was whole."""


class UpstreamRequest:
    """One call: origin and head prepared once per route, the body fresh."""

    __slots__ = ("body", "provider", "request_id", "timeouts")

    def __init__(self, provider: Provider, body: bytes, request_id: bytes, timeouts: Timeouts) -> None:
        self.provider = provider
        self.body = body
        self.request_id = request_id
        self.timeouts = timeouts


class Upstreams(Protocol):
    """Opens upstream calls."""

    async def open(self, request: UpstreamRequest) -> Answer:
        """Send the request and return the answer once its head has come; raise UpstreamProblem."""
