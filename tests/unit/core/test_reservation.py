"""What is reserved before a request runs: never less than what was asked for, never the whole plan unasked."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core import chat, pricing
from techstone.core.pricing import FREE, Price
from techstone.core.reservation import DEFAULT_OUTPUT, STEP, Reservation, estimate_prompt, reserve
from techstone.core.snapshot import Limits, Model

_PRICE = Price(1, 0, 2_500_000_000, 10_000_000_000, reasoning=12_000_000_000)
_CHOICES = st.integers(1, 8)
_TOKENS = st.integers(1, 10_000)
_OWN = st.none() | st.integers(256, 10_000)  # what a model can
_TPM = st.integers(1000, 200_000)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=2000)
# What a model is asked in, as JSON has it: an image in a data URL is long, whatever it shows.
_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3000}}


def read(**fields: object) -> chat.ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello!"}], **fields}
    return chat.read(json.dumps(body, ensure_ascii=False).encode())


def ask(content: object, **fields: object) -> int:
    return estimate_prompt(read(messages=[{"role": "user", "content": content}], **fields))


def plan(tpm: int) -> Limits:
    return Limits(60, tpm, 5)


def check(found: Reservation, n: int) -> None:
    """Assert what holds of every reservation."""
    most = pricing.cost(_PRICE, found.prompt, 0, found.covered, found.covered)
    assert found.nano >= most > 0
    assert found.tokens >= found.prompt + found.covered
    assert found.covered >= n


@given(_TEXT, _TOKENS, _CHOICES, _OWN, _TPM, st.sampled_from(["whole", "stream"]))
def test_limit_that_the_client_gave_is_reserved_wholly(
    text: str, most: int, n: int, own: int | None, tpm: int, kind: str
) -> None:
    """For every choice, beside the prompt, whatever the plan and the model; the upstream has been told it already."""
    request = read(messages=[{"role": "user", "content": text}], max_tokens=most, n=n, stream=kind == "stream")
    found = reserve(request, Model("m", (), max_output_tokens=own), _PRICE, plan(tpm))
    check(found, n)
    assert found.prompt == estimate_prompt(request)
    assert found.tokens == found.prompt + most * n
    assert found.covered == (min(most, STEP) if kind == "stream" else most) * n
    assert (found.output, found.enforced, found.whole) == (None, False, True)


@given(_TEXT, _CHOICES, _OWN, _TPM)
def test_answer_without_a_limit_takes_its_share_of_the_plan(text: str, n: int, own: int | None, tpm: int) -> None:
    """A quarter of what its prompt leaves, or 256 tokens a choice where that is more; never more than the model can."""
    request = read(messages=[{"role": "user", "content": text}], n=n)
    found = reserve(request, Model("m", (), max_output_tokens=own), _PRICE, plan(tpm))
    check(found, n)
    assert found.output is not None
    assert found.tokens == found.prompt + found.output * n
    share = (tpm - found.prompt) // 4
    assert min(256, own or DEFAULT_OUTPUT) <= found.output <= (own or DEFAULT_OUTPUT)
    assert found.output * n <= max(share, 256 * n)
    room = found.output == (own or DEFAULT_OUTPUT) or (found.output + 1) * n > share
    assert room, "no less than what fits"
    assert found.enforced == (found.output != own), "the upstream is told every bound that is not its own"
    assert found.whole


@given(_CHOICES, st.none() | _TOKENS, _TPM)
def test_stream_without_a_limit_begins_with_one_step(n: int, own: int | None, tpm: int) -> None:
    """1,024 tokens a choice, or what the model can where that is less: then no more can come, and none is asked for."""
    found = reserve(read(n=n, stream=True), Model("m", (), max_output_tokens=own), _PRICE, plan(tpm))
    check(found, n)
    assert found.tokens - found.prompt == found.covered == min(STEP, own or STEP) * n
    assert (found.output, found.enforced) == (own, False)
    assert found.whole == (own is not None and own <= STEP)


def test_what_is_free_holds_no_money() -> None:
    """Tokens are reserved all the same."""
    found = reserve(read(), Model("m", ()), FREE, plan(10**6))
    assert (found.nano, found.tokens) == (0, found.prompt + DEFAULT_OUTPUT)


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog, and 12 others; isn't it?\n",
        "Съешь же ещё этих мягких французских булок, да выпей чаю.\n",
        "いろはにほへとちりぬるを我が世誰ぞ常ならむ。",
        "def add(first: int, second: int) -> int:\n    return first + second\n",
    ],
)
def test_prompt_is_estimated_above_our_own_count(text: str) -> None:
    """Prose in three alphabets, and code, short and long: what it will be counted at fits in."""
    for times in (1, 100):
        request = read(messages=[{"role": "user", "content": text * times}] * 3)
        assert estimate_prompt(request) >= request.estimate()


@given(_TEXT)
def test_text_is_estimated_by_its_bytes(text: str) -> None:
    """A token for every three bytes of the messages' JSON, and eight: no text is tokenised before it is admitted."""
    for content in (text, f'{text} says "hello" ' * 100):
        request = read(messages=[{"role": "user", "content": content}, {"role": "assistant", "content": content}])
        assert estimate_prompt(request) == 8 + len(bytes(request.fields["messages"])) // 3


@given(_TEXT, _TEXT)
def test_longer_prompt_is_not_estimated_lower(text: str, more: str) -> None:
    """Whether in one message, in two, or in parts beside an image."""
    assert ask(text) <= ask(text + more)
    assert ask([_IMAGE, {"type": "text", "text": text}]) <= ask([_IMAGE, {"type": "text", "text": text + more}])
    first = {"role": "user", "content": text}
    assert ask(text) <= estimate_prompt(read(messages=[first, {"role": "assistant", "content": more}]))


@pytest.mark.parametrize(
    "part",
    [
        _IMAGE,
        {"type": "input_audio", "input_audio": {"data": "A" * 3000, "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 3000}},
    ],
)
def test_media_are_counted_by_the_piece(part: dict[str, object]) -> None:
    """Ten times the base64 is no token more; a piece is 1,105 and its frame; text beside it counts by its bytes."""
    larger = json.loads(json.dumps(part).replace("A" * 3000, "A" * 30_000))
    assert ask([part]) == ask([larger])
    assert 1105 < ask([part]) < 1105 + 50, "beside the frames of the request and of the message"
    assert 2 * 1105 < ask([part, part]) < 2 * 1105 + 100
    assert 500 <= ask([part, {"type": "text", "text": "abc" * 500}]) - ask([part]) < 520


def test_messages_without_content_count_beside_media() -> None:
    """An assistant's call of a tool, and a message that is plain text."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    picture = {"role": "user", "content": [_IMAGE]}
    alone = estimate_prompt(read(messages=[picture]))
    called = estimate_prompt(read(messages=[picture, {"role": "assistant", "content": None, "tool_calls": [call]}]))
    assert called > alone
    assert estimate_prompt(read(messages=[picture, {"role": "system", "content": "abc" * 500}])) >= alone + 500


def test_text_that_speaks_of_images_is_text() -> None:
    """The words alone, in a long prompt, make nothing of it free."""
    assert ask('"image_url" ' * 1000) >= 1000 * len('"image_url" ') // 3


def test_tools_and_formats_count() -> None:
    """Their schemas go into the model's prompt."""
    function = {"name": "f", "description": "abc" * 500}
    assert ask("Hi", tools=[{"type": "function", "function": function}]) >= ask("Hi") + 500
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"title": "abc" * 500}}}
    assert ask("Hi", response_format=schema) >= ask("Hi") + 500
    assert ask("Hi", user="abc" * 500) == ask("Hi")


def test_image_by_url_counts_as_an_image() -> None:
    """However short its address is."""
    images = [{"type": "image_url", "image_url": {"url": f"https://e.x/{number}.png"}} for number in range(10)]
    assert ask(images) > 10 * 1105


def test_arguments_of_tool_calls_count_beside_an_image() -> None:
    """Only what the media hold is left out."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "word " * 20_000}}
    messages = [{"role": "user", "content": [_IMAGE]}, {"role": "assistant", "tool_calls": [call]}]
    request = read(messages=messages)
    assert estimate_prompt(request) >= request.estimate() > 20_000


def test_bound_leaves_the_prompt_its_place_in_the_context() -> None:
    """Of a model that says its window and no longest answer: an upstream refuses what cannot fit."""
    found = reserve(read(), Model("m", (), context_window=2048), FREE, plan(150_000))
    assert found.output is not None
    assert found.prompt + found.output == 2048
    assert found.enforced


def test_long_prompt_leaves_room_for_an_answer() -> None:
    """115 kB on a plan of 150,000 a minute: a quarter of what is left, not a stump of 256 tokens."""
    request = read(messages=[{"role": "user", "content": "word " * 23_000}])
    found = reserve(request, Model("m", (), max_output_tokens=16_384), FREE, plan(150_000))
    assert found.output == 16_384
