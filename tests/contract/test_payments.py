"""What every store promises about payments and documents, asked of each of them."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from typing import TYPE_CHECKING

import msgspec
import postgres as servers
import pytest
from asyncpg.exceptions import IntegrityConstraintViolationError
from databases import ServerPlace, open_at

from techstone.adapters.storage.sqlite import open_store
from techstone.control.accounts.records import Account
from techstone.control.invoicing.records import Draft, Line, Party
from techstone.control.payments.records import CENT, Abandoned, Collected, Payment, Reversal
from techstone.core import money

if TYPE_CHECKING:
    from pathlib import Path

    from techstone.control.ports import Store

ACCOUNT = Account("acct_1", "a@example.com", "free", created_at=100)
PAYMENT = Payment("top_1", "acct_1", 2500, 1_790_000_000)
PAID = Collected("top_1", "acct_1", "cs_1", "pi_1", 2500, "usd")
RECEIPT = Draft(
    "receipt", "acct_1", "a@example.com", "top_1", 1_790_000_000, Party("S"), Party(), (Line("Credit", 25),), 25, 25
)
AT = 1_790_000_100


@pytest.fixture
async def store(store: Store) -> Store:
    await store.add_account(ACCOUNT)
    await store.payments.add_payment(PAYMENT)
    return store


async def granted(store: Store) -> int:
    (account,) = await store.list_accounts()
    return account.granted_nano


async def test_payment_is_credited_and_receipted_once(store: Store) -> None:
    """Twenty of the same event at the same time, and one more: one grant, one receipt, one revision's worth of news."""
    await store.payments.set_session("top_1", "cs_1")
    done = await asyncio.gather(*(store.payments.credit_payment(PAID, RECEIPT, AT) for _ in range(20)))
    assert {payment.state for payment in done} == {"paid"}
    assert (await store.payments.credit_payment(PAID, RECEIPT, AT + 9)).paid_at == AT
    assert await granted(store) == 2500 * CENT
    (record,) = await store.payments.list_payments("acct_1", 9)
    assert (record.payment.state, record.payment.intent, record.receipt) == ("paid", "pi_1", "TS-2026-000001")
    assert len(await store.invoices.list_invoices("acct_1", 9)) == 1
    assert await store.ledger.check(["free"]) == ()


async def test_payment_that_was_never_named_takes_the_events_name(store: Store) -> None:
    """The event comes before the processor's answer is noted; that changes nothing afterwards."""
    await store.payments.credit_payment(PAID, RECEIPT, AT)
    await store.payments.set_session("top_1", "cs_2")
    found = await store.payments.find_payment("top_1")
    assert found is not None
    assert found.session == "cs_1"


@pytest.mark.parametrize(
    ("field", "value"), [("cents", 2499), ("currency", "eur"), ("account", "acct_2"), ("session", "cs_9")]
)
async def test_what_was_not_asked_for_is_held(store: Store, field: str, value: object) -> None:
    """Noted with the reason, not credited, no receipt; what was asked for is credited also after that."""
    await store.payments.set_session("top_1", "cs_1")
    wrong = msgspec.structs.replace(PAID, **{field: value})
    for _ in range(2):
        held = await store.payments.credit_payment(wrong, RECEIPT, AT)
        assert held.state == "held"
        assert str(value) in held.note
    assert await granted(store) == 0
    assert await store.invoices.list_invoices(None, 9) == ()
    assert (await store.payments.credit_payment(PAID, RECEIPT, AT)).state == "paid"
    assert await granted(store) == 2500 * CENT


async def test_more_than_an_account_holds_is_held(store: Store) -> None:
    """Nothing is granted."""
    assert await store.ledger.grant("acct_1", money.LARGEST - 5, "much")
    assert (await store.payments.credit_payment(PAID, RECEIPT, AT)).state == "held"
    assert await granted(store) == money.LARGEST - 5


async def test_end_and_payment_in_any_order_come_to_the_payment(store: Store) -> None:
    """An end after the payment changes nothing; a payment after an end counts."""
    await store.payments.end_payment(Abandoned("top_1", "not paid in time"))
    ended = await store.payments.find_payment("top_1")
    assert ended is not None
    assert (ended.state, ended.note) == ("ended", "not paid in time")
    assert (await store.payments.credit_payment(PAID, RECEIPT, AT)).state == "paid"
    await store.payments.end_payment(Abandoned("top_1", "again"))
    found = await store.payments.find_payment("top_1")
    assert found is not None
    assert (found.state, found.note) == ("paid", "")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_what_went_back_is_known_in_any_order(store: Store, order: tuple[int, ...]) -> None:
    """Before the payment, too; the largest refund and the newest state stand; credit stays."""
    told = [
        Reversal("ch_1", "refund", "pi_1", 500, "a part", 10),
        Reversal("ch_1", "refund", "pi_1", 2500, "all of it", 20),
    ]
    for number in order:
        if number == 2:
            await store.payments.credit_payment(PAID, RECEIPT, AT)
        else:
            await store.payments.note_reversal(told[number])
    assert not await store.payments.note_reversal(told[0])
    (record,) = await store.payments.list_payments(None, 9)
    assert [(one.cents, one.at) for one in record.reversals] == [(2500, 20)]
    assert await granted(store) == 2500 * CENT


async def test_form_that_is_sent_twice_is_one_payment(store: Store) -> None:
    """The first one stands; the account's are counted."""
    again = msgspec.structs.replace(PAYMENT, cents=1, created_at=5)
    assert await store.payments.add_payment(again) == PAYMENT
    assert await store.payments.count_payments("acct_1", PAYMENT.created_at) == 1
    assert await store.payments.count_payments("acct_1", PAYMENT.created_at + 1) == 0


async def test_numbers_have_no_gap_and_begin_anew_each_year(store: Store) -> None:
    """Also of many at the same time; the same document is issued once, whatever else it says the second time."""
    drafts = [msgspec.structs.replace(RECEIPT, subject=f"top_{n}") for n in range(25)]
    await asyncio.gather(*(store.invoices.issue(draft) for draft in drafts))
    again = await store.invoices.issue(msgspec.structs.replace(drafts[0], nano=9, seller=Party("Other")))
    assert (again.nano, again.seller) == (25, Party("S"))
    next_year = msgspec.structs.replace(RECEIPT, subject="top_x", issued_at=1_800_000_000)
    assert (await store.invoices.issue(next_year)).number == "TS-2027-000001"
    numbers = [invoice.number for invoice in await store.invoices.list_invoices(None, 99)]
    assert numbers == ["TS-2027-000001", *(f"TS-2026-{n:06d}" for n in range(25, 0, -1))]
    assert await store.invoices.find_invoice("TS-2026-000025", "acct_2") is None
    assert await store.invoices.find_invoice("TS-2026-000025", "acct_1") is not None


async def test_invoice_cannot_be_changed_or_deleted(tmp_path: Path) -> None:
    """Not even by who writes SQL."""
    store = await open_store(tmp_path / "t.db")
    await store.add_account(ACCOUNT)
    await store.invoices.issue(RECEIPT)
    await store.close()
    with sqlite3.connect(tmp_path / "t.db") as connection:
        for statement in (
            "UPDATE invoices SET nano = 0",
            "DELETE FROM invoices",
            "REPLACE INTO invoices SELECT * FROM invoices",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(statement)
    connection.close()


async def test_invoice_cannot_be_changed_or_deleted_in_postgres() -> None:
    """Nor there."""
    place = ServerPlace(await servers.running().create_migrated())
    store = await open_at(place.address)
    await store.add_account(ACCOUNT)
    await store.invoices.issue(RECEIPT)
    await store.close()
    for statement in ("UPDATE invoices SET nano = 0", "DELETE FROM invoices", "TRUNCATE invoices"):
        with pytest.raises(IntegrityConstraintViolationError):
            await place.execute(statement)
    await place.remove()


async def test_buyer_and_closed_months_are_kept(store: Store) -> None:
    """The newest of each."""
    assert await store.invoices.find_buyer("acct_1") == Party()
    for buyer in (Party("A", "Street\nTown", "1"), Party("B")):
        await store.invoices.set_buyer("acct_1", buyer)
        assert await store.invoices.find_buyer("acct_1") == buyer
    assert await store.invoices.read_closed() is None
    for month in ("2026-11", "2026-12", "2026-11"):
        await store.invoices.close_month(month)
    assert await store.invoices.read_closed() == "2026-12"
