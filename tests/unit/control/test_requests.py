"""Requests as people see them: pages of an account's, one of them, its failures, and the use of its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from usage import AT, make_record

from techstone.control.ledger.records import PAGE, HourSums, RequestFilter
from techstone.core.errors import AccountNotFound, InvalidRequest

if TYPE_CHECKING:
    from rooms import House

    from techstone.control.ledger.service import Ledger

_JOURNAL = "0123456789abcdef"
_ALL = RequestFilter()


@pytest.fixture
async def ledger(house: House, ann: str) -> Ledger:
    """Return the ledger with three requests of Ann's, a second apart, of which the last one failed."""
    account = (await house.accounts.find(ann)).id
    records = [
        msgspec.structs.replace(make_record(number, at=AT + 1000 * number), account=account) for number in range(3)
    ]
    records[2] = msgspec.structs.replace(records[2], state="void", status=503, error_code="upstream_unavailable")
    await house.store.ledger.apply(_JOURNAL, 1, records)
    return house.services.ledger


async def test_requests_are_shown_page_by_page(ledger: Ledger, ann: str) -> None:
    """As everywhere: money in USD, times in seconds and milliseconds; an account is named by email or id."""
    first = await ledger.find_requests(ann, _ALL, limit=2)
    assert ([shown.request_id for shown in first.rows], first.more) == (["r2", "r1"], True)
    last = await ledger.find_requests(ann, _ALL, first.next, 2)
    (shown,) = last.rows
    assert (shown.account, shown.cost, shown.at, shown.duration_ms) == (ann, "0.000000035", AT / 1000, 2.0)
    assert not last.more


@pytest.mark.parametrize(("before", "limit", "param"), [("r9", 1, "before"), ("", 0, "limit"), ("", PAGE + 1, "limit")])
async def test_page_that_cannot_be_is_refused(ledger: Ledger, ann: str, before: str, limit: int, param: str) -> None:
    """With the name of what is wrong."""
    with pytest.raises(InvalidRequest) as refused:
        await ledger.find_requests(ann, _ALL, before, limit)
    assert refused.value.param == param


async def test_requests_of_nobody_are_refused(ledger: Ledger) -> None:
    """Rather than none shown."""
    with pytest.raises(AccountNotFound):
        await ledger.find_requests("bob@example.com", _ALL)


async def test_request_is_shown_with_its_details(ledger: Ledger, ann: str) -> None:
    """What it took to get an answer; nothing of a request that is not the account's."""
    detail = await ledger.find_request(ann, "r1")
    assert detail is not None
    assert (detail.request_id, detail.upstream_model, detail.attempts, detail.price) == ("r1", "up", 1, 1)
    assert await ledger.find_request(ann, "r9") is None


async def test_failures_are_shown_with_their_codes(ledger: Ledger, ann: str) -> None:
    """Since a time in seconds."""
    (failure,) = await ledger.list_failures(ann, AT // 1000)
    assert (failure.request_id, failure.status, failure.error_code) == ("r2", 503, "upstream_unavailable")
    assert await ledger.list_failures(ann, AT // 1000 + 3) == ()
    with pytest.raises(InvalidRequest):
        await ledger.list_failures(ann, 0, 0)


async def test_use_of_keys_is_told(ledger: Ledger, ann: str) -> None:
    """By the hour, and when it was last."""
    assert await ledger.sum_by_hour(ann, AT // 1000) == (HourSums("k1", AT // 1000 // 3600 * 3600, 2, 70),)
    assert await ledger.sum_by_hour(ann, AT // 1000, ["k2"]) == ()
    assert await ledger.last_used(ann) == {"k1": AT + 2000}
