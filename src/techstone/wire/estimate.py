"""POST /v1/estimate: what a chat request would take, before it is sent."""

import msgspec


class EstimatedCost(msgspec.Struct, frozen=True):
    """USD as decimal strings: what the prompt costs by our count, and the most that the whole can cost."""

    prompt: str
    maximum: str


class EstimatedLimits(msgspec.Struct, frozen=True):
    """The limits that would apply, and what is left of them now. `credit` in USD, None where it is not prepaid."""

    requests_per_minute: int
    remaining_requests: int
    tokens_per_minute: int
    remaining_tokens: int
    concurrent: int
    credit: str | None


class EstimatedRoute(msgspec.Struct, frozen=True):
    """An upstream that would be tried, in order."""

    provider: str
    model: str


class Estimate(msgspec.Struct, frozen=True):
    """Tokens by our own count; `reserved_tokens` is what the plan must have room for, `refusal` why not now."""

    model: str
    prompt_tokens: int
    max_completion_tokens: int | None
    reserved_tokens: int
    cost: EstimatedCost
    limits: EstimatedLimits
    route: list[EstimatedRoute]
    admissible: bool
    refusal: str | None
    object: str = "estimate"
