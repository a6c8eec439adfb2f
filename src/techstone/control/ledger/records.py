"""The ledger's records as they are read: requests, sums of usage, violations. Money is nano-dollars, or USD strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

import msgspec

from techstone.core.usage import UsageRecord

_R = TypeVar("_R")

StoredGrouping = Literal["account", "key", "model", "day", "hour"]
"""What the ledger has sums by."""

Grouping = Literal["account", "key", "model", "day", "hour", "project"]
"""What may be asked for: a project's sums are those of the keys that belong to it now."""

NO_PROJECT = "none"
"""The group of the keys that belong to no project."""

Line = Literal["key", "model"]
Step = Literal["hour", "day"]

Outcome = Literal["all", "ok", "failed"]
"""Failed: it came to nothing (void), or its status is 400 or more, or it has an error code. Ok: it ended otherwise.

A request that is still open is neither: its status is a hang-up's until it ends.
"""

# Requests in one answer of the internal API; who wants more asks for those after the last one.
PAGE = 1000
# How many requests one call looks at in search of a page of those that are wanted. Each is a page of the file at worst:
# 12 to 25 ms of 10 million, and ten times that from a cold disk.
SEARCHED = 3000
# Among how many of an account's newest requests the last ones of its keys are looked for.
NEWEST = 1000
# Of how many requests, the newest of all, the models' latency and availability are told. They lie side by side in the
# file: of 10 million they are read with 16 ms of CPU.
MEASURED = 2000


class Violation(msgspec.Struct, frozen=True):
    """An invariant that does not hold: which, where, what was expected and what was found."""

    rule: str
    where: str
    expected: str
    found: str


class Sums(msgspec.Struct, frozen=True):
    """Usage summed over a group; `start` is the bucket's, in unix seconds, where the group is a day or an hour."""

    group: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_nano: int


class UsageShown(msgspec.Struct, frozen=True):
    """Usage as people and scripts see it; `cost` is a USD string."""

    group: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost: str


class RequestShown(msgspec.Struct, frozen=True):
    """One request as people and scripts see it; `request_id` is the answer's x-request-id, `at` in unix seconds."""

    request_id: str
    account: str  # email
    key: str
    model: str
    state: str
    prompt_tokens: int
    completion_tokens: int
    cost: str
    at: float
    provider: str
    status: int
    stream: bool
    cached_tokens: int
    reasoning_tokens: int
    duration_ms: float
    first_byte_ms: float
    error_code: str | None


class RequestDetail(RequestShown, frozen=True):
    """One request by itself: what it took to get an answer, and the version of the price that it has."""

    upstream_model: str
    attempts: int
    price: int


class RequestFilter(msgspec.Struct, frozen=True):
    """Which requests are wanted: admitted within [since, until) in unix milliseconds, and all else that is given."""

    since: int | None = None
    until: int | None = None
    status: Outcome = "all"
    model: str | None = None
    key: str | None = None
    error_code: str | None = None
    duration_ms: int = 0  # at least
    keys: tuple[str, ...] | None = None  # of one of these


class RequestPage(msgspec.Struct, Generic[_R], frozen=True):
    """Requests, newest first. `next` is where to go on from (a request's id), "" where none can follow.

    `partial`: so many were looked at that the search was ended before the page was full; it goes on from `next`.
    `reached`: everything admitted after this time was looked at (unix milliseconds; None: all that there is).
    """

    rows: tuple[_R, ...]
    next: str = ""
    partial: bool = False
    reached: int | None = None

    @property
    def more(self) -> bool:
        """Whether more may follow."""
        return bool(self.next)


class HourSums(msgspec.Struct, frozen=True):
    """What a key used in an hour, which `start` is the first unix second of."""

    key: str
    start: int
    requests: int
    cost_nano: int


class Bucket(msgspec.Struct, frozen=True):
    """What a key or model used in an hour or day, which `start` is the first unix second of."""

    group: str
    start: int
    requests: int
    tokens: int
    cost_nano: int


class Timing(msgspec.Struct, frozen=True):
    """How one request went that has ended; times in microseconds, `first_byte` 0 where none was sent."""

    model: str
    status: int
    error_code: str | None
    stream: bool
    first_byte: int
    duration: int


class Performance(msgspec.Struct, frozen=True):
    """How a model did on recent requests; times in milliseconds, None where nothing shows them.

    `available` is the share (0 to 1) that did not fail on our side; `first_*` are of streams that began, the others of
    whole answers and streams that went well.
    """

    requests: int
    available: float
    first_median: float | None = None
    first_p95: float | None = None
    total_median: float | None = None
    total_p95: float | None = None


class Rating(msgspec.Struct, frozen=True):
    """Another cost for a settled request, by another version of its price."""

    record: UsageRecord
    cost: int
    price: int


class RatingSpan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to rate anew: requests admitted within [since, until) in unix seconds, of a model or of all."""

    since: int
    until: int
    model: str | None = None
    dry_run: bool = False


class Rerating(msgspec.Struct, frozen=True):
    """What a re-rating came to; money in USD. `spared` is what prepaid accounts would have been charged besides."""

    requests: int
    changed: int
    before: str
    after: str
    spared: str


class Run(msgspec.Struct, frozen=True):
    """Records of a journal in their order, from number `first` on; `base` is the oldest that their sender still has."""

    first: int
    records: Sequence[UsageRecord]
    base: int


class Applied(msgspec.Struct, frozen=True):
    """The number of a journal's last record that is booked."""

    applied: int


class Following(msgspec.Struct, frozen=True):
    """How far the ledger has followed a journal, and when its gateway was heard last (unix seconds; None: never)."""

    applied: int
    heard_at: float | None = None


class Spending(msgspec.Struct, frozen=True):
    """What was spent in the current UTC month, and by keys in the current day; by id."""

    day: int
    accounts_month: dict[str, int]
    keys_month: dict[str, int]
    keys_day: dict[str, int]
    applied: dict[str, int]
