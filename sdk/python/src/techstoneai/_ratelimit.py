"""What the x-ratelimit-* headers of an answer say. A header that is absent or unreadable is None, never an error."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# OpenAI's resets are durations as Go prints them: 1m0s, 12ms, 8.64s (https://pkg.go.dev/time#ParseDuration).
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
# Exact in every language's JSON (RFC 8259, section 6), and no real limit comes near.
_LARGEST = 2**53 - 1


@dataclass(frozen=True)
class Allowance:
    """One limit: how much there is in a minute, what is left, and in how many seconds it is full again."""

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None


@dataclass(frozen=True)
class RateLimit:
    """The limits after an answer: requests left and seconds until they are full again, then both limits in detail."""

    remaining: int | None = None
    reset: float | None = None
    requests: Allowance = Allowance()
    tokens: Allowance = Allowance()

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> RateLimit:
        """Read an answer's headers: of an error too, `RateLimit.of(error.response.headers)`."""
        return cls(
            remaining=_count(headers.get("x-ratelimit-remaining")),
            reset=parse_duration(headers.get("x-ratelimit-reset")),
            requests=_allowance(headers, "requests"),
            tokens=_allowance(headers, "tokens"),
        )


def parse_duration(text: str | None) -> float | None:
    """Return the seconds of a Go duration or of a plain number."""
    if text is None:
        return None
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    else:
        return None
    return seconds if math.isfinite(seconds) else None


def _allowance(headers: Mapping[str, str], what: str) -> Allowance:
    return Allowance(
        _count(headers.get(f"x-ratelimit-limit-{what}")),
        _count(headers.get(f"x-ratelimit-remaining-{what}")),
        parse_duration(headers.get(f"x-ratelimit-reset-{what}")),
    )


def _count(text: str | None) -> int | None:
    if text is None or not re.fullmatch(r"\d{1,16}", text, re.ASCII):
        return None
    count = int(text)
    return count if count <= _LARGEST else None
