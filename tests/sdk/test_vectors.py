"""spec/ holds for our SDK: streams, errors and headers over a real connection."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest
from replay import Replayer, Reply, replaying
from tests.sdk.test_matrix import CHAT, settle
from vectors import read_failures, read_headers, read_streams

import techstoneai
from techstoneai import AsyncTechStoneAI, RateLimit, TechStoneAI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.sdk.test_matrix import AnyClient

    from techstoneai import Allowance

FAILURES = read_failures()
HEADERS = read_headers()
EVENTS = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
ANSWER = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": []}


@pytest.fixture(scope="module")
def replayer() -> Iterator[Replayer]:
    with replaying() as replayer:
        yield replayer


@pytest.fixture(params=[TechStoneAI, AsyncTechStoneAI])
async def client(replayer: Replayer, request: pytest.FixtureRequest) -> AsyncIterator[AnyClient]:
    """Give one client to a whole test: hundreds of vectors, each in a test of its own, would take half a minute."""
    client = request.param(base_url=replayer.url, api_key="k", max_retries=1)
    yield client
    await settle(client.close())


def answer(**more: Any) -> list[bytes]:  # noqa: ANN401 - any JSON
    """Return the body of a chat completion."""
    return [json.dumps(ANSWER | more).encode()]


def note_waits(client: AnyClient) -> list[float]:
    """Let a client retry at once, and return where it notes how long it would have waited."""
    waits: list[float] = []
    calculate = client._calculate_retry_timeout

    def note(*args: object) -> float:
        waits.append(calculate(*args))
        return 0.0

    client._calculate_retry_timeout = note
    return waits


async def read(stream: AnyClient) -> tuple[list[dict[str, Any]], Exception | None]:
    """Return the chunks of a stream, and what it raises in the end."""
    seen = []
    try:
        if hasattr(stream, "__aiter__"):
            async for chunk in stream:
                seen.append(chunk.to_dict())  # noqa: PERF401 - what came before an error is wanted
        else:
            for chunk in stream:
                seen.append(chunk.to_dict())  # noqa: PERF401 - the same
    except (openai.OpenAIError, ValueError) as error:
        return seen, error
    return seen, None


async def ask(client: AnyClient, **more: Any) -> AnyClient:  # noqa: ANN401 - any parameter
    return await settle(client.chat.completions.create(**CHAT, **more))


async def fail(client: AnyClient) -> openai.APIStatusError:
    """Ask, and return the error."""
    with pytest.raises(openai.APIStatusError) as caught:
        await ask(client)
    return caught.value


async def test_pieces_arrive_as_they_were_cut(replayer: Replayer, client: AnyClient) -> None:
    """Else the vectors' cuts would be none."""
    pieces = [b"da", b"ta: {}\r", b"\n", b"\r\n"]
    replayer.answer(Reply(200, EVENTS, pieces))
    response = (await ask(client, stream=True)).response
    whole = isinstance(client, TechStoneAI)
    assert (list(response.iter_bytes()) if whole else [piece async for piece in response.aiter_bytes()]) == pieces


async def test_stream_gives_the_chunks_at_every_cut(replayer: Replayer, client: AnyClient) -> None:
    """And ends, or raises, as it must. That [DONE] is missing is no error to openai's SDK, but a lost connection is."""
    streams = [stream for stream in read_streams() if "python" in stream.readers]
    for vector, cut, pieces in ((stream, *way) for stream in streams for way in stream.cut().items()):
        where = f"{vector.name}: {cut}"
        replayer.answer(Reply(200, EVENTS, pieces, vector.lost))
        seen, raised = await read(await ask(client, stream=True))
        assert seen == [json.loads(chunk) for chunk in vector.chunks], where
        if vector.ends == "error":
            assert isinstance(raised, openai.APIError), where
            assert raised.body == json.loads(vector.payloads[-1])["error"], where
        elif vector.ends == "malformed":
            assert isinstance(raised, ValueError), where
        elif vector.lost:
            assert isinstance(raised, openai.APIConnectionError), where
        else:
            assert raised is None, where


async def test_error_is_raised_as_its_class(replayer: Replayer, client: AnyClient) -> None:
    """As openai's own, with the four fields and the request id; and sent again only where that may help."""
    note_waits(client)
    for vector in FAILURES.errors:
        replayer.answer(Reply(vector.status, FAILURES.headers | vector.headers, [vector.body]))
        error, wanted = await fail(client), vector.error
        kind = vector.raises.python
        assert type(error) is getattr(techstoneai, kind) is getattr(openai, kind), vector.name
        found = (error.status_code, error.type, error.code, error.param)
        assert found == (vector.status, wanted.type, wanted.code, wanted.param), vector.name
        assert error.body == json.loads(vector.body)["error"], vector.name
        assert error.request_id == FAILURES.headers["x-request-id"], vector.name
        assert replayer.requests == (2 if vector.retried else 1), vector.name


def is_limit(found: Allowance | RateLimit, limit: int | None, remaining: int | None, reset: float | None) -> bool:
    counts = (getattr(found, "limit", None), found.remaining)
    return counts == (limit, remaining) and found.reset == (None if reset is None else pytest.approx(reset, abs=1e-12))


async def test_limits_are_read(replayer: Replayer, client: AnyClient) -> None:
    """What is absent or unreadable is None; whole answers, streams and errors tell the same."""
    for vector in HEADERS.rate_limit:
        whole, wanted = Reply(200, JSON | vector.headers, answer()), vector.rate_limit
        replayer.answer(whole, Reply(200, EVENTS | vector.headers, []), Reply(400, JSON | vector.headers, [b"{}"]))
        limits = (await ask(client)).rate_limit
        assert is_limit(limits, None, wanted.remaining, wanted.reset), vector.name
        for found, each in ((limits.requests, wanted.requests), (limits.tokens, wanted.tokens)):
            assert is_limit(found, each.limit, each.remaining, each.reset), vector.name
        if vector.state is not None:
            assert (await ask(client, stream=True)).rate_limit == limits, vector.name
            assert RateLimit.of((await fail(client)).response.headers) == limits, vector.name


async def test_cost_is_read(replayer: Replayer, client: AnyClient) -> None:
    """Exact, by the header or else by the usage; a stream has only the usage, in its last chunk."""
    for vector in HEADERS.cost:
        usage = {} if vector.usage_cost is None else {"usage": {"prompt_tokens": 1, "cost": vector.usage_cost}}
        events = [b"data: %b\n\ndata: [DONE]\n\n" % json.dumps({"choices": [], **usage}).encode()]
        replayer.answer(Reply(200, JSON | vector.headers, answer(**usage)), Reply(200, EVENTS, events))
        cost = None if vector.cost is None else Decimal(vector.cost)
        assert (await ask(client)).cost == cost, vector.name
        if not vector.headers:
            stream = await ask(client, stream=True)
            await read(stream)
            assert stream.cost == cost, vector.name


async def test_request_id_is_read(replayer: Replayer, client: AnyClient) -> None:
    """Of answers and of errors."""
    for vector in HEADERS.request_id:
        replayer.answer(Reply(200, JSON | vector.headers, answer()), Reply(400, JSON | vector.headers, [b"{}"]))
        assert (await ask(client))._request_id == vector.request_id, vector.name
        assert (await fail(client)).request_id == vector.request_id, vector.name


async def test_wait_is_obeyed(replayer: Replayer, client: AnyClient) -> None:
    """As long as the headers say where that is sensible, else half a second less some chance, or not at all."""
    waits = note_waits(client)
    for vector in HEADERS.retry:
        waits.clear()
        replayer.answer(Reply(vector.status, JSON | vector.headers, [b"{}"]), Reply(200, JSON, answer()))
        wanted = vector.waits.python
        await (fail(client) if wanted is None else ask(client))
        assert (replayer.requests, len(waits)) == ((1, 0) if wanted is None else (2, 1)), vector.name
        if wanted is not None:
            least, most = wanted if isinstance(wanted, tuple) else (wanted, wanted)
            assert least <= waits[0] <= most, vector.name
