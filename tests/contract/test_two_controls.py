"""Two control planes on one database: what one writer at a time gives, both databases give."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import databases
import msgspec
import pytest
from usage import make_record

from techstone.control.accounts.records import Account, Terms
from techstone.control.billing.records import Code
from techstone.control.catalog.records import Catalog
from techstone.control.invoicing import months
from techstone.control.invoicing.records import Party
from techstone.control.invoicing.service import GRACE
from techstone.control.keys.records import Key, KeySettings
from techstone.control.ledger.records import Rating
from techstone.control.ports import Taken
from techstone.control.services import Services
from techstone.core.snapshot import Plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from databases import Place

    from techstone.control.billing.records import Alert
    from techstone.control.ports import Store
    from techstone.core.usage import UsageRecord

_TIMES = 20
_CATALOG = Catalog((Plan("pro", 1, 1, 1, "prepaid"), Plan("enterprise", 1, 1, 1, "postpaid")), (), ())
_END = months.parse("2026-12")[0] + GRACE  # October and November are over then
ACCOUNT = Account("acct_1", "a@example.com", "pro", 1000)
KEY = Key("key_1", b"1" * 32, "acct_1", "k", "ts_live_", KeySettings())


@pytest.fixture
async def both(place: Place) -> AsyncIterator[tuple[Store, Store]]:
    """Return two stores on one new database, as two processes have them."""
    first, second = await databases.open_at(place.address), await databases.open_at(place.address)
    yield first, second
    assert await first.ledger.check(["pro"]) == ()
    assert (await Services(second, _CATALOG).audit.check()).broken is None
    await first.close()
    await second.close()


async def test_revisions_have_no_gap_and_are_seen_in_order(both: tuple[Store, Store]) -> None:
    """Whoever sees a revision finds all that was changed up to it: it is never told later."""
    first, second = both
    await first.add_account(ACCOUNT)
    known: set[str] = set()
    done = asyncio.Event()

    async def follow() -> int:
        revision = 1
        while not done.is_set() or await first.read_revision() > revision:
            changes = await first.read_changes(revision)
            # Each change is one key: so many as there are new revisions.
            assert len(changes.keys) == changes.revision - revision
            assert known.isdisjoint(key.id for key in changes.keys)
            known.update(key.id for key in changes.keys)
            revision = changes.revision
        return revision

    follower = asyncio.create_task(follow())
    names = [f"key_{number}" for number in range(2 * _TIMES)]
    await asyncio.gather(
        *(
            both[number % 2].add_key(msgspec.structs.replace(KEY, id=name, digest=name.ljust(32).encode()))
            for number, name in enumerate(names)
        )
    )
    done.set()
    assert await follower == await second.read_revision() == 1 + len(names)
    assert known == set(names)


async def test_first_account_is_of_one_of_two(both: tuple[Store, Store]) -> None:
    """Of two that start at once on a new installation one makes it."""
    other = msgspec.structs.replace(ACCOUNT, id="acct_2", email="b@example.com")
    its_key = msgspec.structs.replace(KEY, id="key_2", digest=b"2" * 32, account="acct_2")
    made = await asyncio.gather(both[0].add_first(ACCOUNT, KEY), both[1].add_first(other, its_key))
    assert sorted(made) == [False, True]
    assert len(await both[0].list_accounts()) == len(await both[1].list_keys()) == 1


async def test_address_is_of_one_account(both: tuple[Store, Store]) -> None:
    """Of many that sign up with one address at once one gets it; the others are told so."""
    accounts = [msgspec.structs.replace(ACCOUNT, id=f"acct_{number}") for number in range(_TIMES)]
    done = await asyncio.gather(
        *(both[number % 2].add_account(account) for number, account in enumerate(accounts)), return_exceptions=True
    )
    assert done.count(None) == 1
    assert sum(isinstance(one, Taken) and one.field == "email" for one in done) == _TIMES - 1
    assert await both[0].read_revision() == 1


async def test_code_is_redeemed_once(both: tuple[Store, Store]) -> None:
    """However often it is tried at once."""
    await both[0].add_account(ACCOUNT)
    await both[0].billing.add_codes((Code("code_1", b"c" * 32, 50, 1),))
    tries = (both[number % 2].billing.redeem_code(b"c" * 32, "acct_1", 2) for number in range(_TIMES))
    assert sum(code is not None for code in await asyncio.gather(*tries)) == 1
    (account,) = await both[1].list_accounts()
    assert account.granted_nano == 1050


async def test_credit_and_terms_change_at_once_and_none_is_lost(both: tuple[Store, Store]) -> None:
    """Each grant counts, and each change is in the log, in one chain."""
    await both[0].add_account(ACCOUNT)
    await asyncio.gather(
        *(both[number % 2].ledger.grant("acct_1", 1, "test") for number in range(_TIMES)),
        *(both[number % 2].set_terms("acct_1", Terms("pro", rpm=number)) for number in range(_TIMES)),
    )
    (account,) = await both[1].list_accounts()
    assert account.granted_nano == 1000 + _TIMES
    entries = await both[1].audit.read_entries(0, 100)
    assert [entry.number for entry in entries] == list(range(1, 2 * _TIMES + 2))


def _write(count: int) -> list[UsageRecord]:
    return [msgspec.structs.replace(make_record(number), account="acct_1", key="key_1") for number in range(1, count)]


async def test_journal_that_comes_twice_at_once_is_booked_once(both: tuple[Store, Store]) -> None:
    """A gateway sends again to another control plane what the first one did not acknowledge in time."""
    await both[0].add_account(msgspec.structs.replace(ACCOUNT, granted_nano=10**15))
    records = _write(60)
    done = await asyncio.gather(
        *(
            both[number % 2].ledger.apply("a" * 16, start + 1, records[start:])
            for number, start in enumerate((0, 0, 30, 0))
        )
    )
    assert max(done) == len(records)
    (account,) = await both[1].list_accounts()
    assert account.spent_nano == sum(record.cost for record in records if record.state == "settled")


async def test_rerating_meets_booking_and_changes(both: tuple[Store, Store]) -> None:
    """They wait for each other, never in a circle; a request that is re-rated twice at once is corrected once."""
    await both[0].add_account(msgspec.structs.replace(ACCOUNT, granted_nano=10**15))
    records = [record for record in _write(60) if record.state == "settled"]
    await both[0].ledger.apply("a" * 16, 1, records)
    ratings = [Rating(record, record.cost + 3, 2) for record in records]
    more = [msgspec.structs.replace(record, id=f"more_{record.id}") for record in records]
    await asyncio.gather(
        both[0].ledger.rerate(ratings),
        both[1].ledger.rerate(ratings),
        *(both[n % 2].ledger.apply("b" * 16, 1, more[: n + 1]) for n in range(_TIMES)),
        *(both[n % 2].ledger.grant("acct_1", 1, "test") for n in range(_TIMES)),
    )
    (account,) = await both[1].list_accounts()
    assert account.granted_nano == 10**15 + _TIMES - 3 * len(records)


class _Told:
    """Keeps what was told, and to whom. Implements `Notifier`."""

    def __init__(self) -> None:
        self.alerts: list[tuple[str, int]] = []

    async def notify(self, alert: Alert, email: str) -> None:
        self.alerts.append((email, alert.percent))


async def test_alert_is_told_by_one_of_two(both: tuple[Store, Store]) -> None:
    """However often both look at an account at once, each threshold is told once by one of them."""
    houses = [Services(store, _CATALOG, clock=lambda: _END) for store in both]
    told = _Told()
    await both[0].add_account(ACCOUNT)
    record = next(record for record in _write(10) if record.state == "settled")
    for number, cost in enumerate((790, 20, 190), 1):
        again = msgspec.structs.replace(record, id=f"req_{number}", cost=cost)
        await both[0].ledger.apply("a" * 16, number, [again])
        await asyncio.gather(*(houses[n % 2].alerts.look(["acct_1"], told) for n in range(_TIMES)))
    assert told.alerts == [("a@example.com", 80), ("a@example.com", 100)]


async def test_months_are_closed_with_one_invoice_each_by_two(both: tuple[Store, Store]) -> None:
    """Both see at once that months are over: one invoice for each account and month, numbered without a gap."""
    houses = [Services(store, _CATALOG, clock=lambda: _END) for store in both]
    await both[0].invoices.close_month("2026-09")
    for number in range(1, 4):
        account = msgspec.structs.replace(ACCOUNT, id=f"acct_{number}", email=f"{number}@example.com")
        await both[0].add_account(msgspec.structs.replace(account, plan="enterprise", granted_nano=0))
        record = next(record for record in _write(10) if record.state == "settled")
        records = [
            msgspec.structs.replace(
                record, id=f"{month}-{number}", account=account.id, at=months.parse(month)[0] * 1000, cost=10**9
            )
            for month in ("2026-10", "2026-11")
        ]
        await both[1].ledger.apply(f"{number}" * 16, 1, records)
    for house in houses:
        house.invoices.open(Party("S"))
    await asyncio.gather(*(houses[number % 2].invoices.close_months() for number in range(_TIMES)))
    issued = await both[1].invoices.list_invoices(None, 99)
    assert sorted((one.account, one.subject) for one in issued) == [
        (f"acct_{number}", month) for number in range(1, 4) for month in ("2026-10", "2026-11")
    ]
    assert sorted(one.number for one in issued) == [f"TS-2026-00000{number}" for number in range(1, 7)]
