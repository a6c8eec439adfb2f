"""What every store of refusals promises: bounded by account, each once, nobody's acts; and what becomes of reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from techstone.control.accounts.records import Account
from techstone.control.acts import acting
from techstone.control.keys.records import Key, KeySettings
from techstone.control.reports.records import KEPT, KEPT_SECONDS, Refusal, RefusalFilter
from techstone.control.reports.service import Reports
from techstone.wire.report import (
    GatewayState,
    JournalState,
    LimitState,
    RefusalNote,
    Report,
    SnapshotState,
)

if TYPE_CHECKING:
    from techstone.control.ports import Store

NOW = 1_800_000_000
ONE = Refusal("req_1", "acct_ann", "key_1", NOW * 1000, 429, "rate_limit_exceeded", "requests", "key", 9, "m", "", "x")
GATEWAY = GatewayState(
    "a" * 16,
    "1.0",
    NOW - 60.0,
    1,
    2,
    3,
    (),
    JournalState(0, 0.0, 0, 64_000_000),
    LimitState("memory"),
    SnapshotState(4, 0.5),
)
NOTE = RefusalNote("req_9", NOW * 1000, 404, "model_not_found", "acct_ann", "key_1", model="nope")


def count(start: int, number: int, account: str = "acct_ann") -> list[Refusal]:
    return [
        replace(ONE, request_id=f"req_{account}_{place}", at=ONE.at + place, account=account)
        for place in range(start, start + number)
    ]


async def test_refusals_are_kept_once_and_found(store: Store) -> None:
    """By account alone: nobody finds another's."""
    reports = store.reports
    await reports.add_refusals([ONE, ONE])
    await reports.add_refusals([ONE, replace(ONE, request_id="req_2", at=ONE.at + 1)])
    assert [one.request_id for one in await reports.list_refusals("acct_ann", 0)] == ["req_2", "req_1"]
    assert await reports.list_refusals("acct_ann", ONE.at + 2) == ()
    assert await reports.list_refusals("acct_ben", 0) == ()
    assert await reports.find_refusal("acct_ann", "req_1") == ONE
    assert await reports.find_refusal("acct_ben", "req_1") is None


async def test_newest_of_every_account_stay(store: Store) -> None:
    """A client gone wild pushes out its own alone; what is from before a time is deleted."""
    reports = store.reports
    await reports.add_refusals(count(0, 3, "acct_ben"))
    await reports.add_refusals(count(0, KEPT - 1))
    await reports.add_refusals(count(KEPT, 50))
    kept = await reports.list_refusals("acct_ann", 0)
    assert (len(kept), kept[0].at - ONE.at, kept[-1].at - ONE.at) == (KEPT, KEPT + 49, 49)
    assert len(await reports.list_refusals("acct_ben", 0)) == 3
    await reports.forget_refusals(ONE.at + KEPT)
    assert len(await reports.list_refusals("acct_ann", 0)) == 50
    assert await reports.list_refusals("acct_ben", 0) == ()


async def test_refusals_raise_no_revision_and_are_nobodys_acts(store: Store) -> None:
    """Gateways need not hear of them."""
    await store.reports.add_refusals([ONE])
    await store.reports.forget_refusals(0)
    assert await store.read_revision() == 0
    assert await store.audit.read_entries(0, 9) == ()


async def test_secret_is_made_once(store: Store) -> None:
    """Who comes second gets the first one's; the log has the act, without the value."""
    for fresh in (b"a" * 32, b"b" * 32):
        with acting("secret.make", "view"):
            assert await store.keep_secret("view", fresh) == b"a" * 32
    (entry,) = await store.audit.read_entries(0, 9)
    assert (entry.action, entry.detail) == ("secret.make", {})


async def test_report_is_taken_and_its_refusals_are_whose_they_were(store: Store) -> None:
    """Also that of a revoked key, which a gateway knows by its digest alone; a stranger's is nobody's."""
    key = Key("key_old", b"d" * 32, "acct_ann", "old", "h", KeySettings(), created_at=1, revoked_at=2)
    with acting("key.create", key.id):
        await store.add_account(Account("acct_ann", "ann@example.com", "pro", created_at=1))
        await store.add_key(key)
    now = [float(NOW)]
    reports = Reports(store.reports, store, lambda: now[0])
    revoked = RefusalNote("req_8", NOW * 1000, 401, "invalid_api_key", digest=key.digest.hex())
    stranger = RefusalNote("req_7", NOW * 1000, 401, "invalid_api_key", digest="00" * 32)
    await reports.take(Report(GATEWAY, (NOTE, revoked, stranger), 3))
    await reports.take(Report(GATEWAY, (), 2))
    found = await reports.list("acct_ann")
    assert {(one.request_id, one.key) for one in found} == {("req_9", "key_1"), ("req_8", "key_old")}
    assert [one.model for one in await reports.list("acct_ann", RefusalFilter(key="key_1"))] == ["nope"]
    assert await reports.list("acct_ann", RefusalFilter(since=NOW * 1000)) == ()
    (heard,) = reports.gateways()
    assert (heard.state, heard.at, heard.dropped) == (GATEWAY, NOW, 5)
    now[0] += KEPT_SECONDS + 1
    assert reports.gateways() == ()
    assert await reports.list("acct_ann") == ()
