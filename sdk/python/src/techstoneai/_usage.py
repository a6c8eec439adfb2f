"""What the account used: sums by model, key, hour or day, and request by request, with an admin key."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from openai.pagination import AsyncCursorPage, AsyncPage, SyncCursorPage, SyncPage

from ._management import locate, write_time
from ._record import Record

if TYPE_CHECKING:
    from datetime import datetime
    from typing import TypeAlias

    from openai._base_client import AsyncPaginator

    from ._client import AsyncTechStoneAI, TechStoneAI

    Grouping: TypeAlias = Literal["model", "key", "project", "day", "hour"]
    Moment: TypeAlias = datetime | float  # a number is unix seconds


class UsageGroup(Record):
    """A sum, its `cost` in US dollars.

    `group` is a model, the id of a key or a project ("none": keys of none); of hours and days, the first unix second.
    """

    group: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost: Decimal


class UsageRequest(Record):
    """A request: `at` in unix seconds, `cost` in US dollars. While it is "open", its numbers still grow."""

    request_id: str
    key: str
    model: str
    state: Literal["open", "settled", "void"]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost: Decimal
    at: float
    provider: str
    status: int
    stream: bool
    duration_ms: float
    first_byte_ms: float
    error_code: str | None = None

    @property
    def id(self) -> str:
        """The request id, as a page of openai's asks for it to find the next one."""
        return self.request_id


class Usage:
    """`client.usage`."""

    def __init__(self, client: TechStoneAI) -> None:
        self._client = client

    def list(
        self, *, since: Moment | None = None, by: Grouping | None = None, project: str | None = None
    ) -> SyncPage[UsageGroup]:
        """Return sums of whole hours (by day, of whole days); of the last 24 hours by model if nothing is said.

        `project`: of the keys of this project (id) alone, or of those that belong to "none".
        """
        url, options = locate(self._client, "usage", since=write_time(since), by=by, project=project)
        return self._client.get_api_list(url, model=UsageGroup, page=SyncPage[UsageGroup], options=options)

    def requests(
        self, *, since: Moment | None = None, after: str | None = None, limit: int | None = None
    ) -> SyncCursorPage[UsageRequest]:
        """Return requests, oldest first. Iterating over them fetches page after page, of `limit` each (1 to 1000)."""
        url, options = locate(self._client, "requests", since=write_time(since), after=after, limit=limit)
        page = SyncCursorPage[UsageRequest]
        return self._client.get_api_list(url, model=UsageRequest, page=page, options=options)


class AsyncUsage:
    """`client.usage` of the async client."""

    def __init__(self, client: AsyncTechStoneAI) -> None:
        self._client = client

    def list(
        self, *, since: Moment | None = None, by: Grouping | None = None, project: str | None = None
    ) -> AsyncPaginator[UsageGroup, AsyncPage[UsageGroup]]:
        """Return sums of whole hours (by day, of whole days); of the last 24 hours by model if nothing is said.

        `project`: of the keys of this project (id) alone, or of those that belong to "none".
        """
        url, options = locate(self._client, "usage", since=write_time(since), by=by, project=project)
        return self._client.get_api_list(url, model=UsageGroup, page=AsyncPage[UsageGroup], options=options)

    def requests(
        self, *, since: Moment | None = None, after: str | None = None, limit: int | None = None
    ) -> AsyncPaginator[UsageRequest, AsyncCursorPage[UsageRequest]]:
        """Return requests, oldest first. Iterating over them fetches page after page, of `limit` each (1 to 1000)."""
        url, options = locate(self._client, "requests", since=write_time(since), after=after, limit=limit)
        page = AsyncCursorPage[UsageRequest]
        return self._client.get_api_list(url, model=UsageRequest, page=page, options=options)
