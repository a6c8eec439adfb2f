"""The vectors of spec/, as values: what stands in the files is told in spec/README.md, and nothing is made up here."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

_SPEC = Path(__file__).parents[2] / "spec"

Reader: TypeAlias = Literal["service", "python", "node"]
Seconds: TypeAlias = float | tuple[float, float] | None
"""How long is waited: exactly, from and to, or None where the request is not sent again."""


class _Coded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    base64: str


_Text: TypeAlias = str | _Coded
"""Bytes: a text is its UTF-8, what is no UTF-8 stands in base64."""


class Stream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event stream, and what a reader must see of it."""

    name: str
    stream: _Text
    events: list[_Text]
    ends: Literal["done", "error", "malformed", "cut"]
    cuts: dict[str, list[int]] = {}
    after: list[_Text] = []
    lost: bool = False
    readers: tuple[Reader, ...] = ("service", "python", "node")
    note: str = ""

    @property
    def data(self) -> bytes:
        """The whole stream."""
        return _decode(self.stream)

    @property
    def payloads(self) -> list[bytes]:
        """The payloads of its events, up to the one that ends it."""
        return [_decode(event) for event in self.events]

    @property
    def chunks(self) -> list[bytes]:
        """The payloads that a program is handed: without the one that ends the stream."""
        return self.payloads if self.ends == "cut" else self.payloads[:-1]

    @property
    def unread(self) -> list[bytes]:
        """The payloads that stand behind the end."""
        return [_decode(event) for event in self.after]

    def cut(self) -> dict[str, list[bytes]]:
        """Return the stream in pieces: whole, byte by byte, and by each name of its cuts."""
        data = self.data
        ways = {"whole": [data], "byte by byte": [data[at : at + 1] for at in range(len(data))]}
        return ways | {name: slice_at(data, places) for name, places in self.cuts.items()}


def slice_at(data: bytes, places: list[int]) -> list[bytes]:
    """Return the pieces between the places."""
    return [data[start:end] for start, end in itertools.pairwise([0, *places, len(data)])]


class Detail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands under `error`; `{…}` in a text stands for what differs from case to case."""

    type: str
    code: str | None
    message: str
    param: str | None


class Raised(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The names of the exceptions."""

    python: str
    node: str


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error of the API."""

    name: str
    status: int
    error: Detail
    headers: dict[str, str]
    raises: Raised
    retried: bool
    closes: bool = False
    request: msgspec.Raw = msgspec.Raw()

    @property
    def body(self) -> bytes:
        """What is sent."""
        return msgspec.json.encode({"error": self.error})


class Failures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All errors, and the headers that each of them has."""

    headers: dict[str, str]
    errors: list[Failure]


class Allowance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One limit."""

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits; what is left out is null."""

    remaining: int | None = None
    reset: float | None = None
    requests: Allowance = Allowance()
    tokens: Allowance = Allowance()


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the service knows when it writes the limits; `wait` is what a refusal tells."""

    limit_requests: int
    remaining_requests: int
    limit_tokens: int
    remaining_tokens: int
    reset: float
    wait: float | None = None


class Limited(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Headers, and the limits that they tell."""

    name: str
    headers: dict[str, str]
    rate_limit: RateLimit
    state: State | None = None


class Billed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Headers and a usage, and the cost that they tell. `nano` is the cost that the service writes so."""

    name: str
    headers: dict[str, str]
    cost: str | None
    usage_cost: str | float | None = None
    nano: int | None = None


class Identified(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Headers, and the id that they tell."""

    name: str
    headers: dict[str, str]
    request_id: str | None


class Waits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"node6": "node 6", "node7": "node 7"}):
    """Seconds, by client."""

    python: Seconds
    node6: Seconds
    node7: Seconds


class Retried(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer, and how long is waited before its request is sent again. `wait` is what the service writes so."""

    name: str
    status: int
    headers: dict[str, str]
    waits: Waits
    wait: float | None = None
    note: str = ""


class Headers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What headers mean."""

    rate_limit: list[Limited]
    cost: list[Billed]
    request_id: list[Identified]
    retry: list[Retried]


def read_streams() -> list[Stream]:
    """Return the vectors of spec/sse.json."""
    return msgspec.json.decode((_SPEC / "sse.json").read_bytes(), type=list[Stream])


def read_failures() -> Failures:
    """Return the vectors of spec/errors.json."""
    return msgspec.json.decode((_SPEC / "errors.json").read_bytes(), type=Failures)


def read_headers() -> Headers:
    """Return the vectors of spec/headers.json."""
    return msgspec.json.decode((_SPEC / "headers.json").read_bytes(), type=Headers)


def _decode(text: _Text) -> bytes:
    return text.encode() if isinstance(text, str) else base64.b64decode(text.base64)
