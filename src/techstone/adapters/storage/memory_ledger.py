"""The ledger in memory: the same rules as the database's, with dicts for tables. For tests and trials."""

from __future__ import annotations

import itertools
import math
import time
from typing import TYPE_CHECKING

import msgspec

from techstone.control.invoicing.records import Entry
from techstone.control.ledger.records import (
    NEWEST,
    SEARCHED,
    Bucket,
    Following,
    HourSums,
    RequestFilter,
    RequestPage,
    Spending,
    Sums,
    Timing,
    Violation,
)
from techstone.core import ledger, money
from techstone.core.credit import period_of
from techstone.core.ledger import Standing, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from techstone.control.accounts.records import Account
    from techstone.control.invoicing.records import EntryKind
    from techstone.control.ledger.records import Line, Rating, Step, StoredGrouping
    from techstone.core.usage import UsageRecord

_HOUR = 3600
_DAY = 86_400


class MemoryLedger:
    """Implements `LedgerStore` beside the accounts of a store.

    `put` stores an account under a new revision, `note` notes the act.
    """

    def __init__(self, accounts: dict[str, Account], put: Callable[[Account], None], note: Callable[[], None]) -> None:
        self._accounts = accounts
        self._put = put
        self._note = note
        self._requests: dict[str, UsageRecord] = {}
        self._transfers: list[Transfer] = []
        self._applied: dict[str, int] = {}
        self._heard_at: dict[str, int] = {}
        self._gaps: dict[str, int] = {}
        # What a statement names: grants and corrections, by account; what each request was charged at first.
        self.entries: list[tuple[str, Entry]] = []
        self._charged: dict[str, int] = {}

    async def apply(self, journal: str, first: int, records: Sequence[UsageRecord], base: int | None = None) -> int:
        """Book what is new of a journal's records from number `first` on; return the number of the last one booked."""
        applied = self._applied.get(journal, 0)
        if base is not None and applied + 1 < first and base < first:
            return applied
        self._gaps[journal] = self._gaps.get(journal, 0) + max(0, first - applied - 1)
        for record in records[max(0, applied + 1 - first) :]:
            self._book(record)
        self._heard_at[journal] = int(time.time())
        self._applied[journal] = last = max(applied, first + len(records) - 1)
        return last

    def _book(self, record: UsageRecord) -> None:
        known = self._requests.get(record.id)
        going = ledger.advance(Standing(known.state, known.held) if known else None, record)
        if going is None:
            return
        self._requests[record.id] = record
        self._charged[record.id] = record.cost
        for transfer in going[1]:
            self._move(transfer)

    def _move(self, transfer: Transfer) -> None:
        self._transfers.append(transfer)
        account = self._accounts.get(transfer.account)
        if account is not None:
            spent = transfer.nano if transfer.kind == "charge" else 0
            held = {"hold": transfer.nano, "release": -transfer.nano}.get(transfer.kind, 0)
            self._accounts[account.id] = msgspec.structs.replace(
                account, spent_nano=account.spent_nano + spent, held_nano=account.held_nano + held
            )

    async def find_journal(self, journal: str) -> Following:
        """Return how far a journal is booked, and when it was heard last; 0 and never of one that is not known."""
        return Following(self._applied.get(journal, 0), self._heard_at.get(journal))

    async def grant(self, account: str, nano: int, note: str) -> bool:
        """Add credit; say whether the account can hold so much."""
        found = self._accounts[account]
        if found.granted_nano + nano > money.LARGEST:
            return False
        self._note()
        self._transfers.append(Transfer("grant", account, nano))
        self.entries.append((account, Entry(int(time.time()), "grant", nano, note)))
        self._put(msgspec.structs.replace(found, granted_nano=found.granted_nano + nano))
        return True

    def spent_since_grant(self, account: str) -> int:
        """Return what was spent since credit was added last."""
        spent = 0
        for transfer in self._transfers:
            if transfer.account == account and transfer.kind in {"grant", "charge"}:
                spent = spent + transfer.nano if transfer.kind == "charge" else 0
        return spent

    async def list_requests(
        self, account: str | None, since: int, after: str = "", limit: int | None = None
    ) -> tuple[tuple[UsageRecord, str], ...]:
        """Return requests since a unix time in milliseconds, oldest first, each with its account's email."""
        found = [
            (record, self._accounts[record.account].email if record.account in self._accounts else record.account)
            for record in self._follow(after)
            if record.at >= since and account in (None, record.account)
        ]
        return tuple(found[:limit])

    async def find_requests(
        self, account: str, filters: RequestFilter, before: str, limit: int
    ) -> RequestPage[UsageRecord] | None:
        """Return a page of the account's requests before one of them, newest first; None where it is not one."""
        held = self._list_newest(account)
        if before:
            last = await self.find_request(account, before)
            if last is None:
                return None
            held = held[held.index(last) + 1 :]
        least, most = filters.since or 0, math.inf if filters.until is None else filters.until
        rare = filters.status == "failed" or filters.error_code is not None
        span = [record for record in held if least <= record.at < most and (_failed(record) or not rare)]
        # Of the last millisecond all are looked at, as in the database.
        bound = span[SEARCHED - 1].at if len(span) >= SEARCHED else -1
        looked = [record for record in span if record.at >= bound]
        rows = tuple(record for record in looked if _passes(record, filters))
        if len(rows) > limit:
            return RequestPage(rows[:limit], rows[limit - 1].id, reached=rows[limit - 1].at)
        if bound < 0:
            return RequestPage(rows)
        return RequestPage(rows, looked[-1].id, partial=True, reached=bound)

    def _list_newest(self, account: str) -> list[UsageRecord]:
        """Return the account's requests, newest first."""
        return [record for record in reversed(self._follow("")) if record.account == account]

    async def find_request(self, account: str, request_id: str) -> UsageRecord | None:
        """Return the account's request of that id."""
        found = self._requests.get(request_id)
        return found if found is not None and found.account == account else None

    async def list_failures(self, account: str, since: int, limit: int) -> tuple[UsageRecord, ...]:
        """Return the account's newest failed requests since a unix time in milliseconds, newest first."""
        failed = (record for record in self._list_newest(account) if record.at >= since and _failed(record))
        return tuple(itertools.islice(failed, limit))

    async def sum_by_hour(self, account: str, since: int, keys: Collection[str] | None = None) -> tuple[HourSums, ...]:
        """Return what the account's keys, or these of them, used by the hour since a unix time in seconds."""
        sums: dict[tuple[str, int], tuple[int, int]] = {}
        for record in self._requests.values():
            start = record.at // 1000 // _HOUR * _HOUR
            if record.account != account or record.state != "settled" or start < since // _HOUR * _HOUR:
                continue
            if keys is None or record.key in keys:
                requests, cost = sums.get((record.key, start), (0, 0))
                sums[record.key, start] = requests + 1, cost + record.cost
        return tuple(HourSums(*place, *counts) for place, counts in sorted(sums.items()))

    async def sum_over_time(self, account: str, since: int, line: Line, step: Step) -> tuple[Bucket, ...]:
        """Return what the account's keys or models used by the hour or day since a unix time in seconds."""
        size = _HOUR if step == "hour" else _DAY
        sums: dict[tuple[str, int], list[int]] = {}
        for record in self._requests.values():
            start = record.at // 1000 // size * size
            if record.account != account or record.state != "settled" or start < since // size * size:
                continue
            found = sums.setdefault((getattr(record, line), start), [0] * 3)
            for place, count in enumerate((1, record.prompt_tokens + record.completion_tokens, record.cost)):
                found[place] += count
        return tuple(Bucket(*place, *counts) for place, counts in sorted(sums.items()))

    async def list_timings(self, since: int, limit: int) -> tuple[Timing, ...]:
        """Return how the newest requests went that were admitted since a unix time in milliseconds, newest first."""
        newest = itertools.islice((record for record in reversed(self._follow("")) if record.at >= since), limit)
        return tuple(
            Timing(record.model, record.status, record.error_code, record.stream, record.first_byte, record.duration)
            for record in newest
            if record.state != "open"
        )

    async def last_used(self, account: str) -> dict[str, int]:
        """Return when the account's keys were used last (unix ms), by id."""
        used: dict[str, int] = {}
        for place, record in enumerate(self._list_newest(account)):
            if place < NEWEST:
                used.setdefault(record.key, record.at)
            elif record.state == "settled":
                used.setdefault(record.key, record.at // 1000 // _HOUR * _HOUR * 1000)
        return used

    def list_settled(self, account: str) -> list[tuple[UsageRecord, int]]:
        """Return the account's settled requests, each with what it was charged at first."""
        return [
            (record, self._charged[record.id])
            for record in self._requests.values()
            if record.account == account and record.state == "settled"
        ]

    async def sum_usage(
        self, account: str | None, since: int, by: StoredGrouping, keys: Collection[str] | None = None
    ) -> tuple[Sums, ...]:
        """Return sums of whole hours (of whole days by day) since a unix time in seconds; of all, or of these keys."""
        size = _DAY if by == "day" else _HOUR
        groups: dict[str | int, list[int]] = {}
        for record in self._requests.values():
            start = record.at // 1000 // size * size
            wanted = account in (None, record.account) and (keys is None or record.key in keys)
            if record.state == "settled" and start >= since // size * size and wanted:
                group = start if by in {"day", "hour"} else getattr(record, by)
                sums = groups.setdefault(group, [0] * 6)
                for place, count in enumerate(_counts(record)):
                    sums[place] += count
        return tuple(Sums(str(group), *sums) for group, sums in sorted(groups.items()))

    def read_spending(self, now: int, names: Collection[str] | None = None) -> Spending:
        """Return what the snapshot tells of spending: of all, or of the accounts and keys of these ids."""
        today = period_of(now)
        spending = Spending(today.day, {}, {}, {}, dict(self._applied))
        for record in self._requests.values():
            period = period_of(record.at / 1000)
            if record.state != "settled" or period.month != today.month:
                continue
            told = [(spending.accounts_month, record.account), (spending.keys_month, record.key)]
            if period.day == today.day:
                told.append((spending.keys_day, record.key))
            for sums, name in told:
                if names is None or name in names:
                    sums[name] = sums.get(name, 0) + record.cost
        return spending

    async def read_settled(self, since: int, until: int, after: str, limit: int) -> tuple[UsageRecord, ...]:
        """Return settled requests admitted within [since, until) (unix ms), oldest first, at most so many."""
        found = (record for record in self._follow(after) if record.state == "settled" and since <= record.at < until)
        return tuple(found)[:limit]

    def _follow(self, after: str) -> list[UsageRecord]:
        """Return the requests that come after one (its id; "": after none) by time of admission and id."""
        least = (self._requests[after].at, after) if after else (-1, "")
        places = sorted((record.at, record.id) for record in self._requests.values())
        return [self._requests[name] for at, name in places if (at, name) > least]

    async def rerate(self, ratings: Sequence[Rating]) -> None:
        """Give settled requests other costs; one that has its cost already is left alone."""
        for rating in ratings:
            known = self._requests[rating.record.id]
            if known.cost == rating.record.cost:
                self._requests[known.id] = msgspec.structs.replace(known, cost=rating.cost, price=rating.price)
                account = self._accounts[known.account]
                difference = rating.cost - known.cost
                if difference:
                    kind: EntryKind = "surcharge" if difference > 0 else "refund"
                    self.entries.append((account.id, Entry(int(time.time()), kind, abs(difference))))
                corrected = account.granted_nano - (rating.cost - known.cost)
                self._put(msgspec.structs.replace(account, granted_nano=corrected))

    async def check(self, prepaid: Sequence[str], *, quick: bool = False) -> tuple[Violation, ...]:  # noqa: ARG002 - all is quick here
        """Return every invariant that does not hold."""
        found: list[Violation] = []
        for account in self._accounts.values():
            held = sum(
                record.held
                for record in self._requests.values()
                if record.state == "open" and record.account == account.id
            )
            if held != account.held_nano:
                found.append(
                    Violation("what is held is held for open requests", account.id, str(held), str(account.held_nano))
                )
            left = account.granted_nano - account.spent_nano - account.held_nano
            if account.plan in prepaid and left < 0:
                found.append(Violation("prepaid credit is never below zero", account.id, "at least 0", str(left)))
        gaps = [(journal, count) for journal, count in self._gaps.items() if count]
        found += [
            Violation("no journal has gaps", f"journal {journal}", "0 records missing", f"{count} records missing")
            for journal, count in gaps
        ]
        return tuple(found)


def _failed(record: UsageRecord) -> bool:
    return record.state != "open" and (record.state == "void" or record.status >= 400 or record.error_code is not None)


def _passes(record: UsageRecord, filters: RequestFilter) -> bool:
    ended = record.state != "open"
    return (
        (filters.status == "all" or (ended and _failed(record) == (filters.status == "failed")))
        and filters.model in (None, record.model)
        and filters.key in (None, record.key)
        and (filters.keys is None or record.key in filters.keys)
        and filters.error_code in (None, record.error_code)
        and record.duration >= filters.duration_ms * 1000
    )


def _counts(record: UsageRecord) -> tuple[int, ...]:
    return (
        1,
        record.prompt_tokens,
        record.cached_tokens,
        record.completion_tokens,
        record.reasoning_tokens,
        record.cost,
    )
