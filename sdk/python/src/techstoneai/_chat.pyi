"""The chat as type checkers see it: openai's resources, whose answers are ours.

For type checkers alone; nothing imports it at run time. There `client.chat` is openai's own object, and the client
makes its answers ours (`_completion`, `_stream`). The fields are the parameters of openai's `create`, which has them as
some 40 arguments in each of three overloads. A caller may leave each out with `omit`, which openai's own dictionaries
of parameters do not know. A test holds the names and types against openai's.
"""

from collections.abc import Iterable
from typing import Literal, TypeVar, overload

from openai import APIResponse, AsyncAPIResponse, NotGiven, Omit, Timeout
from openai._legacy_response import LegacyAPIResponse
from openai._response import AsyncResponseContextManager, ResponseContextManager
from openai._types import Body, Headers, Query, SequenceNotStr
from openai.resources.chat import chat, completions
from openai.types import ChatModel, ReasoningEffort
from openai.types.chat import (
    ChatCompletionAudioParam,
    ChatCompletionMessageParam,
    ChatCompletionPredictionContentParam,
    ChatCompletionStreamOptionsParam,
    ChatCompletionToolChoiceOptionParam,
    ChatCompletionToolUnionParam,
    completion_create_params,
)
from openai.types.shared_params import Metadata
from typing_extensions import Required, TypedDict, Unpack

from ._completion import ChatCompletion, ParsedChatCompletion
from ._stream import AsyncChatStream, ChatStream

_Content = TypeVar("_Content")

class _Request(TypedDict, total=False):
    messages: Required[Iterable[ChatCompletionMessageParam]]
    model: Required[str | ChatModel]
    audio: ChatCompletionAudioParam | Omit | None
    frequency_penalty: float | Omit | None
    function_call: completion_create_params.FunctionCall | Omit
    functions: Iterable[completion_create_params.Function] | Omit
    logit_bias: dict[str, int] | Omit | None
    logprobs: bool | Omit | None
    max_completion_tokens: int | Omit | None
    max_tokens: int | Omit | None
    metadata: Metadata | Omit | None
    modalities: list[Literal["text", "audio"]] | Omit | None
    moderation: completion_create_params.Moderation | Omit | None
    n: int | Omit | None
    parallel_tool_calls: bool | Omit
    prediction: ChatCompletionPredictionContentParam | Omit | None
    presence_penalty: float | Omit | None
    prompt_cache_key: str | Omit | None
    prompt_cache_options: completion_create_params.PromptCacheOptions | Omit
    prompt_cache_retention: Literal["in_memory", "24h"] | Omit | None
    reasoning_effort: ReasoningEffort | Omit | None
    safety_identifier: str | Omit | None
    seed: int | Omit | None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | Omit | None
    stop: str | SequenceNotStr[str] | Omit | None
    store: bool | Omit | None
    stream_options: ChatCompletionStreamOptionsParam | Omit | None
    temperature: float | Omit | None
    tool_choice: ChatCompletionToolChoiceOptionParam | Omit
    tools: Iterable[ChatCompletionToolUnionParam] | Omit
    top_logprobs: int | Omit | None
    top_p: float | Omit | None
    user: str | Omit
    verbosity: Literal["low", "medium", "high"] | Omit | None
    web_search_options: completion_create_params.WebSearchOptions | Omit
    extra_headers: Headers | None
    extra_query: Query | None
    extra_body: Body | None
    timeout: float | Timeout | NotGiven | None

class _Formatted(_Request, total=False):
    response_format: completion_create_params.ResponseFormat | Omit

class WholeRequest(_Formatted, total=False):
    """A request whose answer comes whole."""

    stream: Literal[False] | Omit | None

class StreamedRequest(_Formatted):
    """A request whose answer is streamed."""

    stream: Literal[True]

class AnyRequest(_Formatted):
    """A request of which only its run decides how it is answered."""

    stream: bool

class ChatRequest(_Formatted, total=False):
    """A request that is not answered but estimated."""

    stream: bool | Omit | None

class _RawCompletions(completions.CompletionsWithRawResponse):
    @overload  # type: ignore[override]
    def create(self, **request: Unpack[WholeRequest]) -> LegacyAPIResponse[ChatCompletion]: ...
    @overload
    def create(self, **request: Unpack[StreamedRequest]) -> LegacyAPIResponse[ChatStream]: ...
    def parse(  # type: ignore[override]
        self, *, response_format: type[_Content] | Omit = ..., **request: Unpack[_Request]
    ) -> LegacyAPIResponse[ParsedChatCompletion[_Content]]: ...

class _StreamingCompletions(completions.CompletionsWithStreamingResponse):
    @overload  # type: ignore[override]
    def create(self, **request: Unpack[WholeRequest]) -> ResponseContextManager[APIResponse[ChatCompletion]]: ...
    @overload
    def create(self, **request: Unpack[StreamedRequest]) -> ResponseContextManager[APIResponse[ChatStream]]: ...
    def parse(  # type: ignore[override]
        self, *, response_format: type[_Content] | Omit = ..., **request: Unpack[_Request]
    ) -> ResponseContextManager[APIResponse[ParsedChatCompletion[_Content]]]: ...

class Completions(completions.Completions):
    """`client.chat.completions`."""

    @overload
    def create(self, **request: Unpack[WholeRequest]) -> ChatCompletion: ...
    @overload
    def create(self, **request: Unpack[StreamedRequest]) -> ChatStream: ...
    @overload
    def create(self, **request: Unpack[AnyRequest]) -> ChatCompletion | ChatStream: ...
    def parse(
        self, *, response_format: type[_Content] | Omit = ..., **request: Unpack[_Request]
    ) -> ParsedChatCompletion[_Content]: ...
    @property
    def with_raw_response(self) -> _RawCompletions: ...
    @property
    def with_streaming_response(self) -> _StreamingCompletions: ...

class Chat(chat.Chat):
    """`client.chat`."""

    @property
    def completions(self) -> Completions: ...

class _AsyncRawCompletions(completions.AsyncCompletionsWithRawResponse):
    @overload  # type: ignore[override]
    async def create(self, **request: Unpack[WholeRequest]) -> LegacyAPIResponse[ChatCompletion]: ...
    @overload
    async def create(self, **request: Unpack[StreamedRequest]) -> LegacyAPIResponse[AsyncChatStream]: ...
    async def parse(  # type: ignore[override]
        self, *, response_format: type[_Content] | Omit = ..., **request: Unpack[_Request]
    ) -> LegacyAPIResponse[ParsedChatCompletion[_Content]]: ...

class _AsyncStreamingCompletions(completions.AsyncCompletionsWithStreamingResponse):
    @overload  # type: ignore[override]
    def create(
        self, **request: Unpack[WholeRequest]
    ) -> AsyncResponseContextManager[AsyncAPIResponse[ChatCompletion]]: ...
    @overload
    def create(
        self, **request: Unpack[StreamedRequest]
    ) -> AsyncResponseContextManager[AsyncAPIResponse[AsyncChatStream]]: ...
    def parse(  # type: ignore[override]
        self, *, response_format: type[_Content] | Omit = ..., **request: Unpack[_Request]
    ) -> AsyncResponseContextManager[AsyncAPIResponse[ParsedChatCompletion[_Content]]]: ...

class AsyncCompletions(completions.AsyncCompletions):
    """`client.chat.completions` of the async client."""

    @overload
    async def create(self, **request: Unpack[WholeRequest]) -> ChatCompletion: ...
    @overload
    async def create(self, **request: Unpack[StreamedRequest]) -> AsyncChatStream: ...
    @overload
    async def create(self, **request: Unpack[AnyRequest]) -> ChatCompletion | AsyncChatStream: ...
    async def parse(
        self, *, response_format: type[_Content] | Omit = ..., **request: Unpack[_Request]
    ) -> ParsedChatCompletion[_Content]: ...
    @property
    def with_raw_response(self) -> _AsyncRawCompletions: ...
    @property
    def with_streaming_response(self) -> _AsyncStreamingCompletions: ...

class AsyncChat(chat.AsyncChat):
    """`client.chat` of the async client."""

    @property
    def completions(self) -> AsyncCompletions: ...
