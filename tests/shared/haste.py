"""How quick is quick enough: the bound itself on a quiet machine, room for the neighbours' work anywhere else."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("TORTURE"))


def within(seconds: float) -> float:
    """Seconds that may pass: so many under `make torture`; ten times as many in `make test`, which time never gates."""
    return seconds if LONG else seconds * 10
