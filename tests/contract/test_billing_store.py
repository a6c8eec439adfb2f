"""What every store promises about prices, top-up codes and alerts, asked of each of them."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import TYPE_CHECKING

import databases
import msgspec
import pytest

from techstone.control.accounts.records import Account, Terms
from techstone.control.billing.records import OPERATOR, Alert, Code, Gauge
from techstone.control.keys.records import Key, KeySettings
from techstone.core import codes, money
from techstone.core.pricing import Price
from techstone.core.usage import UsageRecord

if TYPE_CHECKING:
    from databases import Place

    from techstone.control.ports import Store

ACCOUNT = Account("acct_1", "a@example.com", "free", 100, created_at=100)
CAPPED = KeySettings(None, None, None, None, 40, 90)
KEY = Key("key_1", b"1" * 32, "acct_1", "first", "ts_live_…", CAPPED)
PRICE = Price(0, 0, 5, 6, 7, None, "preset")
NOON = 1_780_315_200  # 2026-06-01 12:00 UTC
CODE = Code("code_1", codes.digest("ts_code_1"), 25, 100, 200)


@pytest.fixture
async def store(store: Store) -> Store:
    await store.add_account(ACCOUNT)
    await store.add_key(KEY)
    return store


def _paid(name: str, nano: int, at: int = NOON) -> UsageRecord:
    return UsageRecord(
        *(name, "settled", "acct_1", "key_1", "m", "up", "x", 200, False, at * 1000, 1, 2, 1, 0, 1, 0, nano, 0, 1)
    )


async def test_price_comes_back_as_it_went_in(store: Store) -> None:
    """With a number of the store's, at a revision of its own; asked since that, it is not told again."""
    before = await store.read_revision()
    await store.billing.add_price("m", msgspec.structs.replace(PRICE, source=OPERATOR, valid_from=9), 8, reset=True)
    (found,) = await store.billing.read_prices()
    assert found.price == msgspec.structs.replace(PRICE, version=1, source=OPERATOR, valid_from=9)
    assert (found.model, found.created_at, found.reset) == ("m", 8, True)
    assert await store.read_revision() == before + 1
    assert await store.billing.read_prices(before) == (found,)
    assert await store.billing.read_prices(before + 1) == ()


async def test_configured_prices_are_noted_at_one_revision(store: Store) -> None:
    """Those that differ, all together; nothing where none does."""
    before = await store.read_revision()
    await store.billing.note_configured({"m": PRICE, "n": PRICE}, 50)
    await store.billing.note_configured({"m": PRICE, "n": PRICE}, 60)
    assert await store.read_revision() == before + 1
    await store.billing.note_configured({"m": PRICE, "n": msgspec.structs.replace(PRICE, input=0)}, 70)
    assert [(v.price.version, v.model, v.price.valid_from) for v in await store.billing.read_prices()] == [
        (1, "m", 0),
        (2, "n", 0),
        (3, "n", 70),
    ]


async def test_code_is_good_once(store: Store) -> None:
    """Its amount becomes credit, in the ledger too; then it is as bad as one that never was."""
    await store.billing.add_codes((CODE,))
    used = await store.billing.redeem_code(CODE.digest, "acct_1", 150)
    assert used == msgspec.structs.replace(CODE, redeemed_at=150, redeemed_by="acct_1")
    assert await store.billing.redeem_code(CODE.digest, "acct_1", 150) is None
    assert await store.billing.redeem_code(b"x" * 32, "acct_1", 150) is None
    (account,) = await store.list_accounts()
    assert account.granted_nano == 125
    assert await store.billing.list_codes() == (used,)
    assert await store.ledger.check(["free"]) == ()


async def test_code_that_is_over_is_not_good(store: Store) -> None:
    """At its end, and once it is revoked; a redeemed one cannot be revoked."""
    await store.billing.add_codes((CODE, Code("code_2", b"2" * 32, 1, 101)))
    assert await store.billing.redeem_code(CODE.digest, "acct_1", 200) is None
    await store.billing.revoke_code("code_1", 120)
    assert await store.billing.redeem_code(CODE.digest, "acct_1", 150) is None
    assert await store.billing.revoke_code("code_9", 120) is None
    await store.billing.redeem_code(b"2" * 32, "acct_1", 10**10)
    found = await store.billing.revoke_code("code_2", 160)
    assert found is not None
    assert (found.redeemed_at, found.revoked_at) == (10**10, None)
    assert [code.revoked_at for code in await store.billing.list_codes()] == [120, None]


async def test_code_that_the_account_cannot_hold_stays_good(store: Store) -> None:
    """Neither granted nor used up."""
    await store.billing.add_codes((msgspec.structs.replace(CODE, nano=money.LARGEST),))
    assert await store.billing.redeem_code(CODE.digest, "acct_1", 150) is None
    assert [code.redeemed_at for code in await store.billing.list_codes()] == [None]


async def test_gauges_tell_credit_and_caps(store: Store) -> None:
    """Credit since it was added last; caps of this day and month, an earlier month left out."""
    await store.set_terms("acct_1", Terms("free", monthly_cap=80))
    await store.ledger.apply("0" * 16, 1, [_paid("old", 9, NOON - 40 * 86_400), _paid("earlier", 4, NOON)])
    assert await store.ledger.grant("acct_1", 1, "more")
    await store.ledger.apply("0" * 16, 3, [_paid("today", 30, NOON + 1), _paid("next", 20, NOON + 86_400)])
    gauges = await store.billing.read_gauges(["acct_1"], ["free"], NOON + 86_400)
    assert {(gauge.subject, gauge.period): (gauge.spent, gauge.limit) for gauge in gauges} == {
        ("acct_1", "credit:101"): (50, 88),
        ("acct_1", "month:2026-06"): (54, 80),
        ("key_1", "day:2026-06-02"): (20, 40),
        ("key_1", "month:2026-06"): (54, 90),
    }
    assert {(gauge.account, gauge.email) for gauge in gauges} == {("acct_1", "a@example.com")}


async def test_what_has_no_limit_has_no_gauge(store: Store) -> None:
    """A postpaid account without a cap; credit that was there from the beginning has one."""
    assert [gauge.subject for gauge in await store.billing.read_gauges(["acct_1"], [], NOON)] == ["key_1", "key_1"]
    first = Gauge("acct_1", "a@example.com", "acct_1", "credit:100", 0, 100)
    assert first in await store.billing.read_gauges(["acct_1"], ["free"], NOON)


async def test_alert_is_kept_once(store: Store) -> None:
    """Per subject, period and threshold."""
    alert = Alert("acct_1", "key_1", "day:2026-06-01", 80, 5, 8, 10)
    assert await store.billing.add_alert(alert)
    assert not await store.billing.add_alert(msgspec.structs.replace(alert, at=6, spent=9))
    other = msgspec.structs.replace(alert, percent=100)
    assert await store.billing.add_alert(other)
    assert await store.billing.list_alerts() == await store.billing.list_alerts("acct_1") == (alert, other)
    assert await store.billing.list_alerts("acct_2") == ()


_RACER = """
import asyncio, sys
from databases import open_at
from techstone.control.acts import acting

async def race():
    store = await open_at(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    with acting("code.redeem", "acct_1"):
        won = [await store.billing.redeem_code(bytes([n]) * 32, "acct_1", 150) is not None for n in range(20)]
    await store.close()
    print(sum(won))

asyncio.run(race())
"""


async def test_of_two_processes_one_redeems_a_code(place: Place) -> None:
    """Two real processes on one database, 20 codes each: every code is granted once, and the books are in order."""
    store = await databases.open_at(place.address)
    await store.add_account(ACCOUNT)
    await store.billing.add_codes(tuple(Code(f"c{number}", bytes([number]) * 32, 25, 100) for number in range(20)))
    command = [sys.executable, "-c", _RACER, place.address]
    environment = {**os.environ, "PYTHONPATH": str(Path(databases.__file__).parent)}
    racers = [
        await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment) for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert await racer.stdout.readline() == b"ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"go\n")
        await racer.stdin.drain()
    wins = [int((await racer.communicate())[0]) for racer in racers]
    assert sum(wins) == 20
    (account,) = await store.list_accounts()
    assert account.granted_nano == 100 + 25 * 20
    assert await store.ledger.check(["free"]) == ()
    await store.close()
