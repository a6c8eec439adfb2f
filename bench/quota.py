"""A bound on what processes may take of a core, as Linux's control groups keep it; needs root.

Two gateways, their load, an upstream and Redis do not fit two cores: without a bound, what a second gateway adds is
what the load has left. The period is short, so that a bound delays an answer by some milliseconds and no more.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MICROS = 10_000
_NEW, _OLD = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu")


@contextlib.contextmanager
def bounding(pids: list[int], percent: int) -> Iterator[None]:
    """Give each process so many hundredths of a core; raise OSError where that cannot be had."""
    made: list[Path] = []
    try:
        for pid in pids:
            made.append(_home() / f"techstone-bench-{os.getpid()}-{pid}")
            made[-1].mkdir()
            _bound(made[-1], _MICROS * percent // 100)
            (made[-1] / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for group in made:
            home = group.parent / "cgroup.procs"
            for member in (group / "cgroup.procs").read_text().split():
                home.write_text(member)
            group.rmdir()


def _home() -> Path:
    """Return where groups are: of version 1 where that has the processors, else of version 2."""
    return _OLD if (_OLD / "cpu.cfs_quota_us").exists() else _NEW


def _bound(group: Path, quota: int) -> None:
    if group.parent == _OLD:
        (group / "cpu.cfs_period_us").write_text(str(_MICROS))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (group / "cpu.max").write_text(f"{quota} {_MICROS}")
