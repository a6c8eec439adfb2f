"""Streamed answers of the chat: openai's streams, which also know the limits at once and, at the end, their cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai import AsyncStream, Stream
from openai.types.chat import ChatCompletionChunk

from ._cost import read_cost
from ._ratelimit import RateLimit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from decimal import Decimal

    import httpx2
    from openai.types import CompletionUsage

# What openai asks for in `chat.completions.create`; any other class is the caller's own wish.
_OURS: dict[object, type[Stream[Any] | AsyncStream[Any]]]


class _Metered:
    """What both streams share: the response, and the usage that was seen last."""

    response: httpx2.Response
    _usage: CompletionUsage | None = None

    @property
    def rate_limit(self) -> RateLimit:
        """The limits when this stream began."""
        return RateLimit.of(self.response.headers)

    @property
    def cost(self) -> Decimal | None:
        """What the answer cost, in US dollars: after the last chunk, if `include_usage` was asked for."""
        return read_cost(self.response.headers, self._usage)

    def _note(self, chunk: ChatCompletionChunk) -> ChatCompletionChunk:
        self._usage = chunk.usage or self._usage
        return chunk


class ChatStream(Stream[ChatCompletionChunk], _Metered):
    """openai's Stream of chunks with `rate_limit` and `cost`."""

    def __next__(self) -> ChatCompletionChunk:
        """Return the next chunk."""
        return self._note(super().__next__())

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        """Yield the chunks that are left."""
        for chunk in super().__iter__():
            yield self._note(chunk)


class AsyncChatStream(AsyncStream[ChatCompletionChunk], _Metered):
    """openai's AsyncStream of chunks with `rate_limit` and `cost`."""

    async def __anext__(self) -> ChatCompletionChunk:
        """Return the next chunk."""
        return self._note(await super().__anext__())

    async def __aiter__(self) -> AsyncIterator[ChatCompletionChunk]:
        """Yield the chunks that are left."""
        async for chunk in super().__aiter__():
            yield self._note(chunk)


_OURS = {Stream[ChatCompletionChunk]: ChatStream, AsyncStream[ChatCompletionChunk]: AsyncChatStream}


def meter(wanted: type[Stream[Any] | AsyncStream[Any]] | None) -> type[Any] | None:
    """Return the class of stream to make where openai wants this one."""
    return _OURS.get(wanted, wanted)
