"""Whole answers of the chat: openai's types, which also know their cost and the limits after them.

What openai made of a response is rehoused, not made again: whatever openai does to build an answer, ours is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from openai import NotGiven
from openai.types import chat

from ._cost import read_cost
from ._ratelimit import RateLimit

if TYPE_CHECKING:
    from decimal import Decimal

    import httpx2
    from openai._models import FinalRequestOptions

_Content = TypeVar("_Content")
_RATE_LIMIT = "_rate_limit"
_COST = "_cost"
_EXCLUDED = "__exclude_fields__"  # pydantic 1's name, which openai adds `_request_id` to


class Billed:
    """What the service says beside an answer. No pydantic fields, so that `model_dump()` is openai's."""

    @property
    def rate_limit(self) -> RateLimit:
        """The limits after this answer."""
        found = self.__dict__.get(_RATE_LIMIT)
        return found if isinstance(found, RateLimit) else RateLimit()

    @property
    def cost(self) -> Decimal | None:
        """What this answer cost, in US dollars; None if the service did not say."""
        found: Decimal | None = self.__dict__.get(_COST)
        return found


class ChatCompletion(Billed, chat.ChatCompletion):
    """openai's ChatCompletion with `rate_limit` and `cost`."""


class ParsedChatCompletion(Billed, chat.ParsedChatCompletion[_Content], Generic[_Content]):
    """openai's ParsedChatCompletion with `rate_limit` and `cost`."""


def bill(options: FinalRequestOptions, cast_to: object, response: httpx2.Response) -> FinalRequestOptions:
    """Add our step to what openai does to a chat answer once it is read: after its own, which makes the parsed kind."""
    if cast_to is chat.ChatCompletion:
        parse = options.post_parser

        def finish(read: object) -> object:
            answer = read if isinstance(parse, NotGiven) else parse(read)
            return _rehouse(answer, response) if isinstance(answer, chat.ChatCompletion) else answer

        options.post_parser = finish
    return options


def _rehouse(answer: chat.ChatCompletion, response: httpx2.Response) -> chat.ChatCompletion:
    parsed = isinstance(answer, chat.ParsedChatCompletion)
    billed = ParsedChatCompletion.__new__(ParsedChatCompletion) if parsed else ChatCompletion.__new__(ChatCompletion)
    billed.__setstate__(answer.__getstate__())
    # Beside the fields, where openai keeps `_request_id` too: pydantic dumps it not, and pydantic 1 only if told so.
    beside = {_RATE_LIMIT: RateLimit.of(response.headers), _COST: read_cost(response.headers, answer.usage)}
    vars(billed).update(beside)
    if not hasattr(billed, "model_config"):
        vars(billed)[_EXCLUDED] = {*beside, _EXCLUDED}
    return billed
