"""The official OpenAI SDKs for Python and Node, unchanged, against a real server process with a provider behind it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
from service import Service, serving
from upstream import providing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

NODE = Path(__file__).parents[1] / "node"
MODELS = ("gpt-4o", "fail-500", "fail-503")
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
TOOLS: list[ChatCompletionToolParam] = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
]


class Deployment:
    """A server, its provider, and two keys."""

    def __init__(self, service: Service, received: list[dict[str, Any]]) -> None:
        self.service = service
        self.received = received
        self.limited = service.ask("key", "create", "--account", "owner@localhost", "--models", "fail-500")["key"]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with providing() as (url, received):
        text = f'[[providers]]\nname = "up"\nbase_url = "{url}"\n' + "".join(
            f'[[models]]\nname = "{name}"\nroutes = [{{ provider = "up", model = "{name}" }}]\n'
            'price = { input = "0", output = "0" }\n'
            for name in MODELS
        )
        with serving(tmp_path_factory.mktemp("sdks"), text) as service:
            yield Deployment(service, received)


@pytest.fixture(params=["/v1", ""])
def url(deployment: Deployment, request: pytest.FixtureRequest) -> str:
    return f"{deployment.service.url}{request.param}"


@pytest.fixture
def client(deployment: Deployment, url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key=deployment.service.key, max_retries=0) as client:
        yield client


def test_python_sdk_reads_whole_answers(client: openai.OpenAI) -> None:
    """Content, the asked-for model, usage and request id arrive in the SDK's types."""
    answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert (answer.choices[0].message.content, answer.model) == ("Hello.", "gpt-4o")
    assert answer.usage is not None
    assert (answer.usage.total_tokens, str(answer._request_id)[:4]) == (11, "req_")


def test_python_sdk_reads_streams(client: openai.OpenAI) -> None:
    """With usage where it was asked for, without where not; a stream given up disturbs nothing."""
    stream = client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello."
    assert chunks[-1].usage is not None
    for chunk in client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True):
        assert chunk.usage is None
        break
    assert client.chat.completions.create(model="gpt-4o", messages=MESSAGES).model == "gpt-4o"


def test_python_sdk_passes_tools(deployment: Deployment, client: openai.OpenAI) -> None:
    """The provider sees the tools as they were sent, the client its call."""
    answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, tools=TOOLS)
    assert answer.choices[0].message.tool_calls is not None
    assert answer.choices[0].message.tool_calls[0].id == "call_1"
    assert deployment.received[-1]["tools"] == TOOLS


def test_python_sdk_lists_models(client: openai.OpenAI) -> None:
    """Listed and retrieved."""
    assert [model.id for model in client.models.list()] == [*MODELS, "tiny"]
    assert client.models.retrieve("gpt-4o").object == "model"


def test_python_sdk_raises_its_class_for_each_status(deployment: Deployment, client: openai.OpenAI, url: str) -> None:
    """Every refusal is the exception that applications catch, with code, param and request id."""
    create = client.chat.completions.create
    with pytest.raises(openai.BadRequestError) as bad:
        create(model="gpt-4o", messages=MESSAGES, temperature=3)
    assert (bad.value.param, bad.value.code) == ("temperature", "decimal_above_max_value")
    for key, kind in (("sk-wrong", openai.AuthenticationError), (deployment.limited, openai.PermissionDeniedError)):
        with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as other, pytest.raises(kind):
            other.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError) as missing:
        create(model="none", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    for model, status in (("fail-500", 500), ("fail-503", 503)):
        with pytest.raises(openai.InternalServerError) as failed:
            create(model=model, messages=MESSAGES)
        assert (failed.value.status_code, str(failed.value.request_id)[:4]) == (status, "req_")


async def test_python_async_sdk_works_the_same(deployment: Deployment, url: str) -> None:
    """Whole and streamed, over one pooled connection."""
    async with openai.AsyncOpenAI(base_url=url, api_key=deployment.service.key, max_retries=0) as client:
        answer = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        assert answer.choices[0].message.content == "Hello."
        stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Hello."


def test_node_sdk_works(deployment: Deployment, url: str) -> None:
    """Whole, streamed, tools, models, a stream given up, and the exception class of each status."""
    environment = {**os.environ, "BASE_URL": url, "KEY": deployment.service.key, "LIMITED_KEY": deployment.limited}
    done = subprocess.run(
        ["node", str(NODE / "client.mjs")], env=environment, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "whole": "Hello.",
        "model": "gpt-4o",
        "tokens": 11,
        "requestId": True,
        "streamed": "Hello.",
        "streamedTokens": 11,
        "plainUsage": False,
        "tool": "weather",
        "streamedTool": "weather",
        "models": [*MODELS, "tiny"],
        "retrieved": "gpt-4o",
        "afterBreak": "Hello.",
        "errors": {
            "400": "BadRequestError 400 decimal_above_max_value true",
            "401": "AuthenticationError 401 invalid_api_key true",
            "403": "PermissionDeniedError 403 permission_denied true",
            "404": "NotFoundError 404 model_not_found true",
            "500": "InternalServerError 500 upstream_error true",
            "503": "InternalServerError 503 upstream_unavailable true",
        },
    }
