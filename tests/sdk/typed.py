"""What a type checker must know of the SDK. Never run: mypy and pyright read it, strictly.

An ignore that is not needed is an error: so they also check what must not pass.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, assert_type

import openai
import pydantic
from openai._base_client import AsyncPaginator
from openai.pagination import AsyncCursorPage, AsyncPage, SyncCursorPage, SyncPage
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

import techstoneai
from techstoneai import AsyncTechStoneAI, RateLimit, TechStoneAI

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx2
    from openai.resources.chat import completions

    from techstoneai._chat import StreamedRequest, WholeRequest

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]


class Place(pydantic.BaseModel):
    """A class to be parsed into."""

    city: str


def make_clients(http: httpx2.Client) -> None:
    """Take None for arguments, as the product's documents pass them; a client is openai's wherever one is wanted."""
    client = TechStoneAI(api_key=None, base_url=None, admin_key=None, timeout=3, max_retries=0, http_client=http)
    drop_in: openai.OpenAI = client
    async_drop_in: openai.AsyncOpenAI = AsyncTechStoneAI(default_headers={"a": "b"})
    assert_type(client.with_options(admin_key="a", timeout=openai.NOT_GIVEN), TechStoneAI)
    assert_type(client.admin_key, str | None)
    _ = drop_in, async_drop_in
    TechStoneAI(api_kee="k")  # type: ignore[call-arg]


def chat_whole(client: TechStoneAI, temperature: float | openai.Omit) -> None:
    """Know cost and limits of a whole answer, and all that openai's has."""
    answer = client.chat.completions.create(model="m", messages=MESSAGES, temperature=temperature, user=openai.omit)
    assert_type(answer, techstoneai.ChatCompletion)
    assert_type(answer.cost, Decimal | None)
    assert_type(answer.rate_limit, RateLimit)
    assert_type(answer.rate_limit.tokens.reset, float | None)
    assert_type(answer.choices[0].message.content, str | None)
    client.chat.completions.create(model="m", messages=MESSAGES, stream=False, extra_headers={"a": "b"}, timeout=1)
    raw = client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
    assert_type(raw.parse(), techstoneai.ChatCompletion)
    with client.chat.completions.with_streaming_response.create(model="m", messages=MESSAGES) as response:
        assert_type(response.parse(), techstoneai.ChatCompletion)
    parsed = client.chat.completions.parse(model="m", messages=MESSAGES, response_format=Place)
    assert_type(parsed.choices[0].message.parsed, Place | None)
    assert_type(parsed.cost, Decimal | None)


def chat_streamed(client: TechStoneAI, *, either: bool) -> None:
    """Know them of a stream; who decides at run time must ask which it is."""
    stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True, seed=openai.omit)
    assert_type(stream, techstoneai.ChatStream)
    assert_type(stream.cost, Decimal | None)
    for chunk in stream:
        assert_type(chunk, ChatCompletionChunk)
    answer = client.chat.completions.create(model="m", messages=MESSAGES, stream=either)
    assert_type(answer, techstoneai.ChatCompletion | techstoneai.ChatStream)
    assert_type(answer.cost, Decimal | None)
    raw = client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES, stream=True)
    assert_type(raw.parse(), techstoneai.ChatStream)
    with client.chat.completions.stream(model="m", messages=MESSAGES) as helper:
        assert_type(helper.get_final_completion().choices[0].message.content, str | None)


async def chat_async(client: AsyncTechStoneAI, *, either: bool) -> None:
    """Know the same with await."""
    answer = await client.chat.completions.create(model="m", messages=MESSAGES)
    assert_type(answer, techstoneai.ChatCompletion)
    stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    assert_type(stream, techstoneai.AsyncChatStream)
    async for chunk in stream:
        assert_type(chunk, ChatCompletionChunk)
    any_answer = await client.chat.completions.create(model="m", messages=MESSAGES, stream=either)
    assert_type(any_answer, techstoneai.ChatCompletion | techstoneai.AsyncChatStream)
    parsed = await client.chat.completions.parse(model="m", messages=MESSAGES, response_format=Place)
    assert_type(parsed.rate_limit, RateLimit)
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
    assert_type(raw.parse().cost, Decimal | None)
    async with client.chat.completions.with_streaming_response.create(model="m", messages=MESSAGES) as response:
        assert_type(await response.parse(), techstoneai.ChatCompletion)
    assert_type(await client.estimate(model="m", messages=MESSAGES), techstoneai.Estimate)
    assert_type(await client.limits(), techstoneai.Limits)


def misspell(client: TechStoneAI) -> None:
    """Check names and types of parameters."""
    client.chat.completions.create(model="m", messages=MESSAGES, temprature=1)  # type: ignore[call-overload]
    client.chat.completions.create(model="m", messages=MESSAGES, temperature="1")  # type: ignore[call-overload]
    client.chat.completions.create(messages=MESSAGES)  # type: ignore[call-overload]
    client.chat.completions.parse(model="m", messages=MESSAGES, n="1")  # type: ignore[arg-type]
    client.estimate(model="m", mesages=MESSAGES)  # type: ignore[call-arg]
    client.keys.create(nam="x")  # type: ignore[call-arg]
    client.usage.list(by="weekday")  # type: ignore[arg-type]
    client.keys.update("k", key="x")  # type: ignore[call-arg]
    client.keys.create(scopes=["everything"])  # type: ignore[list-item]
    client.projects.update("p", nam="x")  # type: ignore[call-arg]


def hand_on(openais: completions.Completions, whole: WholeRequest, streamed: StreamedRequest) -> None:
    """Allow nothing that openai does not."""
    openais.create(**whole)
    openais.create(**streamed)


def manage(client: TechStoneAI) -> None:
    """Know estimates, limits, keys, usage and balance."""
    estimate = client.estimate(model="m", messages=MESSAGES, max_tokens=3, stream=True)
    assert_type(estimate.cost.maximum, Decimal)
    assert_type(estimate.limits.credit, Decimal | None)
    limits = client.limits()
    assert_type(limits.account.requests, techstoneai.MinuteLimit)
    assert_type(limits.key, techstoneai.KeyLimits | None)
    assert_type(limits.caps[0].spent, Decimal | None)
    assert_type(limits.refused[0].retry_after, int | None)
    key = client.keys.create(name="x", kind="admin", models=("a",), expires=timedelta(days=1), daily_cap=Decimal(1))
    assert_type(key, techstoneai.CreatedKey)
    assert_type(key.key, str)
    assert_type(client.keys.list(), SyncPage[techstoneai.Key])
    assert_type(client.keys.revoke("k"), techstoneai.Key)
    assert_type(client.keys.rotate("k", overlap=timedelta(hours=1)), techstoneai.CreatedKey)
    assert_type(client.keys.update("k", rpm=None, scopes=("chat",), ips=None, project="p"), techstoneai.Key)
    assert_type(client.keys.disable("k"), techstoneai.Key)
    assert_type(client.keys.enable("k"), techstoneai.Key)
    assert_type(client.projects.list(), SyncPage[techstoneai.Project])
    assert_type(client.projects.create(name="x").spent_this_month, Decimal)
    assert_type(client.projects.update("p", archived=True), techstoneai.Project)
    groups: Iterable[techstoneai.UsageGroup] = client.usage.list(since=datetime.now(UTC), by="day")
    assert_type(client.usage.requests(since=1, limit=10), SyncCursorPage[techstoneai.UsageRequest])
    for request in client.usage.requests():
        assert_type(request.cost, Decimal)
    assert_type(client.balance.retrieve().available, Decimal | None)
    _ = groups


async def manage_async(client: AsyncTechStoneAI) -> None:
    """Know the same with await."""
    assert_type(client.keys.list(), AsyncPaginator[techstoneai.Key, AsyncPage[techstoneai.Key]])
    assert_type(await client.keys.retrieve("k"), techstoneai.Key)
    assert_type(await client.keys.update("k", name="x"), techstoneai.Key)
    assert_type(client.projects.list(), AsyncPaginator[techstoneai.Project, AsyncPage[techstoneai.Project]])
    assert_type(await client.projects.retrieve("p"), techstoneai.Project)
    paginator = client.usage.requests(since=datetime.now(UTC))
    assert_type(await paginator, AsyncCursorPage[techstoneai.UsageRequest])
    async for request in paginator:
        assert_type(request, techstoneai.UsageRequest)
    assert_type(await client.balance.retrieve(), techstoneai.Balance)
