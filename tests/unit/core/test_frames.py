"""Frames: what was written whole is read, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from techstone.core import frames

_PAYLOADS = st.lists(st.binary(min_size=1, max_size=60), max_size=8)


def _read(data: bytes) -> list[bytes]:
    return [payload for payload, _ in frames.read(data)]


@given(_PAYLOADS)
def test_frames_read_back_in_order(payloads: list[bytes]) -> None:
    """Every payload comes back, and the last position is the end."""
    data = b"".join(map(frames.frame, payloads))
    assert _read(data) == payloads
    assert [end for _, end in frames.read(data)][-1:] == ([len(data)] if payloads else [])


@given(_PAYLOADS, st.integers(1, 60))
def test_torn_tail_is_left_out(payloads: list[bytes], cut: int) -> None:
    """Cut anywhere, what is read is a beginning of what was written."""
    data = b"".join(map(frames.frame, payloads))
    found = _read(data[:-cut])
    assert found == payloads[: len(found)]
    assert len(found) < len(payloads) or not payloads


@given(_PAYLOADS.filter(bool), st.data())
def test_damage_ends_the_reading(payloads: list[bytes], data: st.DataObject) -> None:
    """A changed bit anywhere is seen: only what stands before the damaged frame is read."""
    whole = bytearray(b"".join(map(frames.frame, payloads)))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    ends = [0, *(end for _, end in frames.read(b"".join(map(frames.frame, payloads))))]
    hit = sum(end <= bit // 8 for end in ends) - 1
    assert _read(bytes(whole)) == payloads[:hit]


def test_zero_bytes_are_no_frames() -> None:
    """What a crash leaves where a file was made longer but not written reads as nothing."""
    assert _read(frames.frame(b"a") + bytes(4096)) == [b"a"]
