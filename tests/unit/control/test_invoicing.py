"""Months are closed in order and once; what stands on an invoice adds up; whom it is for is checked by field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.adapters.storage.memory import MemoryStore
from techstone.control.accounts.records import Account, Terms
from techstone.control.accounts.service import Accounts
from techstone.control.catalog.records import Catalog
from techstone.control.catalog.service import Offers
from techstone.control.invoicing import documents, months
from techstone.control.invoicing.records import Draft, Invoice, Line, MonthUsage, Party
from techstone.control.invoicing.service import GRACE, Invoices
from techstone.core import money
from techstone.core.errors import InvalidRequest, InvoiceNotFound
from techstone.core.snapshot import Plan
from techstone.core.usage import UsageRecord

PLANS = (Plan("payg", 1, 1, 1, "prepaid"), Plan("pro", 1, 1, 1, "postpaid"))
SELLER = Party("S")
OCTOBER, NOVEMBER = months.parse("2026-10")[0], months.parse("2026-11")[0]


class House:
    """A room over a store in memory, on a clock that is stepped."""

    def __init__(self, seller: Party | None = SELLER) -> None:
        self.now = OCTOBER + GRACE
        self.store = MemoryStore()
        offers = Offers(Catalog(plans=PLANS, models=(), providers=()), self.store.catalog)
        accounts = Accounts(self.store, offers, lambda: self.now, bytes)
        self.invoices = Invoices(self.store.invoices, accounts, offers.postpaid, lambda: self.now)
        if seller is not None:
            self.invoices.open(seller)
        self.number = 0

    async def use(self, account: str, at: int, cost: int) -> None:
        self.number += 1
        record = UsageRecord(
            *(
                f"req_{self.number}",
                "settled",
                account,
                "key_1",
                "m",
                "up",
                "x",
                200,
                False,
                at * 1000,
                1,
                2,
                3,
                0,
                4,
                0,
            ),
            *(cost, 0, 1),
        )
        await self.store.ledger.apply("0" * 16, self.number, [record])

    async def numbers(self) -> list[tuple[str, str, str]]:
        return [(one.number, one.account, one.subject) for one in await self.store.invoices.list_invoices(None, 99)]


@pytest.fixture
async def house() -> House:
    house = House()
    for name, plan in (("a", "pro"), ("b", "pro"), ("c", "payg")):
        await house.store.add_account(Account(name, f"{name}@x", plan, granted_nano=0, created_at=OCTOBER))
    return house


async def test_months_are_closed_once_each_in_order(house: House) -> None:
    """From the one on in which it was begun; those that were missed, too; prepaid and idle accounts have none."""
    await house.use("a", OCTOBER - 5, 10)
    await house.invoices.close_months()
    assert await house.store.invoices.read_closed() == "2026-09"
    await house.use("a", OCTOBER, 20)
    await house.use("c", OCTOBER, 20)
    await house.use("a", NOVEMBER, 30)
    await house.use("b", NOVEMBER, 40)
    house.now = NOVEMBER + GRACE - 1
    await house.invoices.close_months()
    assert await house.numbers() == []
    house.now = months.parse("2026-12")[0] + GRACE
    for _ in range(3):
        await house.invoices.close_months()
    assert await house.numbers() == [
        ("TS-2026-000003", "b", "2026-11"),
        ("TS-2026-000002", "a", "2026-11"),
        ("TS-2026-000001", "a", "2026-10"),
    ]
    assert await house.store.invoices.read_closed() == "2026-11"


async def test_without_a_seller_nothing_is_issued() -> None:
    """No month is closed, either: the first one is that in which there is one."""
    house = House(None)
    await house.invoices.close_months()
    assert await house.store.invoices.read_closed() is None
    assert not house.invoices.on


async def test_account_that_changed_its_plan_pays_by_the_plan_at_the_months_end(house: House) -> None:
    """Credit that it had covers what it used."""
    await house.invoices.close_months()
    await house.store.ledger.grant("c", 15 * money.NANO, "x")
    await house.use("c", OCTOBER, 20 * money.NANO)
    await house.store.set_terms("c", Terms("pro"))
    house.now = NOVEMBER + GRACE
    await house.invoices.close_months()
    shown = await house.invoices.show("TS-2026-000001", "c")
    assert (shown.total, shown.paid, shown.due) == ("20.00", "15.00", "5.00")
    with pytest.raises(InvoiceNotFound):
        await house.invoices.show("TS-2026-000001", "a")


@given(
    nanos=st.lists(st.integers(0, 10**12), max_size=5),
    earlier=st.integers(0, 10**12),
    invoiced=st.integers(0, 10**12),
    granted=st.integers(0, 10**13),
    before=st.integers(0, 10**12),
)
def test_invoice_adds_up(nanos: list[int], earlier: int, invoiced: int, granted: int, before: int) -> None:
    """Total, less what is paid, plus rounding and what is kept, is due; whole cents, never less than nothing."""
    usage = MonthUsage(
        tuple(Line("m", nano) for nano in nanos), sum(nanos) + earlier + before, earlier, invoiced, granted
    )
    draft = documents.draft_invoice("2026-11", usage, Account("a", "a@x", "pro"), Party(), Party(), NOVEMBER)
    if draft is None:
        assert not any(nanos)
        assert earlier == invoiced
        return
    cent = money.NANO // 100
    assert draft.nano == sum(nanos) + earlier - invoiced == sum(line.nano for line in draft.lines)
    assert draft.nano - draft.covered + draft.rounding + draft.kept == draft.due
    assert draft.due >= 0
    assert draft.due % cent == 0
    assert -cent < draft.rounding <= 0
    assert 0 <= draft.covered <= max(0, draft.nano)
    sums = documents.list_sums(documents.show(number(draft)))
    assert sums[-1][0] == "Amount due, USD"


def number(draft: Draft) -> Invoice:
    return Invoice(number="TS-2026-000001", **{name: getattr(draft, name) for name in draft.__struct_fields__})


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "x" * 201), ("name", "a\nb"), ("address", "x" * 1001), ("tax_id", "\x07"), ("tax_id", "1\r\n2")],
)
async def test_wrong_detail_is_refused_by_field(house: House, field: str, value: str) -> None:
    """And nothing is changed."""
    with pytest.raises(InvalidRequest) as refused:
        await house.invoices.set_buyer("a", Party(**{field: value}))
    assert refused.value.param == field
    assert await house.invoices.find_buyer("a") == Party()


async def test_address_keeps_its_lines(house: House) -> None:
    """Without the blank ones, and the blanks around."""
    await house.invoices.set_buyer("a", Party(" A ", " Street 1 \r\n\r\n  Town\n", ""))
    assert await house.invoices.find_buyer("a") == Party("A", "Street 1\nTown", "")


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "26-11", "2026-1", "1999-01", "٢٠٢٦-11", "null", ""])
def test_month_that_is_none_is_refused(month: str) -> None:
    """Only a year of this century and a month."""
    with pytest.raises(ValueError, match="2026-11"):
        months.parse(month)


def test_months_follow_each_other() -> None:
    """Over the year's end."""
    assert months.step("2026-12") == "2027-01"
    assert months.step("2027-01", -1) == "2026-12"
    assert months.name(NOVEMBER - 1) == "2026-10"


@pytest.mark.parametrize(
    ("usd", "shown"),
    [("0.00", "0.00"), ("1234567.000000001", "1,234,567.000000001"), ("-1234.50", "-1,234.50"), ("-0.005", "-0.005")],
)
def test_thousands_stand_apart(usd: str, shown: str) -> None:
    """Before the point alone."""
    assert documents.group(usd) == shown
