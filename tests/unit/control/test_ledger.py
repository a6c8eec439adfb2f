"""What may be asked of the ledger: batches in, lists, sums, and the prices of a period anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from usage import AT, make_record

from techstone.control.accounts.records import NewAccount
from techstone.control.billing.records import NewPrice
from techstone.control.ledger.records import RatingSpan
from techstone.core import frames
from techstone.core.errors import InvalidRequest
from techstone.core.usage import UsageRecord, encode

if TYPE_CHECKING:
    from rooms import House

_JOURNAL = "0123456789abcdef"
_WEEK = RatingSpan(AT // 1000 - 604_800, AT // 1000 + 604_800)


def _batch(*records: UsageRecord) -> bytes:
    return b"".join(frames.frame(encode(record)) for record in records)


async def _use(house: House, email: str, plan: str, *costs: int) -> str:
    """Create an account that has used a million prompt tokens, once for each cost; return its id."""
    account = await house.accounts.create(NewAccount(email, plan, credit="100"))
    records = [
        msgspec.structs.replace(
            make_record(number), id=f"{email}{number}", account=account.id, model="m1", prompt_tokens=10**6,
            completion_tokens=0, cost=cost,
        )
        for number, cost in enumerate(costs)
    ]  # fmt: skip
    journal = account.id[-16:]
    await house.services.ledger.book(journal, 1, _batch(*records))
    return account.id


async def test_batch_is_booked_whole_or_not_at_all(house: House, ann: str) -> None:
    """A torn, damaged or unknown record refuses its batch and is named by its number."""
    account = await house.accounts.find(ann)
    first, second = (msgspec.structs.replace(make_record(number), account=account.id) for number in (1, 2))
    ledger = house.services.ledger
    good = _batch(first, second)
    for body, number in ((good[:-1], 2), (good[:20], 1), (good + b"\0" * 9, 3)):
        with pytest.raises(InvalidRequest, match=f"record {number} is damaged or torn"):
            await ledger.book(_JOURNAL, 1, body)
    with pytest.raises(InvalidRequest, match="record 2 cannot be read"):
        await ledger.book(_JOURNAL, 1, _batch(first) + frames.frame(b"\x93\x01\x02\x03"))
    for journal, number in (("no", 1), (_JOURNAL, 0)):
        with pytest.raises(InvalidRequest, match="16 hex digits"):
            await ledger.book(journal, number, good)
    assert await ledger.list_requests(None, 0) == ()
    assert (await ledger.book(_JOURNAL, 1, good)).applied == 2
    assert [shown.request_id for shown in await ledger.list_requests(ann, 0)] == ["r1", "r2"]


async def test_period_is_rated_anew_once(house: House) -> None:
    """What is due by the prices as they are known now is refunded or charged; a second time changes nothing."""
    account = await _use(house, "post@example.com", "pro", 5 * 10**9, 10**9)
    await house.services.prices.set(NewPrice("m1", "3", "0", begins="2025-01-01T00:00Z"))
    ledger = house.services.ledger
    dry = await ledger.rerate(msgspec.structs.replace(_WEEK, dry_run=True))
    assert (dry.requests, dry.changed, dry.before, dry.after, dry.spared) == (2, 2, "6.00", "6.00", "0.00")
    assert [shown.cost for shown in await ledger.list_requests(None, 0)] == ["5.00", "1.00"]
    assert await ledger.rerate(_WEEK) == dry
    assert house.services.alerts._touched == {account}
    assert [shown.cost for shown in await ledger.list_requests(None, 0)] == ["3.00", "3.00"]
    assert (await ledger.rerate(_WEEK)).changed == 0
    assert await ledger.check() == ()
    assert (await house.accounts.show(account)).credit == "94.00"


async def test_prepaid_account_is_never_charged_more_afterwards(house: House) -> None:
    """It may have nothing left: what it would owe is told as spared, what it gets back is given."""
    account = await _use(house, "pre@example.com", "free", 100 * 10**9 - 10**9, 10**9)
    await house.services.prices.set(NewPrice("m1", "50", "0", begins="2025-01-01T00:00Z"))
    done = await house.services.ledger.rerate(_WEEK)
    assert (done.changed, done.before, done.after, done.spared) == (1, "100.00", "51.00", "49.00")
    assert (await house.accounts.show(account)).credit == "49.00"
    assert await house.services.ledger.check() == ()


async def test_other_models_and_times_are_left_alone(house: House) -> None:
    """A span of nothing is a mistake."""
    await _use(house, "post@example.com", "pro", 10**9)
    await house.services.prices.set(NewPrice("m1", "3", "0", begins="2025-01-01T00:00Z"))
    ledger = house.services.ledger
    assert (await ledger.rerate(msgspec.structs.replace(_WEEK, model="m2"))).requests == 0
    assert (await ledger.rerate(msgspec.structs.replace(_WEEK, until=AT // 1000))).requests == 0
    with pytest.raises(InvalidRequest, match="later than since"):
        await ledger.rerate(msgspec.structs.replace(_WEEK, until=_WEEK.since))
