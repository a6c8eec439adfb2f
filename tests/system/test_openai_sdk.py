"""The official OpenAI SDK against the gateway, unchanged: both base URLs, whole and streamed, each exception class."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import openai
import pytest
from tests.system.test_chat import DONE, ROLE, SSE, STOP, TEXT, part, script, status, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
    from tests.system.conftest import House

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(params=["/v1", "/v1/", ""])
async def client(house: House, request: pytest.FixtureRequest) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"http://127.0.0.1:{house.port}{request.param}"
    async with openai.AsyncOpenAI(api_key=house.key, base_url=url, max_retries=0) as client:
        yield client


async def test_whole_answer(client: openai.AsyncOpenAI) -> None:
    """A completion arrives as the SDK's type, with usage and the request id."""
    answer = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert answer.choices[0].message.content == "Hello."
    assert answer.model == "gpt-4o"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 11
    assert answer._request_id is not None


async def test_streamed_answer_with_usage(house: House, client: openai.AsyncOpenAI) -> None:
    """Chunks arrive as the SDK's type; the usage chunk comes last because it was asked for."""
    house.upstream.behave = script(SSE + part(ROLE + TEXT + STOP + DONE) + b"0\r\n\r\n")  # type: ignore[assignment] # a behaviour
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello"
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


async def test_tools_pass_through_both_ways(house: House, client: openai.AsyncOpenAI) -> None:
    """The upstream sees the tools as they were sent; the client gets its calls as they came."""
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
    }
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "up"}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    house.upstream.behave = script(whole(json.dumps({**body, "choices": choices}).encode()))  # type: ignore[assignment] # a behaviour
    answer = await client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, tools=[TOOL], tool_choice="required"
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "weather"
    sent = json.loads(house.upstream.received[0][1])
    assert sent["tools"] == [TOOL]
    assert sent["tool_choice"] == "required"


async def test_models(client: openai.AsyncOpenAI) -> None:
    """The list and one of it."""
    assert [model.id async for model in client.models.list()] == ["gpt-4o", "closed", "both"]
    assert (await client.models.retrieve("gpt-4o")).id == "gpt-4o"


async def test_error_in_the_stream_is_raised(house: House, client: openai.AsyncOpenAI) -> None:
    """A stream that breaks off raises; a silent close would look like a normal end (conformance.md 3)."""
    house.upstream.behave = script(SSE + part(ROLE + TEXT), "reset")  # type: ignore[assignment] # a behaviour
    stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError):
        _ = [chunk async for chunk in stream]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"400 Bad Request", openai.BadRequestError),
        (b"500 Internal Server Error", openai.InternalServerError),
        (b"503 Service Unavailable", openai.InternalServerError),
    ],
)
async def test_upstream_status_raises_its_class(
    house: House, client: openai.AsyncOpenAI, line: bytes, kind: type[openai.APIStatusError]
) -> None:
    """What the upstream refuses comes as the class that applications catch."""
    house.upstream.behave = script(status(line))  # type: ignore[assignment] # a behaviour
    with pytest.raises(kind):
        await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)


async def test_refusals_of_ours_raise_their_classes(house: House, client: openai.AsyncOpenAI) -> None:
    """401, 403, 404 and 400 of the gateway itself."""
    create = client.chat.completions.create
    with pytest.raises(openai.NotFoundError) as missing:
        await create(model="gpt-9", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        await create(model="gpt-4o", messages=MESSAGES, temperature=3)
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.PermissionDeniedError):
        await client.with_options(api_key=house.limited).chat.completions.create(model="gpt-4o", messages=MESSAGES)
    with pytest.raises(openai.AuthenticationError) as unknown:
        await client.with_options(api_key="sk-nobody").chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert unknown.value.code == "invalid_api_key"
