"""What a process does because our supervisor started it: says when it is ready, and does not outlive its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import msgspec

READY_FD = "TECHSTONE_READY_FD"
PARENT = "TECHSTONE_PARENT"

# prctl(2): the signal that the kernel sends when the parent dies.
_PR_SET_PDEATHSIG = 1


class News(msgspec.Struct, frozen=True):
    """What a child tells its parent once it serves. `first_key` and `claim` are set by the very first start only."""

    first_key: str | None = None
    claim: str | None = None  # the path of a link


def follow_parent() -> None:
    """End with the process that started this one, also when it is killed; nothing where none of ours did."""
    parent = os.environ.pop(PARENT, None)
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(0)  # it died before we asked


def report_ready(news: News) -> None:
    """Tell the parent; nothing where nobody waits."""
    number = os.environ.pop(READY_FD, None)
    if number is not None:
        with os.fdopen(int(number), "wb") as pipe:
            pipe.write(msgspec.json.encode(news) + b"\n")
