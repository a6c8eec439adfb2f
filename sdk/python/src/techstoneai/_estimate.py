"""What a chat request would take, before it is sent: POST /v1/estimate, with the ordinary key."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal, cast

from openai.resources.chat import completions

from ._record import Record

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI, RequestOptions

    from ._chat import ChatRequest, WholeRequest

_PATH = "/estimate"


class EstimatedCost(Record):
    """What the prompt costs by the service's own count, and the most that the whole can cost; US dollars."""

    prompt: Decimal
    maximum: Decimal


class EstimatedLimits(Record):
    """The limits that would apply and what is left of them now. `credit` in US dollars; None where not prepaid."""

    requests_per_minute: int
    remaining_requests: int
    tokens_per_minute: int
    remaining_tokens: int
    concurrent: int
    credit: Decimal | None = None


class EstimatedRoute(Record):
    """An upstream that would be tried, in order."""

    provider: str
    model: str


class Estimate(Record):
    """Tokens by the service's own count. `refusal` says why the request would not be admitted now."""

    object: Literal["estimate"]
    model: str
    prompt_tokens: int
    max_completion_tokens: int | None = None
    reserved_tokens: int
    cost: EstimatedCost
    limits: EstimatedLimits
    route: list[EstimatedRoute]
    admissible: bool
    refusal: str | None = None


# A request is made by openai's own `create`, so that every parameter means what it means there; only where it goes to,
# and what comes back, is another.


class Estimates(completions.Completions):
    """Estimates of a client."""

    def __init__(self, client: OpenAI) -> None:
        super().__init__(client)
        self._post = self._send  # type: ignore[assignment] # one of its overloads is enough here

    def ask(self, request: ChatRequest) -> Estimate:
        """Send a request to be estimated."""
        return cast("Estimate", self.create(**cast("WholeRequest", request)))

    def _send(self, _: str, *, body: object, options: RequestOptions, **__: object) -> Estimate:
        return self._client.post(_PATH, cast_to=Estimate, body=body, options=options)


class AsyncEstimates(completions.AsyncCompletions):
    """Estimates of an async client."""

    def __init__(self, client: AsyncOpenAI) -> None:
        super().__init__(client)
        self._post = self._send  # type: ignore[assignment] # one of its overloads is enough here

    async def ask(self, request: ChatRequest) -> Estimate:
        """Send a request to be estimated."""
        return cast("Estimate", await self.create(**cast("WholeRequest", request)))

    async def _send(self, _: str, *, body: object, options: RequestOptions, **__: object) -> Estimate:
        return await self._client.post(_PATH, cast_to=Estimate, body=body, options=options)
