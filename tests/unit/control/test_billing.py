"""What may be done with prices and codes, and which alerts are told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.control.accounts.records import NewAccount
from techstone.control.billing import alerts
from techstone.control.billing.alerts import reached, tell
from techstone.control.billing.prices import PriceBook
from techstone.control.billing.records import Alert, Gauge, NewCodes, NewPrice, Redemption
from techstone.control.keys.records import NewKey
from techstone.control.ports import StoreError
from techstone.core.errors import ApiError, InvalidRequest
from techstone.core.pricing import Price
from techstone.core.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rooms import House

CONFIGURED = Price(0, 0, 10**9, 2 * 10**9, source="config")


@pytest.fixture
async def priced(house: House) -> House:
    """Return a house whose first model has a configured price, noted at the start."""
    models = (msgspec.structs.replace(house.catalog.models[0], prices=(CONFIGURED,)), house.catalog.models[1])
    house.services.prices._offered = lambda: models
    await house.services.prices.note_configured()
    return house


async def test_price_is_set_reset_and_set_for_later(priced: House) -> None:
    """In force now or from a time on; back to the configured one, with everything that was planned."""
    prices = priced.services.prices
    (first,) = await prices.list("m1")
    assert (first.input, first.output, first.source, first.valid_from) == ("1.00", "2.00", "config", None)
    (now,) = await prices.set(NewPrice("m1", "3", "4.5", "0.000000001", "0"))
    assert (now.input, now.output, now.cached_input, now.reasoning) == ("3.00", "4.50", "0.000000001", "0.00")
    assert (now.source, now.valid_from, now.state) == ("operator", "1970-01-12T13:46:40Z", "in force")
    shown = await prices.set(NewPrice("m1", "7", "8", begins="2026-12-01T01:00+01:00"))
    assert [(price.input, price.state) for price in shown] == [("3.00", "in force"), ("7.00", "future")]
    assert shown[1].valid_from == "2026-12-01T00:00:00Z"
    priced.clock.now += 5
    (back,) = await prices.reset("m1")
    assert (back.input, back.source, back.valid_from) == ("1.00", "config", "1970-01-12T13:46:45Z")


async def test_model_without_a_version_shows_its_configured_price(house: House) -> None:
    """Where the control plane never ran; a model that has none shows none."""
    models = (msgspec.structs.replace(house.catalog.models[0], prices=(CONFIGURED,)), house.catalog.models[1])
    house.services.prices._offered = lambda: models
    assert [(price.model, price.input) for price in await house.services.prices.list()] == [("m1", "1.00")]


async def test_gateways_are_told_what_is_in_force_or_will_be(priced: House) -> None:
    """The whole for all models, a change for those that it is about."""
    book = PriceBook(priced.store.billing, lambda: priced.catalog.models, priced.clock)
    before = await priced.store.read_revision()
    await priced.services.prices.set(NewPrice("m1", "3", "4"))
    await priced.services.prices.set(NewPrice("m1", "5", "6", begins="2026-12-01T00:00Z"))
    (changed,) = await book.read_changes(before)
    assert [(price.input, price.valid_from) for price in changed.prices] == [
        (3 * 10**9, priced.clock.now),
        (5 * 10**9, 1_796_083_200),
    ]
    assert await book.read() == (changed, priced.catalog.models[1])
    assert await book.read_changes(before + 2) == ()


@pytest.mark.parametrize(
    ("act", "param"),
    [
        (lambda rooms: rooms.prices.set(NewPrice("m9", "1", "1")), "model"),
        (lambda rooms: rooms.prices.list("m9"), "model"),
        (lambda rooms: rooms.prices.reset("m2"), "model"),
        (lambda rooms: rooms.prices.set(NewPrice("m1", "1e3", "1")), "input"),
        (lambda rooms: rooms.prices.set(NewPrice("m1", "1", "-1")), "output"),
        (lambda rooms: rooms.prices.set(NewPrice("m1", "1", "1", reasoning="0.0000000001")), "reasoning"),
        (lambda rooms: rooms.prices.set(NewPrice("m1", "1", "1", begins="2026-12-01")), "begins"),
        (lambda rooms: rooms.prices.set(NewPrice("m1", "1", "1", begins="soon")), "begins"),
        (lambda rooms: rooms.codes.create(NewCodes("0")), "usd"),
        (lambda rooms: rooms.codes.create(NewCodes("x")), "usd"),
        (lambda rooms: rooms.codes.create(NewCodes("1", 0)), "count"),
        (lambda rooms: rooms.codes.create(NewCodes("1", 1001)), "count"),
        (lambda rooms: rooms.codes.create(NewCodes("1", expires="1y")), "expires"),
        (lambda rooms: rooms.codes.revoke("code_none"), "id"),
        (lambda rooms: rooms.codes.redeem(Redemption("ts_code_none", "ann@example.com")), "code"),
        (lambda rooms: rooms.codes.redeem(Redemption("ts_code_none", "nobody@example.com")), "account"),
    ],
)
async def test_refusal_names_the_field(
    priced: House, ann: str, act: Callable[[object], Awaitable[object]], param: str
) -> None:
    """Every wish that cannot be met says which part of it."""
    assert ann
    with pytest.raises(ApiError) as caught:
        await act(priced.services)
    assert caught.value.param == param


async def test_code_becomes_credit_once(house: House, ann: str) -> None:
    """Shown at its creation, in the list only as a state; redeemed as it is or in capitals, and by one account."""
    first, second = await house.services.codes.create(NewCodes("5", 2, "1d"))
    assert first.code not in repr(first) + repr(Redemption(first.code, ann))
    assert (await house.services.codes.redeem(Redemption(f" {first.code.upper()}\n", ann))).usd == "5.00"
    assert (await house.accounts.show(ann)).credit == "5.00"
    house.clock.now += 86_400
    states = {code.id: (code.state, code.redeemed_by) for code in await house.services.codes.list()}
    assert states == {first.id: ("redeemed", ann), second.id: ("expired", None)}
    assert (await house.services.codes.revoke(second.id)).state == "revoked"
    with pytest.raises(InvalidRequest, match="is redeemed already"):
        await house.services.codes.revoke(first.id)


async def test_bad_codes_are_refused_alike(house: House, ann: str) -> None:
    """Unknown, used, revoked and expired: one refusal, word by word."""
    used, revoked, expired = await house.services.codes.create(NewCodes("5", 3, "1d"))
    await house.services.codes.redeem(Redemption(used.code, ann))
    await house.services.codes.revoke(revoked.id)
    house.clock.now += 86_400
    refusals = set()
    for code in (used.code, revoked.code, expired.code, "ts_code_unknown", ""):
        with pytest.raises(InvalidRequest) as caught:
            await house.services.codes.redeem(Redemption(code, ann))
        refusals.add(caught.value.body())
    assert len(refusals) == 1


@given(st.integers(0, 300), st.integers(-5, 300))
def test_thresholds_are_exact(spent: int, limit: int) -> None:
    """At 80 and 100 of a hundred parts and not one nano-dollar before; a limit of nothing has no alerts."""
    found = reached(Gauge("a", "e", "s", "p", spent, limit))
    assert (80 in found, 100 in found) == (limit > 0 and spent * 5 >= limit * 4, limit > 0 and spent >= limit)


class _Ears:
    """Hears alerts. Implements `Notifier`."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.told = asyncio.Event()

    async def notify(self, alert: Alert, email: str) -> None:
        self.heard.append(tell(alert, email))
        self.told.set()


async def _pay(house: House, account: str, key: str, nano: int, number: int) -> None:
    record = UsageRecord(
        *(f"r{number}", "settled", account, key, "m1", "up", "x", 200, False, house.clock.now * 1000),
        *(1, 2, 1, 0, 1, 0, nano, 0, 1),
    )
    await house.store.ledger.apply("0" * 16, number, [record])


async def test_alert_is_told_once_per_threshold_and_period(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """80 % and 100 % of the credit, again after the next top-up; a new process does not repeat what was told."""
    monkeypatch.setattr("time.time", house.clock)
    account = await house.accounts.create(NewAccount("ann@example.com", credit="0.0000001"))
    room, ears = house.services.alerts, _Ears()
    for number, nano in enumerate((79, 1, 1, 19), 1):
        await _pay(house, account.id, "key_none", nano, number)
        await room.look([account.id], ears)
    assert ears.heard == [
        "ann@example.com has used 80 % of its credit: 0.00000008 of 0.0000001 USD",
        "ann@example.com has used 100 % of its credit: 0.0000001 of 0.0000001 USD",
    ]
    room._told.clear()
    await room.look([account.id], ears)
    await house.accounts.add_credit(account.id, "0.0000001")
    await _pay(house, account.id, "key_none", 80, 5)
    await room.look([account.id], ears)
    assert len(ears.heard) == 3
    assert [(alert.percent, alert.account) for alert in await room.list("ann@example.com")] == [
        (80, "ann@example.com"),
        (100, "ann@example.com"),
        (80, "ann@example.com"),
    ]


async def test_alerts_of_caps_name_their_period(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account's month, a key's day; the next day counts anew."""
    monkeypatch.setattr("time.time", house.clock)
    account = await house.accounts.create(NewAccount("ann@example.com", "pro", monthly_cap="0.0000002"))
    key = await house.keys.create(NewKey("ann@example.com", daily_cap="0.0000001"))
    room, ears = house.services.alerts, _Ears()
    await _pay(house, account.id, key.id, 90, 1)
    await room.look([account.id], ears)
    house.clock.now += 86_400
    await _pay(house, account.id, key.id, 90, 2)
    await room.look([account.id], ears)
    days = [f"the cap of this day (1970-01-{day}) of the key {key.id}: 0.00000009" for day in (12, 13)]
    assert ears.heard == [
        f"ann@example.com has used 80 % of {days[0]} of 0.0000001 USD",
        "ann@example.com has used 80 % of the cap of this month (1970-01): 0.00000018 of 0.0000002 USD",
        f"ann@example.com has used 80 % of {days[1]} of 0.0000001 USD",
    ]


async def test_start_looks_at_every_account(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alert that a crash came before is told by the next process, also where the store fails at its start."""
    monkeypatch.setattr("time.time", house.clock)
    monkeypatch.setattr(alerts, "_PAUSE", 0)
    emails, failures = house.accounts.emails, [StoreError("away")]

    async def fail_once() -> dict[str, str]:
        if failures:
            raise failures.pop()
        return await emails()

    monkeypatch.setattr(house.accounts, "emails", fail_once)
    account = await house.accounts.create(NewAccount("ann@example.com", credit="0.0000001"))
    await _pay(house, account.id, "key_none", 80, 1)
    ears = _Ears()
    task = asyncio.create_task(house.services.alerts.run(ears))
    async with asyncio.timeout(2):
        await ears.told.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert len(ears.heard) == 1


async def test_touched_accounts_are_looked_at_together(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a booking touches an account; where the store fails, they are looked at again."""
    monkeypatch.setattr(alerts, "_PAUSE", 0)
    room, looked = house.services.alerts, []
    done = asyncio.Event()

    async def look(accounts: set[str], _: object) -> None:
        looked.append(accounts)
        if len(looked) == 1:
            room.touch(["c"])
            raise StoreError("disk I/O error")
        done.set()

    monkeypatch.setattr(room, "look", look)
    room.touch(())
    room.touch(["a", "b"])
    room.touch(["a"])
    task = asyncio.create_task(room.run(_Ears()))
    async with asyncio.timeout(2):
        await done.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert looked == [{"a", "b"}, {"a", "b", "c"}]
