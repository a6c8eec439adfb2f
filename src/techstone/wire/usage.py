"""The usage object: what a request took, in tokens, as OpenAI's document has it."""

from __future__ import annotations

import msgspec


class PromptDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """Parts of the prompt's tokens."""

    cached_tokens: int | None = None
    audio_tokens: int | None = None
    cache_write_tokens: int | None = None
    text_tokens: int | None = None
    image_tokens: int | None = None


class CompletionDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """Parts of the completion's tokens."""

    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    text_tokens: int | None = None


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one request; `total_tokens` is the sum, and all choices share one prompt."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class BilledUsage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A usage as it is sent: OpenAI's fields, and beside them the `cost` in USD, a decimal string."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    cost: str | None = None

    @classmethod
    def of(cls, usage: Usage, cost: str) -> BilledUsage:
        """Return the usage with its cost."""
        prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
        return cls(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, prompt, completion, cost)
