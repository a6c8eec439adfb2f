"""What the holder of an admin key may know and do: all of the own account, and nothing of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from techstone.control.accounts.records import NewAccount
from techstone.control.keys.records import NewKey
from techstone.control.management.records import KeyWish
from techstone.core.errors import (
    AccountSuspended,
    AdminKeyRequired,
    ApiError,
    InvalidRequest,
    KeyInvalid,
    KeyMissing,
    KeyNotFound,
)
from techstone.core.usage import UsageRecord

if TYPE_CHECKING:
    from rooms import House

    from techstone.control.accounts.records import Account

DAY = 86_400


async def _open(house: House, email: str, plan: str = "free", credit: str = "10") -> tuple[Account, str]:
    """Open an account with an admin key; return the account, found by that key, and the key."""
    await house.accounts.create(NewAccount(email, plan, credit))
    made = await house.keys.create(NewKey(email, kind="admin"))
    return await house.services.management.identify(f"Bearer {made.key}"), made.key


async def _book(house: House, account: str, number: int, cost: int, at: int) -> None:
    counts = (at * 1000, 1000, 2000, 10, 4, 5, 2, cost, 0, 1)
    entry = UsageRecord(f"r{number}", "settled", account, "k", f"m{number % 2}", "up", "x", 200, False, *counts)
    await house.store.ledger.apply("a" * 16, number, [entry])


@pytest.mark.parametrize(
    ("authorization", "error"),
    [
        (None, KeyMissing),
        ("", KeyMissing),
        ("Basic YTpi", KeyMissing),
        ("Bearer ", KeyMissing),
        ("Bearer nonsense", KeyInvalid),
        ("Bearer ts_admin_" + "a" * 46, KeyInvalid),
        ("Bearer {inference}", AdminKeyRequired),
        ("Bearer {revoked}", KeyInvalid),
        ("Bearer {expired}", KeyInvalid),
        ("Bearer {suspended}", AccountSuspended),
    ],
)
async def test_nobody_else_gets_in(house: House, authorization: str | None, error: type[ApiError]) -> None:
    """Without an admin key that is good now, of an account that is served."""
    await _open(house, "ann@example.com")
    expired = await house.keys.create(NewKey("ann@example.com", kind="admin", expires="1h"))
    house.clock.now += 3600
    revoked = await house.keys.create(NewKey("ann@example.com", kind="admin"))
    await house.keys.revoke(revoked.id)
    inference = await house.keys.create(NewKey("ann@example.com"))
    _, suspended = await _open(house, "bob@example.com")
    await house.accounts.suspend("bob@example.com")
    made = {"expired": expired.key, "revoked": revoked.key, "inference": inference.key, "suspended": suspended}
    with pytest.raises(error):
        await house.services.management.identify(authorization and authorization.format_map(made))


async def test_scheme_is_read_in_any_case(house: House) -> None:
    """As the gateway reads it."""
    account, key = await _open(house, "ann@example.com")
    assert await house.services.management.identify(f"bearer  {key} ") == account


async def test_balance_is_the_accounts_own(house: House) -> None:
    """Granted, spent and left; what was spent since the first of the UTC month by itself."""
    house.clock.now = 20 * DAY + 5
    account, key = await _open(house, "ann@example.com")
    await _book(house, account.id, 1, 10**9, 20 * DAY)
    house.clock.now = 31 * DAY + 5  # 1970-02-01
    await _book(house, account.id, 2, 2 * 10**9, 31 * DAY)
    balance = await house.services.management.balance(await house.services.management.identify(f"Bearer {key}"))
    assert (balance.granted, balance.spent, balance.held, balance.available) == ("10.00", "3.00", "0.00", "7.00")
    assert (balance.spent_this_month, balance.monthly_cap, balance.billing) == ("2.00", None, "prepaid")


async def test_account_that_pays_afterwards_has_no_balance_to_run_out_of(house: House) -> None:
    """`available` would read as a limit."""
    account, _ = await _open(house, "ann@example.com", "pro")
    assert (await house.services.management.balance(account)).available is None


async def test_usage_and_requests_are_the_accounts_own(house: House) -> None:
    """Another account's are in neither; requests come page by page."""
    ann, _ = await _open(house, "ann@example.com")
    bob, _ = await _open(house, "bob@example.com")
    for number in range(1, 6):
        await _book(house, (bob if number == 3 else ann).id, number, 10**6, house.clock.now - 60 + number)
    management = house.services.management
    usage = await management.sum_usage(ann, None, "model")
    assert [(sums.group, sums.requests, sums.cost) for sums in usage.data] == [("m0", 2, "0.002"), ("m1", 2, "0.002")]
    first = await management.list_requests(ann, None, "", 3)
    assert ([one.request_id for one in first.data], first.has_more) == (["r1", "r2", "r4"], True)
    second = await management.list_requests(ann, None, first.data[-1].request_id, 3)
    assert ([one.request_id for one in second.data], second.has_more) == (["r5"], False)


@pytest.mark.parametrize(
    ("since", "limit", "field"),
    [
        *((since, 1, "since") for since in ("-1", f"{2**62}", "9" * 5000, "1e9", "null", "", "\u0661")),
        *((None, limit, "limit") for limit in (0, 1001)),
    ],
)
async def test_what_cannot_be_asked_is_refused(house: House, since: str | None, limit: int, field: str) -> None:
    """A time that is none and a page that is too large, by name."""
    account, _ = await _open(house, "ann@example.com")
    with pytest.raises(InvalidRequest) as refused:
        await house.services.management.list_requests(account, since, "", limit)
    assert refused.value.param == field


async def test_key_is_made_shown_rotated_and_revoked(house: House) -> None:
    """The key itself stands in the answers that make one, once."""
    account, _ = await _open(house, "ann@example.com")
    management = house.services.management
    made = await management.create_key(account, KeyWish("ci", models=("m1",), expires="30d", rpm=5, daily_cap="1.5"))
    assert made.key.startswith("ts_live_")
    assert (made.name, made.models, made.rpm, made.daily_cap, made.state) == ("ci", ("m1",), 5, "1.50", "active")
    assert made.key not in repr(made)
    fresh = await management.rotate_key(account, made.id, 60)
    assert (fresh.replaces, fresh.name, fresh.rpm) == (made.id, "ci", 5)
    assert (await management.revoke_key(account, fresh.id)).state == "revoked"
    assert [key.kind for key in (await management.list_keys(account)).data] == ["admin", "inference", "inference"]
    assert (await management.show_key(account, made.id)).expires_at == house.clock.now + 60


async def test_keys_of_others_are_not_there(house: House) -> None:
    """As if there were none: neither by id nor by the key itself."""
    ann, _ = await _open(house, "ann@example.com")
    await _open(house, "bob@example.com")
    theirs = await house.keys.create(NewKey("bob@example.com"))
    management = house.services.management
    for which in (theirs.id, theirs.key):
        for attempt in (
            management.show_key(ann, which),
            management.revoke_key(ann, which),
            management.rotate_key(ann, which, 0),
        ):
            with pytest.raises(KeyNotFound):
                await attempt
    assert (await house.keys.show(theirs.id)).state == "active"


@pytest.mark.parametrize("field", ["models", "rpm", "tpm", "concurrent", "daily_cap", "monthly_cap"])
async def test_admin_key_takes_no_limits(house: House, field: str) -> None:
    """They would look as if they did something."""
    account, _ = await _open(house, "ann@example.com")
    with pytest.raises(InvalidRequest, match="admin key") as refused:
        await house.services.management.create_key(
            account,
            KeyWish(kind="admin", **{field: ("m1",) if field == "models" else "1" if "cap" in field else 1}),  # type: ignore[arg-type]  # one field of several
        )
    assert refused.value.param == field
