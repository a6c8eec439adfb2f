"""What a killed process leaves behind of the requests that it had admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techstone.adapters.limits.admissions import Admissions
from techstone.adapters.limits.memory import MemoryLimits
from techstone.core.limits import Claim, Grant
from techstone.core.snapshot import Account, Key, Plan
from techstone.core.view import make_principal

if TYPE_CHECKING:
    from pathlib import Path

_PLAN = Plan("p", 60, 1000, 50, "postpaid")
_WHO = make_principal(Key("k1", "0" * 64, "a1", "n", "h"), Account("a1", "a@x", "p"), _PLAN)
_NOW = 1_764_000_000.0


def _claim(number: int, tokens: int = 10) -> Claim:
    return Claim(b"req_%032d" % number, _WHO, tokens, 0)


async def _admit(limits: MemoryLimits, number: int) -> Grant:
    grant = await limits.admit(_claim(number))
    assert isinstance(grant, Grant)
    return grant


async def test_killed_process_gives_nobody_its_place_in_the_plan_again(tmp_path: Path) -> None:
    """Requests without a known end count after the restart, with all that they reserved by then."""
    limits = MemoryLimits(lambda: 1000.0, lambda: _NOW, Admissions(tmp_path / "a"))
    grants = [await _admit(limits, number) for number in range(40)]
    assert limits.top_up(grants[0], 100, 0) is None
    for grant in grants[30:]:
        limits.settle(grant, 5, 0)
    again = MemoryLimits(lambda: 5.0, lambda: _NOW + 20, Admissions(tmp_path / "a"))
    again.recover([])
    standing = again.standing(_WHO)
    assert (standing.remaining_requests, standing.remaining_tokens) == (20, 1000 - 100 - 40 * 10)
    assert standing.reset == 40.0


def test_what_ended_or_is_old_is_not_recalled(tmp_path: Path) -> None:
    """The journal knows the ends; a minute is all that counts."""
    admissions = Admissions(tmp_path / "a")
    for number, age in enumerate((70, 59, 30, 1)):
        admissions.note(_claim(number, number), _NOW - age)
    found = Admissions(tmp_path / "a").recall(_NOW - 60, {f"req_{2:032d}"})
    assert [(admission.tokens, admission.account, admission.key) for admission in found] == [
        (1, "a1", "k1"),
        (3, "a1", "k1"),
    ]


def test_killed_twice_within_a_minute_is_remembered_too(tmp_path: Path) -> None:
    """What a life recalls is not written over by its own requests, however many."""
    Admissions(tmp_path / "a").note(_claim(1), _NOW)
    second = Admissions(tmp_path / "a")
    assert len(second.recall(_NOW - 59, ())) == 1
    for number in range(2, 10_002):
        second.free(second.note(_claim(number), _NOW + 1))
    ended = {f"req_{number:032d}" for number in range(2, 10_002)}
    assert len(Admissions(tmp_path / "a").recall(_NOW - 58, ended)) == 1


def test_file_grows_with_the_requests_at_a_time_only(tmp_path: Path) -> None:
    """10,000 at once take 1.4 MB; a million one after another no more than the first."""
    admissions = Admissions(tmp_path / "a")
    for number in range(9000):
        admissions.free(admissions.note(_claim(number), _NOW))
    assert (tmp_path / "a").stat().st_size == 4096 * 136
    places = [admissions.note(_claim(number), _NOW) for number in range(9000)]
    assert len(set(places)) == 9000
    assert (tmp_path / "a").stat().st_size == 3 * 4096 * 136
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    admissions.close()


async def test_late_chunk_of_a_request_that_is_over_changes_nothing(tmp_path: Path) -> None:
    """Its place may be another's by then."""
    limits = MemoryLimits(lambda: 1000.0, lambda: _NOW, Admissions(tmp_path / "a"))
    grant = await _admit(limits, 1)
    limits.settle(grant, 5, 0)
    assert limits.top_up(grant, 100, 0) is None
    assert limits.standing(_WHO).remaining_tokens == 995
