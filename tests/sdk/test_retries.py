"""How a call is repeated: when the service says so, with one Idempotency-Key, over a real connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from tests.sdk.test_matrix import settle

from techstoneai import AsyncTechStoneAI, TechStoneAI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sdk.conftest import Recorder
    from tests.sdk.test_matrix import AnyClient

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
BUSY = {"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded", "param": None}}


@pytest.fixture(params=[TechStoneAI, AsyncTechStoneAI])
async def client(recorder: Recorder, request: pytest.FixtureRequest) -> AsyncIterator[AnyClient]:
    client = request.param(base_url=recorder.url, api_key="k", admin_key="a")
    yield client
    await settle(client.close())


async def test_retry_after_is_waited_for(recorder: Recorder, client: AnyClient) -> None:
    """A 429 with Retry-After: 1 is repeated after that second, with the same key, and the caller sees the answer."""
    recorder.answer(BUSY, 429, retry_after="1")
    recorder.answer(ANSWER)
    raw = await settle(client.chat.completions.with_raw_response.create(**CHAT))
    first, second = recorder.received
    assert (raw.retries_taken, raw.parse().id) == (1, "c")
    assert 1.0 <= second.at - first.at < 3.0
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] != ""
    assert first.body == second.body


async def test_conflict_and_overload_are_repeated_with_the_same_key(recorder: Recorder, client: AnyClient) -> None:
    """409 while the first one is still being answered, then 503, then the answer: one key through all."""
    recorder.answer(BUSY, 409, x_should_retry="true", retry_after_ms="1")
    recorder.answer(BUSY, 503, retry_after_ms="1")
    recorder.answer(ANSWER)
    await settle(client.chat.completions.create(**CHAT))
    assert len({request.headers["idempotency-key"] for request in recorder.received}) == 1
    assert [request.headers["x-stainless-retry-count"] for request in recorder.received] == ["0", "1", "2"]


async def test_each_call_has_a_key_of_its_own(recorder: Recorder, client: AnyClient) -> None:
    """Two calls are two calls, though they are the same; other posts have keys too; a get needs none."""
    recorder.answer(ANSWER)
    for _ in range(2):
        await settle(client.chat.completions.create(**CHAT))
    await settle(client.estimate(**CHAT))
    await settle(client.keys.create())
    await settle(client.models.retrieve("m"))
    keys = [request.headers.get("idempotency-key") for request in recorder.received]
    assert keys[4] is None
    assert None not in keys[:4]
    assert len(set(keys)) == 5


async def test_key_of_the_caller_wins(recorder: Recorder, client: AnyClient) -> None:
    """In any spelling, over retries too."""
    recorder.answer(BUSY, 503, retry_after_ms="1")
    recorder.answer(ANSWER)
    await settle(client.chat.completions.create(**CHAT, extra_headers={"idempotency-key": "mine"}))
    assert [request.headers["idempotency-key"] for request in recorder.received] == ["mine", "mine"]


async def test_what_shall_not_be_repeated_is_not(recorder: Recorder, client: AnyClient) -> None:
    """`x-should-retry: false` ends it at once."""
    recorder.answer(BUSY, 429, x_should_retry="false")
    with pytest.raises(openai.RateLimitError):
        await settle(client.chat.completions.create(**CHAT))
    assert len(recorder.received) == 1


async def test_copy_sends_keys_too(recorder: Recorder, client: AnyClient) -> None:
    """A client with other options is still ours."""
    recorder.answer(ANSWER)
    await settle(client.with_options(timeout=5).chat.completions.create(**CHAT))
    assert recorder.received[0].headers["idempotency-key"]
