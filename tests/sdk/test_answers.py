"""What answers know besides openai's: their cost and the limits after them, whole, streamed, raw and parsed."""

from __future__ import annotations

import contextlib
import copy
import pickle
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pydantic
import pytest
from tests.sdk.conftest import COST
from tests.sdk.test_matrix import CHAT, collect, settle
from tests.sdk.test_retries import ANSWER

import techstoneai
from techstoneai import Allowance, AsyncTechStoneAI, RateLimit, TechStoneAI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sdk.conftest import Deployment, Recorder
    from tests.sdk.test_matrix import AnyClient

USAGE = {"stream_options": {"include_usage": True}}


class Nothing(pydantic.BaseModel):
    """A tool without parameters."""


@pytest.fixture(params=[TechStoneAI, AsyncTechStoneAI])
async def client(deployment: Deployment, request: pytest.FixtureRequest) -> AsyncIterator[AnyClient]:
    client = request.param(base_url=deployment.url, api_key=deployment.key, max_retries=0)
    yield client
    await settle(client.close())


def is_billed(answer: AnyClient) -> bool:
    """Say whether an answer knows what it cost and what is left."""
    limit = answer.rate_limit
    assert isinstance(limit.remaining, int)
    assert 0 < limit.reset <= 60
    assert limit.requests.limit >= limit.requests.remaining >= 0
    assert limit.tokens.limit > limit.tokens.remaining > 0
    assert 0 < limit.tokens.reset <= 60
    return bool(answer.cost == Decimal(COST))


async def test_whole_answer(client: AnyClient) -> None:
    """Cost exact to the nano-dollar; nothing of it in what is dumped."""
    answer = await settle(client.chat.completions.create(**CHAT))
    assert isinstance(answer, techstoneai.ChatCompletion)
    assert is_billed(answer)
    assert not {"cost", "rate_limit", "_cost", "_rate_limit"} & answer.model_dump().keys()
    assert "rate_limit" not in answer.to_json() + repr(answer)


async def test_raw_and_streaming_response(client: AnyClient) -> None:
    """`.parse()` gives the same answer."""
    raw = await settle(client.chat.completions.with_raw_response.create(**CHAT))
    assert is_billed(raw.parse())
    assert is_billed((await settle(client.with_raw_response.chat.completions.create(**CHAT))).parse())
    manager = client.chat.completions.with_streaming_response.create(**CHAT)
    if hasattr(manager, "__aenter__"):
        async with manager as response:
            assert is_billed(await response.parse())
    else:
        with manager as response:
            assert is_billed(response.parse())


async def test_parsed_answer(client: AnyClient) -> None:
    """`parse()` too, with what was parsed."""
    tool = techstoneai.pydantic_function_tool(Nothing, name="weather")
    plain: Any = openai.AsyncOpenAI if isinstance(client, AsyncTechStoneAI) else openai.OpenAI
    for answer in (
        await settle(client.chat.completions.parse(**CHAT, tools=[tool])),
        (await settle(client.chat.completions.with_raw_response.parse(**CHAT, tools=[tool]))).parse(),
    ):
        assert is_billed(answer)
        assert answer.choices[0].message.tool_calls[0].function.parsed_arguments == Nothing()
        assert isinstance(answer, techstoneai.ParsedChatCompletion)
    other = plain(base_url=str(client.base_url), api_key=client.api_key)
    same = await settle(other.chat.completions.parse(**CHAT, tools=[tool]))
    assert answer.model_dump() | {"id": ""} == same.model_dump() | {"id": ""}
    await settle(other.close())


async def test_stream(client: AnyClient) -> None:
    """Limits at once; the cost with the last chunk, if usage was asked for."""
    stream = await settle(client.chat.completions.create(**CHAT, stream=True, **USAGE))
    assert (stream.cost, stream.rate_limit.remaining >= 0) == (None, True)
    await collect(stream)
    assert is_billed(stream)
    assert isinstance(stream, techstoneai.ChatStream | techstoneai.AsyncChatStream)
    raw = await settle(client.chat.completions.with_raw_response.create(**CHAT, stream=True, **USAGE))
    streamed = raw.parse()
    await collect(streamed)
    assert is_billed(streamed)
    silent = await settle(client.chat.completions.create(**CHAT, stream=True))
    await collect(silent)
    assert silent.cost is None


async def test_stream_taken_chunk_by_chunk(client: AnyClient) -> None:
    """`next()` notes the usage as a loop does."""
    stream = await settle(client.chat.completions.create(**CHAT, stream=True, **USAGE))
    chunks = [await settle(anext(stream) if isinstance(client, AsyncTechStoneAI) else next(stream)) for _ in range(5)]
    assert chunks[-1].usage.total_tokens == 11
    assert is_billed(stream)
    await settle(stream.close())


async def test_estimate(client: AnyClient) -> None:
    """What a request would take, by the service's own count; it takes what `create` takes."""
    estimate = await settle(client.estimate(**CHAT, max_tokens=100, stream=True, temperature=openai.omit))
    assert isinstance(estimate, techstoneai.Estimate)
    assert (estimate.object, estimate.admissible, estimate.refusal) == ("estimate", True, None)
    assert estimate.cost.maximum > estimate.cost.prompt + 100 * Decimal("0.00001")
    assert (estimate.route[0].provider, estimate.limits.concurrent > 0) == ("up", True)
    with pytest.raises(openai.NotFoundError):
        await settle(client.estimate(**CHAT | {"model": "none"}))


async def test_limits(deployment: Deployment, client: AnyClient) -> None:
    """What is left and who was refused, of the account and of a key with limits of its own; looking takes nothing."""
    own = client.with_options(api_key=deployment.slow)
    for _ in range(2):  # of one a minute, for all tests of the session
        with contextlib.suppress(openai.RateLimitError):
            await settle(own.chat.completions.create(**CHAT))
    limits = await settle(own.limits())
    assert (limits.object, limits.key.requests.limit, limits.key.requests.remaining) == ("limits", 1, 0)
    assert (limits.key.tokens, limits.key.concurrent, limits.credit, limits.caps) == (None, None, None, [])
    refused = limits.refused[0]
    assert (refused.axis, refused.scope, refused.model) == ("requests", "key", "gpt-4o")
    assert deployment.slow.endswith(refused.key_hint[-4:])
    assert abs(refused.at - time.time()) < 60
    assert 0 < refused.retry_after <= 60
    before = await settle(client.limits())
    assert isinstance(before, techstoneai.Limits)
    assert (before.key, before.refused) == (None, limits.refused)
    assert 0 < before.account.requests.reset_seconds <= 60
    assert before.account.tokens.limit > before.account.tokens.remaining > 0
    assert before.account.concurrent.limit > before.account.concurrent.used
    after = await settle(client.limits())
    assert after.account.requests.remaining >= before.account.requests.remaining


async def test_limits_in_money_are_decimals(recorder: Recorder) -> None:
    """Credit and caps, exact; what is not known yet is None, and a limit that is new breaks nothing."""
    cap = {"scope": "key", "period": "day", "limit": "5.00", "spent": "0.000000001", "remaining": None}
    limit = {"limit": 1, "used": 1, "remaining": 0, "reset_seconds": 1.5}
    account = {"requests": limit, "tokens": limit, "concurrent": {"limit": 1, "used": 0}}
    refused = {"at": 1.5, "axis": "images", "scope": "key", "key_hint": "h", "model": None, "retry_after": None}
    told = {"plan": "pro", "account": account, "key": None, "credit": "4.20", "caps": [cap], "refused": [refused]}
    recorder.answer({"object": "limits", **told})
    with TechStoneAI(base_url=recorder.url, api_key="k") as client:
        limits = client.limits()
    assert limits.credit == Decimal("4.20")
    (found,) = limits.caps
    assert (found.limit, found.spent, found.remaining) == (Decimal(5), Decimal("0.000000001"), None)
    assert (limits.refused[0].axis, limits.refused[0].model) == ("images", None)
    assert recorder.received[0].path == "/v1/limits"


async def test_answer_survives_copies(client: AnyClient) -> None:
    """Copied, deep or not, and pickled."""
    answer = await settle(client.chat.completions.create(**CHAT))
    for same in (copy.deepcopy(answer), answer.model_copy(), pickle.loads(pickle.dumps(answer))):  # noqa: S301 - our own
        assert is_billed(same)


def test_service_that_says_nothing(recorder: Recorder) -> None:
    """Then there is nothing to know, and nothing breaks; the usage's cost counts where the header is not there."""
    recorder.answer(ANSWER)
    with TechStoneAI(base_url=recorder.url, api_key="k") as client:
        answer = client.chat.completions.create(model="m", messages=[])
        assert (answer.cost, answer.rate_limit) == (None, RateLimit())
        recorder.answers = [(200, {}, ANSWER | {"usage": {"prompt_tokens": 1, "cost": "0.5"}})]
        assert client.chat.completions.create(model="m", messages=[]).cost == Decimal("0.5")
        recorder.answers = [(200, {"x-techstone-cost": "free", "x-ratelimit-remaining": "-"}, ANSWER)]
        answer = client.chat.completions.create(model="m", messages=[])
        assert (answer.cost, answer.rate_limit.remaining) == (None, None)
    made_by_hand = techstoneai.ChatCompletion.model_construct(id="c")
    assert (made_by_hand.cost, made_by_hand.rate_limit) == (None, RateLimit())


def test_other_answers_are_openais(recorder: Recorder) -> None:
    """A class of stream or answer that the caller asks for is made as asked for."""
    recorder.answer({"a": 1})

    class Mine(techstoneai.BaseModel):
        a: int

    with TechStoneAI(base_url=recorder.url, api_key="k") as client:
        assert client.post("/x", cast_to=Mine, body={}) == Mine(a=1)
        assert type(client.chat.completions.with_raw_response.create(model="m", messages=[]).parse(to=Mine)) is Mine


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1m0s", 60.0), ("12ms", 0.012), ("8.64s", 8.64), ("1h2m3.5s", 3723.5), ("0s", 0.0), ("150µs", 0.00015),
        ("60", 60.0), ("", None), ("soon", None), ("1m x", None), ("-1s", None), ("1", 1.0), (".5s", 0.5),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float | None) -> None:
    """As Go prints them, and plain seconds."""
    assert RateLimit.of({"x-ratelimit-reset-tokens": text}).tokens.reset == pytest.approx(seconds)


def test_limits_of_an_error(deployment: Deployment) -> None:
    """An error's headers say the same."""
    with (
        TechStoneAI(base_url=deployment.url, api_key=deployment.limited, max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError) as refused,
    ):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    limit = RateLimit.of(refused.value.response.headers)
    assert isinstance(limit.remaining, int)
    assert limit.requests != Allowance()
