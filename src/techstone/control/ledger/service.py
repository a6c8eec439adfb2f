"""What may be asked of the ledger, and the one way in: batches of a journal. Knows no HTTP and no database."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING

import msgspec

from techstone.control.acts import acting
from techstone.control.ledger.performance import measure
from techstone.control.ledger.records import (
    MEASURED,
    NO_PROJECT,
    PAGE,
    Applied,
    Rating,
    RatingSpan,
    RequestDetail,
    RequestPage,
    RequestShown,
    Rerating,
    Sums,
    UsageShown,
    Violation,
)
from techstone.core import frames, money, pricing
from techstone.core.errors import InvalidRequest, ProjectNotFound
from techstone.core.usage import DECODER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from techstone.control.ledger.records import (
        Bucket,
        Following,
        Grouping,
        HourSums,
        Line,
        Performance,
        RequestFilter,
        Step,
    )
    from techstone.control.ports import Holders, KeyStore, LedgerStore, Store
    from techstone.core.pricing import Price
    from techstone.core.usage import UsageRecord

    Histories = Callable[[], Awaitable[Mapping[str, Sequence[Price]]]]

# In one transaction, for which gateways' records wait.
_RATED_AT_ONCE = 1000
_JOURNAL = re.compile(r"[0-9a-f]{16}")


class Ledger:
    """Book, list, sum, check, rate anew.

    `prepaid` gives the names of prepaid plans; `touched` takes who paid (ids); `histories` gives every version of every
    model's price, oldest first.
    """

    def __init__(
        self,
        store: Store,
        holders: Holders,
        prepaid: Callable[[], Sequence[str]],
        touched: Callable[[Iterable[str]], None],
        histories: Histories,
    ) -> None:
        self._store: LedgerStore = store.ledger
        self._keys: KeyStore = store
        self._projects = store.projects
        self._note = store.audit.note
        self._holders = holders
        self._prepaid = prepaid
        self._touched = touched
        self._histories = histories

    async def book(self, journal: str, first: int, body: bytes, base: int | None = None) -> Applied:
        """Book a batch of frames; raise InvalidRequest, and then nothing of it is booked.

        `base` is the number of the oldest record that the sender still has: it is asked for what is missing from there
        on, which is so after a backup was restored, by an answer that is before `first`.
        """
        if not _JOURNAL.fullmatch(journal) or first < 1:
            raise InvalidRequest("journal must be 16 hex digits and first a number from 1.", param="journal")
        records, end = [], 0
        try:
            for payload, position in frames.read(body):
                records.append(DECODER.decode(payload))
                end = position
        except msgspec.MsgspecError as error:
            raise InvalidRequest(f"record {first + len(records)} cannot be read: {error}") from error
        if end != len(body):
            raise InvalidRequest(f"record {first + len(records)} is damaged or torn.")
        applied = await self._store.apply(journal, first, records, base)
        self._touched({record.account for record in records if record.cost})
        return Applied(applied)

    async def find_journal(self, journal: str) -> Following:
        """Return how far a journal is booked, and when it was heard last; 0 and never of one that is not known."""
        return await self._store.find_journal(journal)

    async def list_requests(
        self, account: str | None, since: int, after: str = "", limit: int | None = None
    ) -> tuple[RequestShown, ...]:
        """Return the requests of an account (email or id; None: all) since a unix time, oldest first.

        Those after a request of that id, at most so many.
        """
        found = await self._store.list_requests(await self._find(account), since * 1000, after, limit)
        return tuple(_show(record, email) for record, email in found)

    async def find_requests(
        self, account: str, filters: RequestFilter, before: str = "", limit: int = 50
    ) -> RequestPage[RequestShown]:
        """Return a page of an account's requests (email or id), newest first, those before a request of that id.

        Raise InvalidRequest for a `before` that is no request of the account's, and for `limit`.
        """
        _require_page(limit)
        holder = await self._holders.find(account)
        page = await self._store.find_requests(holder.id, filters, before, limit)
        if page is None:
            raise InvalidRequest("before must be the id of a request of this account.", param="before")
        shown = tuple(_show(record, holder.email) for record in page.rows)
        return RequestPage(shown, page.next, page.partial, page.reached)

    async def find_request(self, account: str, request_id: str) -> RequestDetail | None:
        """Return the request of that id of an account (email or id), if it has one."""
        holder = await self._holders.find(account)
        record = await self._store.find_request(holder.id, request_id)
        return None if record is None else _detail(record, holder.email)

    async def list_failures(self, account: str, since: int, limit: int = 50) -> tuple[RequestShown, ...]:
        """Return an account's newest failed requests (email or id) since a unix time, newest first.

        Raise InvalidRequest for `limit`.
        """
        _require_page(limit)
        holder = await self._holders.find(account)
        found = await self._store.list_failures(holder.id, since * 1000, limit)
        return tuple(_show(record, holder.email) for record in found)

    async def sum_by_hour(self, account: str, since: int, keys: Collection[str] | None = None) -> tuple[HourSums, ...]:
        """Return what an account's keys (email or id), or these of them, used by the hour since a unix time."""
        return await self._store.sum_by_hour((await self._holders.find(account)).id, since, keys)

    async def sum_over_time(self, account: str, since: int, line: Line, step: Step) -> tuple[Bucket, ...]:
        """Return what an account's keys or models (email or id) used by the hour or day since a unix time."""
        return await self._store.sum_over_time((await self._holders.find(account)).id, since, line, step)

    async def measure_models(self, since: int) -> dict[str, Performance]:
        """Return how every model did on the newest requests of all accounts since a unix time, MEASURED at most."""
        return measure(await self._store.list_timings(since * 1000, MEASURED))

    async def last_used(self, account: str) -> dict[str, int]:
        """Return when an account's keys (email or id) were used last, in unix milliseconds, by the key's id.

        Exact, or the beginning of the hour of the key's last settled request.
        """
        return await self._store.last_used((await self._holders.find(account)).id)

    async def sum_usage(
        self, account: str | None, since: int, by: Grouping, project: str | None = None
    ) -> tuple[UsageShown, ...]:
        """Return sums of whole hours since a unix time; of everything, or of a project's keys (id or NO_PROJECT)."""
        holder = await self._find(account)
        keys = None if project is None else await self.list_project_keys(holder, project)
        if by == "project":
            belongs = {key.id: key.settings.project for key in await self._keys.list_keys(holder)}
            sums = _fold(await self._store.sum_usage(holder, since, "key", keys), belongs)
        else:
            sums = await self._store.sum_usage(holder, since, by, keys)
        emails = await self._holders.emails([found.group for found in sums]) if by == "account" else {}
        return tuple(
            UsageShown(
                emails.get(found.group, found.group),
                found.requests,
                found.prompt_tokens,
                found.cached_tokens,
                found.completion_tokens,
                found.reasoning_tokens,
                money.show(found.cost_nano),
            )
            for found in sums
        )

    async def list_project_keys(self, account: str | None, project: str) -> tuple[str, ...]:
        """Return the ids of the keys of an account (id) that belong to a project of it, or to none (NO_PROJECT)."""
        found = None if project == NO_PROJECT else await self._projects.find_project(project)
        if account is None or (project != NO_PROJECT and (found is None or found.account != account)):
            raise ProjectNotFound
        wanted = None if found is None else found.id
        return tuple(key.id for key in await self._keys.list_keys(account) if key.settings.project == wanted)

    async def check(self, *, quick: bool = False) -> tuple[Violation, ...]:
        """Return every invariant that does not hold; `quick`: only what can be asked of a ledger of any size."""
        return await self._store.check(self._prepaid(), quick=quick)

    async def rerate(self, span: RatingSpan) -> Rerating:
        """Give settled requests the cost of the prices that were in force then, as they are known now.

        Twice does the same as once. The difference is refunded or charged in a transfer of its own; a prepaid account
        is never charged more: it may have nothing left, and nothing is taken below zero.
        """
        if span.since >= span.until:
            raise InvalidRequest("until must be later than since.", param="until")
        if not span.dry_run:
            with acting("ledger.rerate", span.model or "every model", since=span.since, until=span.until):
                await self._note()
        prices = await self._histories()
        prepaid = await self._holders.on_plans(self._prepaid())
        requests = changed = before = after = spared = 0
        last = ""
        while batch := await self._store.read_settled(span.since * 1000, span.until * 1000, last, _RATED_AT_ONCE):
            last = batch[-1].id
            ratings = []
            for record in batch:
                if span.model not in (None, record.model) or record.model not in prices:
                    continue
                price = pricing.in_force(prices[record.model], record.at / 1000)
                cost = pricing.cost(
                    price,
                    record.prompt_tokens,
                    record.cached_tokens,
                    record.completion_tokens,
                    record.reasoning_tokens,
                )
                if cost > record.cost and record.account in prepaid:
                    spared, cost = spared + cost - record.cost, record.cost
                requests, before, after = requests + 1, before + record.cost, after + cost
                if cost != record.cost:
                    ratings.append(Rating(record, cost, price.version))
            changed += len(ratings)
            if ratings and not span.dry_run:
                await self._store.rerate(ratings)
                self._touched({rating.record.account for rating in ratings})
        return Rerating(requests, changed, money.show(before), money.show(after), money.show(spared))

    async def _find(self, account: str | None) -> str | None:
        return None if account is None else (await self._holders.find(account)).id


def _fold(sums: Sequence[Sums], belongs: Mapping[str, str | None]) -> tuple[Sums, ...]:
    """Return sums by key as sums by the project that each belongs to, by its id."""
    folded: dict[str, tuple[int, ...]] = {}
    for one in sums:
        group, *counts = msgspec.structs.astuple(one)
        project = belongs.get(group) or NO_PROJECT
        folded[project] = tuple(map(operator.add, folded.get(project, (0,) * len(counts)), counts))
    return tuple(Sums(project, *counts) for project, counts in sorted(folded.items()))


def _require_page(limit: int) -> None:
    if not 1 <= limit <= PAGE:
        raise InvalidRequest(f"limit must be 1 to {PAGE}.", param="limit")


def _detail(record: UsageRecord, email: str) -> RequestDetail:
    shown = msgspec.structs.asdict(_show(record, email))
    return RequestDetail(**shown, upstream_model=record.upstream_model, attempts=record.attempts, price=record.price)


def _show(record: UsageRecord, email: str) -> RequestShown:
    return RequestShown(
        request_id=record.id,
        account=email,
        key=record.key,
        model=record.model,
        state=record.state,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        cost=money.show(record.cost),
        at=record.at / 1000,
        provider=record.provider,
        status=record.status,
        stream=record.stream,
        cached_tokens=record.cached_tokens,
        reasoning_tokens=record.reasoning_tokens,
        duration_ms=record.duration / 1000,
        first_byte_ms=record.first_byte / 1000,
        error_code=record.error_code,
    )
