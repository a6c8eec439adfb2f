"""One test body, two SDKs, sync and async: what works with openai's client works with ours, against a real service."""

from __future__ import annotations

import contextlib
import inspect
import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import openai
import pydantic
import pytest
from service import free_port

import techstoneai

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sdk.conftest import Deployment

AnyClient: TypeAlias = Any
"""A client of either SDK, sync or async; no type says that what it returns may have to be awaited."""

KINDS = (openai.OpenAI, techstoneai.TechStoneAI, openai.AsyncOpenAI, techstoneai.AsyncTechStoneAI)
MESSAGES = [{"role": "user", "content": "hi"}]
CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": MESSAGES}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


class Place(pydantic.BaseModel):
    """What the provider's tool call holds."""

    city: str


async def settle(value: Any) -> Any:  # noqa: ANN401 - a result of any kind of client, awaited if it must be
    return await value if inspect.isawaitable(value) else value


async def collect(stream: Any) -> list[Any]:  # noqa: ANN401 - the same
    return [item async for item in stream] if hasattr(stream, "__aiter__") else list(stream)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
async def client(deployment: Deployment, request: pytest.FixtureRequest) -> AsyncIterator[AnyClient]:
    client = request.param(base_url=deployment.url, api_key=deployment.key, max_retries=0)
    yield client
    await settle(client.close())


async def test_whole_answer(client: AnyClient) -> None:
    """Content, model, usage and request id; dumped, it is what the service sent."""
    answer = await settle(client.chat.completions.create(**CHAT, temperature=openai.omit, user=openai.NOT_GIVEN))
    assert (answer.choices[0].message.content, answer.usage.total_tokens) == ("Hello.", 11)
    assert answer._request_id.startswith("req_")
    raw = await settle(client.chat.completions.with_raw_response.create(**CHAT))
    assert answer.model_dump(exclude_unset=True) | {"id": 0} == raw.http_response.json() | {"id": 0}
    assert json.loads(answer.to_json()).keys() == raw.http_response.json().keys()
    assert isinstance(answer, openai.types.chat.ChatCompletion)


async def test_stream(client: AnyClient) -> None:
    """Chunks in order, with usage where it was asked for; a stream given up disturbs nothing."""
    asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    stream = await settle(client.chat.completions.create(**asked))
    assert isinstance(stream, openai.Stream | openai.AsyncStream)
    chunks = await collect(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello."
    assert chunks[-1].usage.total_tokens == 11
    given_up = await settle(client.chat.completions.create(**CHAT, stream=True))
    await settle(given_up.close())
    assert len(await collect(await settle(client.chat.completions.create(**CHAT, stream=True)))) == 4


async def test_stream_helper(client: AnyClient) -> None:
    """`stream()` gives events and the whole at the end, its cost in the usage."""
    manager = client.chat.completions.stream(**CHAT, stream_options={"include_usage": True})
    if hasattr(manager, "__aenter__"):
        async with manager as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_completion()
    else:
        with manager as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_completion()
    assert (kinds[0], kinds.count("content.done")) == ("chunk", 1)
    assert (final.choices[0].message.content, final.usage.cost) == ("Hello.", "0.0000425")


async def test_raw_response(client: AnyClient) -> None:
    """Headers first, then the parsed answer, whole or streamed."""
    raw = await settle(client.chat.completions.with_raw_response.create(**CHAT))
    assert (raw.status_code, raw.retries_taken, raw.headers["x-ratelimit-limit-requests"].isdigit()) == (200, 0, True)
    assert raw.parse().choices[0].message.content == "Hello."
    assert raw.parse() is raw.parse()
    streamed = await settle(client.with_raw_response.chat.completions.create(**CHAT, stream=True))
    assert len(await collect(streamed.parse())) == 4


async def test_streaming_response(client: AnyClient) -> None:
    """The body is read when it is asked for."""
    manager = client.chat.completions.with_streaming_response.create(**CHAT)
    if hasattr(manager, "__aenter__"):
        async with manager as response:
            answer = await response.parse()
    else:
        with manager as response:
            answer = response.parse()
    assert answer.choices[0].message.content == "Hello."


async def test_tools(deployment: Deployment, client: AnyClient) -> None:
    """The provider sees the tools as they were sent, the client its call, streamed too."""
    answer = await settle(client.chat.completions.create(**CHAT, tools=[TOOL], tool_choice="required"))
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"
    assert (deployment.received[-1]["tools"], deployment.received[-1]["tool_choice"]) == ([TOOL], "required")
    stream = await settle(client.chat.completions.create(**CHAT, tools=[TOOL], stream=True))
    calls = [chunk.choices[0].delta.tool_calls for chunk in await collect(stream)]
    assert calls[0][0].function.name == "weather"


async def test_parse(deployment: Deployment, client: AnyClient) -> None:
    """A pydantic class is sent as a schema; tool calls come back as the class."""
    tool = openai.pydantic_function_tool(Place, name="weather")
    answer = await settle(client.chat.completions.parse(**CHAT, tools=[tool]))
    assert answer.choices[0].message.tool_calls[0].function.parsed_arguments == Place(city="Paris")
    assert json.loads(answer.model_dump_json())["object"] == "chat.completion"
    assert isinstance(answer, openai.types.chat.ParsedChatCompletion)
    with pytest.raises(pydantic.ValidationError):
        await settle(client.chat.completions.parse(**CHAT, response_format=Place))
    assert deployment.received[-1]["response_format"]["json_schema"]["name"] == "Place"


async def test_models(client: AnyClient) -> None:
    """Listed page by page and retrieved."""
    listed = [model.id for model in await collect(client.models.list())]
    assert listed[:1] == ["gpt-4o"]
    assert (await settle(client.models.retrieve("gpt-4o"))).id == "gpt-4o"


async def test_with_options(deployment: Deployment, client: AnyClient) -> None:
    """A copy is of the same class, shares the connections, and changes only what was named."""
    copy = client.with_options(timeout=7, default_headers={"X-A": "1"})
    assert (type(copy), copy.timeout, copy.max_retries, copy._client) == (type(client), 7, 0, client._client)
    assert (copy.api_key, str(copy.base_url), client.timeout) == (
        deployment.key,
        f"{deployment.url}/",
        openai.Timeout(600, connect=5.0),
    )
    raw = await settle(copy.chat.completions.with_raw_response.create(**CHAT))
    assert raw.http_request.headers["x-a"] == "1"
    with pytest.raises(openai.AuthenticationError):
        await settle(client.copy(api_key="sk-wrong").models.list())


async def test_extra_arguments_of_a_call(deployment: Deployment, client: AnyClient) -> None:
    """Headers, query and body fields of one call."""
    extra = {"extra_headers": {"X-B": "2"}, "extra_query": {"q": "3"}, "extra_body": {"user": "ann"}}
    raw = await settle(client.chat.completions.with_raw_response.create(**CHAT, **extra))
    assert (raw.http_request.headers["x-b"], raw.http_request.url.params["q"]) == ("2", "3")
    assert deployment.received[-1]["user"] == "ann"


class Refusal(NamedTuple):
    """What is changed in a request, with which key, and what comes of it."""

    change: dict[str, Any]
    key: str | None
    kind: type[openai.APIStatusError]
    status: int
    code: str


REFUSALS = (
    Refusal({"temperature": 3}, None, openai.BadRequestError, 400, "decimal_above_max_value"),
    Refusal({}, "sk-wrong", openai.AuthenticationError, 401, "invalid_api_key"),
    Refusal({}, "limited", openai.PermissionDeniedError, 403, "permission_denied"),
    Refusal({"model": "none"}, None, openai.NotFoundError, 404, "model_not_found"),
    Refusal({"model": "fail-500"}, None, openai.InternalServerError, 500, "upstream_error"),
    Refusal({"model": "fail-503"}, None, openai.InternalServerError, 503, "upstream_unavailable"),
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: str(refusal.status))
async def test_error(deployment: Deployment, client: AnyClient, refusal: Refusal) -> None:
    """Each refusal is the exception that applications catch, with code, status and request id."""
    if refusal.key:
        client = client.with_options(api_key=getattr(deployment, refusal.key, refusal.key))
    with pytest.raises(refusal.kind) as refused:
        await settle(client.chat.completions.create(**CHAT | refusal.change))
    assert (refused.value.status_code, refused.value.code) == (refusal.status, refusal.code)
    assert str(refused.value.request_id).startswith("req_")


async def test_rate_limit_error(deployment: Deployment, client: AnyClient) -> None:
    """A 429 that is not waited for is a RateLimitError, with the time to wait."""
    slow = client.with_options(api_key=deployment.slow)
    with contextlib.suppress(openai.RateLimitError):  # the first of these tests still passes
        await settle(slow.chat.completions.create(**CHAT))
    with pytest.raises(openai.RateLimitError) as refused:
        await settle(slow.chat.completions.create(**CHAT))
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 60


async def test_timeout(client: AnyClient) -> None:
    """A service that does not answer in time is an APITimeoutError."""
    with pytest.raises(openai.APITimeoutError):
        await settle(client.chat.completions.create(**CHAT | {"model": "silent"}, timeout=0.2))


async def test_no_connection(client: AnyClient) -> None:
    """A service that is not there is an APIConnectionError."""
    nowhere = client.with_options(base_url=f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(openai.APIConnectionError):
        await settle(nowhere.chat.completions.create(**CHAT))
