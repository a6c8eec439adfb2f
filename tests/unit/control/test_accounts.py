"""What may be done with accounts, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from techstone.control.accounts.records import NewAccount, PlanChange
from techstone.core import money
from techstone.core.errors import AccountNotFound, InvalidRequest

if TYPE_CHECKING:
    from rooms import House


async def test_account_gets_the_first_plan_and_no_credit(house: House) -> None:
    """What is not asked for is the catalog's first plan, and zero."""
    made = await house.accounts.create(NewAccount(" Ann@Example.COM "))
    assert (made.email, made.plan, made.credit, made.suspended) == ("ann@example.com", "free", "0.00", False)
    assert made.created_at == house.clock.now


@pytest.mark.parametrize(
    "email",
    ["", "a", "@", "a@", "@b", "a b@c", "a@b@c", "a@b\nc", "a@\x00b", "a@b\x7f", "x" * 250 + "@b.cd"]
    + [f"x{character}victim@example.com" for character in ',;:<>()[]\\"'],
)
async def test_what_is_no_address_is_refused(house: House, email: str) -> None:
    """The refusal names the field, and nothing is stored."""
    with pytest.raises(InvalidRequest) as caught:
        await house.accounts.create(NewAccount(email))
    assert caught.value.param == "email"
    assert await house.accounts.list() == ()


async def test_one_email_is_one_account(house: House, ann: str) -> None:
    """Also in other letters."""
    with pytest.raises(InvalidRequest, match=f"There is an account `{ann}` already") as caught:
        await house.accounts.create(NewAccount(ann.upper()))
    assert caught.value.param == "email"


@pytest.mark.parametrize("usd", ["1e3", "-1", "0.0000000001", "nan", "٣", "1,5", "", "9999999999.9"])
async def test_what_is_no_amount_is_refused(house: House, ann: str, usd: str) -> None:
    """At creation as `credit`, later as `usd`; the credit stays."""
    with pytest.raises(InvalidRequest) as caught:
        await house.accounts.create(NewAccount("b@example.com", credit=usd))
    assert caught.value.param == "credit"
    with pytest.raises(InvalidRequest) as caught:
        await house.accounts.add_credit(ann, usd)
    assert caught.value.param == "usd"
    assert (await house.accounts.show(ann)).credit == "0.00"


async def test_credit_adds_up_to_the_nano(house: House, ann: str) -> None:
    """No float on the way; more than a column holds, and nothing at all, are refused."""
    await house.accounts.add_credit(ann, "9000000000.000000001")
    assert (await house.accounts.add_credit(ann, "0.1")).credit == "9000000000.100000001"
    for usd in ("0", money.show(money.LARGEST)):
        with pytest.raises(InvalidRequest) as caught:
            await house.accounts.add_credit(ann, usd)
        assert caught.value.param == "usd"


async def test_plan_must_be_on_offer(house: House, ann: str) -> None:
    """The refusal says which there are."""
    assert (await house.accounts.set_plan(ann, PlanChange("pro"))).plan == "pro"
    with pytest.raises(InvalidRequest, match="plan must be one of free, pro"):
        await house.accounts.set_plan(ann, PlanChange("gold"))
    assert (await house.accounts.show(ann)).plan == "pro"


async def test_unknown_account_is_not_found(house: House) -> None:
    """Whatever was to be done with it."""
    for attempt in (
        house.accounts.show("no@no.no"),
        house.accounts.set_plan("no@no.no", PlanChange("pro")),
        house.accounts.add_credit("no@no.no", "1"),
        house.accounts.suspend("no@no.no"),
    ):
        with pytest.raises(AccountNotFound):
            await attempt
