"""A stream on its way through, at every split point."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert

from techstone.core.splice import ChatStream, Options
from techstone.core.tally import Tally
from techstone.wire.usage import BilledUsage


def chunk(delta: dict[str, object], finish: str | None = None, **more: object) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "up",
        "choices": [choice],
        **more,
    }


def write(chunks: list[dict[str, object]], end: str = "\n") -> bytes:
    events = [json.dumps(one, separators=(",", ":"), ensure_ascii=False) for one in chunks] + ["[DONE]"]
    return "".join(f"data: {event}{end}{end}" for event in events).encode()


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CHUNKS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": 'Grüße, "Welt" \\ 🌍'}),
    chunk({"content": "\n- [DONE]\n"}),
    chunk({}, "stop"),
    {**chunk({}), "choices": [], "usage": USAGE},
]
OPENAI = write(CHUNKS)


def relay(pieces: list[bytes], *, include_usage: bool = False, model: str = "up") -> tuple[bytes, ChatStream]:
    stream = ChatStream(Options(model, include_usage, "fallback", 1), Tally(lambda: 3))
    out = b"".join(stream.feed(piece) for piece in pieces)
    if include_usage and stream.done:
        out += stream.last_chunk(convert(stream.tally.settled(), BilledUsage, from_attributes=True))
    return out, stream


@pytest.mark.parametrize("cut", range(len(OPENAI) + 1))
def test_relayed_byte_for_byte_at_every_split(cut: int) -> None:
    """What has the full form already leaves as it came, but for the usage chunk and [DONE], wherever it was cut."""
    out, stream = relay([OPENAI[:cut], OPENAI[cut:]])
    assert out == write(CHUNKS[:4])[: -len(b"data: [DONE]\n\n")]
    assert stream.done
    assert stream.finished
    assert stream.tally.settled().completion_tokens == 2


@given(st.lists(st.integers(1, 40)), st.sampled_from(["\n", "\r\n", "\r"]))
def test_line_ends_and_pieces_do_not_matter(sizes: list[int], end: str) -> None:
    """LF, CR LF and CR, in any pieces, give the same events."""
    data = write(CHUNKS, end)
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    out, stream = relay([*pieces, data])
    assert out == relay([OPENAI])[0]
    assert stream.done


def test_model_is_the_one_that_was_asked_for() -> None:
    """Every chunk carries the client's name of the model."""
    out, _ = relay([OPENAI], model="gpt-4o")
    assert out == relay([OPENAI])[0].replace(b'"model":"up"', b'"model":"gpt-4o"')


def test_usage_comes_last_and_is_null_before() -> None:
    """With include_usage every chunk has `usage`, null but in the last, whose choices are empty (document)."""
    out, _ = relay([OPENAI], include_usage=True)
    events = [json.loads(event[6:]) for event in out.decode().strip().split("\n\n")]
    assert [event["usage"] for event in events] == [None] * 4 + [USAGE]
    assert events[-1]["choices"] == []


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(TEXTS, max_size=5), st.booleans(), st.booleans())
def test_fast_and_slow_way_give_the_same_values(texts: list[str], ascii_only: bool, usage: bool) -> None:  # noqa: FBT001 - drawn
    """A chunk that is copied and one that is written anew (spaces in its JSON) mean the same."""
    chunks = [chunk({"role": "assistant", "content": ""}), *[chunk({"content": text}) for text in texts]]
    chunks.append(chunk({}, "stop"))
    tight, loose = (
        "".join(f"data: {json.dumps(one, separators=pair, ensure_ascii=ascii_only)}\n\n" for one in chunks).encode()
        for pair in ((",", ":"), (", ", ": "))
    )
    outs = [relay([data], include_usage=usage, model="m") for data in (tight, loose)]
    values = [[json.loads(line[6:]) for line in out.decode().split("\n\n") if line] for out, _ in outs]
    assert values[0] == values[1]
    assert outs[0][1].tally.counted() == outs[1][1].tally.counted()


def test_sloppy_chunks_are_brought_to_the_full_form() -> None:
    """llama.cpp's form (usage and timings on the finish chunk) and vLLM's (text with the finish) leave as OpenAI's."""
    sloppy: list[dict[str, object]] = [
        {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "Hi"}, "index": 0}], "timings": {"a": 1}},
        {"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": "stop"}], "usage": USAGE},
    ]
    out, stream = relay([write(sloppy)])
    events = [json.loads(event[6:]) for event in out.decode().strip().split("\n\n")]
    assert [event["choices"][0]["delta"] for event in events] == [
        {"role": "assistant", "content": "Hi"},
        {"content": "!"},
        {},
    ]
    assert [event["choices"][0]["finish_reason"] for event in events] == [None, None, "stop"]
    assert all(event["id"] == "fallback" and "timings" not in event and "usage" not in event for event in events)
    assert stream.tally.settled().total_tokens == 5


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"data: {nonsense}\n\n", "broken"),
        (b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n', "broken"),
        (b"data: " + b"x" * (1024 * 1024 + 10), "broken"),
        (b'data: {"error":{"message":"no","code":400}}\n\n', "error"),
    ],
)
def test_what_cannot_be_relayed_stops_the_stream(data: bytes, what: str) -> None:
    """Garbage, invalid UTF-8, an endless line and an error event end the relay; nothing of them reaches the client."""
    first = write(CHUNKS[:1])[: -len(b"data: [DONE]\n\n")]
    out, stream = relay([first, data, OPENAI])
    assert out == first
    assert getattr(stream, what)


def test_done_without_finish_reason_is_not_complete() -> None:
    """A stream is complete only with a finish_reason and [DONE]."""
    _, stream = relay([write(CHUNKS[:2])])
    assert stream.done
    assert not stream.finished


def test_missing_usage_is_counted() -> None:
    """Where the upstream gives no usage, the text that went by is counted."""
    _, stream = relay([write(CHUNKS[:4])])
    assert stream.tally.settled().completion_tokens > 3


PLAIN = [chunk({"role": "assistant", "content": ""}), *[chunk({"content": f"{number} "}) for number in range(5)]]


@pytest.mark.parametrize("odd", [b": comment\n\n", b"event: x\ndata: [1]\n\n", b"\n", b"data:[1]\n\n"])
def test_odd_event_in_the_middle_takes_the_slow_way_from_there(odd: bytes) -> None:
    """What came before is out already; what comes after is read by the general splitter."""
    parts = [b"data: %b\n\n" % json.dumps(one, separators=(",", ":")).encode() for one in PLAIN]
    out, stream = relay([*parts[:3], odd, *parts[3:], write([chunk({}, "stop")])])
    if b"[1]" in odd:
        assert (out, stream.broken) == (b"".join(parts[:3]), "an event that is not JSON")
        return
    assert out == b"".join(parts) + write([chunk({}, "stop")])[: -len(b"data: [DONE]\n\n")]
    assert stream.done


def test_endless_event_after_an_odd_one_is_given_up() -> None:
    """The general splitter has the same bound."""
    _, stream = relay([b": comment\n\ndata: " + b"x" * (1024 * 1024 + 10)])
    assert stream.broken is not None
    assert stream.over


def test_nothing_after_the_end_is_relayed() -> None:
    """Bytes behind [DONE] are nobody's."""
    out, stream = relay([OPENAI + OPENAI])
    assert out == relay([OPENAI])[0]
    assert stream.done


def test_invalid_text_in_the_learned_form_is_refused() -> None:
    """A chunk that would be copied is looked at for its encoding first."""
    parts = [b"data: %b\n\n" % json.dumps(one, separators=(",", ":")).encode() for one in PLAIN]
    bad = parts[3].replace(b"2 ", b"\xc0\xaf")
    out, stream = relay([*parts[:3], bad, *parts[4:]])
    assert out == b"".join(parts[:3])
    assert stream.broken is not None
    joined, other = relay([b"".join([*parts[:3], bad, *parts[4:]])])
    assert (joined, other.broken) == (out, stream.broken)
