"""The frames: what is told is read, and what is not a frame of a known format is refused."""

from __future__ import annotations

import msgspec
import pytest
from changes import EMPTY, PLANS

from techstone.core.snapshot import Account, Head, Provider
from techstone.core.stream import (
    FORMAT,
    OLDEST,
    Delta,
    Heartbeat,
    SnapshotError,
    advance,
    choose_format,
    decode,
    encode,
    lower,
)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"type":"snapshot"}',
        b'{"type":"novelty","revision":1}',
        b'{"type":"heartbeat","revision":"1"}',
        b'{"type":"delta","base":1,"revision":2,"keys":[{"id":"k1"}]}',
        encode(msgspec.structs.replace(EMPTY, format=FORMAT + 1)),
        encode(msgspec.structs.replace(EMPTY, format=OLDEST - 1)),
    ],
)
def test_unknown_frame_is_refused(line: bytes) -> None:
    """Anything but a frame of a format that is read here is a SnapshotError and nothing else."""
    with pytest.raises(SnapshotError):
        decode(line)


def test_frame_is_one_line() -> None:
    """A line end inside a value does not end the frame."""
    snapshot = msgspec.structs.replace(EMPTY, accounts=(Account("a1", "a\n@b.c", "pro"),))
    assert encode(snapshot).count(b"\n") == 1
    assert decode(encode(snapshot)) == snapshot


def test_unknown_optional_field_is_no_other_format() -> None:
    """A newer control plane may add a field; an older gateway reads on."""
    assert decode(b'{"type":"heartbeat","revision":3,"novelty":1}') == Heartbeat(3, 2)


@pytest.mark.parametrize(("reads", "spoken"), [(1, 1), (2, 2), (3, 2), (99, 2)])
def test_gateway_is_told_in_what_it_reads(reads: int, spoken: int) -> None:
    """The newest format of both."""
    assert choose_format(reads) == spoken


def test_gateway_that_reads_nothing_of_ours_is_refused() -> None:
    """With what is told here, so that an operator knows which side to update."""
    with pytest.raises(SnapshotError, match="formats 1 to 2 are told here"):
        choose_format(0)


def test_head_advances_by_what_follows_it() -> None:
    """Records of the catalog by their names; those of accounts and keys are the register's."""
    head = Head(1, PLANS)
    assert advance(head, Delta(1, 2, gone_plans=("free",))) == Head(2, PLANS[:1])
    with pytest.raises(SnapshotError, match="change from revision 0, have 1"):
        advance(head, Delta(0, 2))


def test_kinds_and_routings_of_another_time_are_read() -> None:
    """And go on as they are, onto the disk, for a newer gateway; the rest of the frame is of use."""
    other = Provider("gpu", "tomorrow", "https://gpu.example/v1", routing="tidal")
    for frame in (Head(1, providers=(other,)), Delta(0, 1, providers=(other,))):
        assert decode(encode(frame)) == frame


def test_format_1_knows_two_kinds() -> None:
    """Whatever else speaks OpenAI's API is told as that."""
    told = [Provider(kind, kind, "https://up.example/v1") for kind in ("openai", "engine", "vllm", "tomorrow")]
    assert [one.kind for one in lower(tuple(told))] == ["openai", "engine", "openai", "openai"]
