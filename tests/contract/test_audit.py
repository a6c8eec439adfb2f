"""The audit log: every change of a store is in it, in the order that they happened, and stays as it was noted."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec
import pytest
from databases import open_at

from techstone.control import acts
from techstone.control.accounts.records import Account
from techstone.control.acts import Act, Actor, Unnoted, act_as, acting
from techstone.control.audit import chain
from techstone.control.audit.records import AuditFilter
from techstone.control.catalog.records import Catalog
from techstone.control.services import Services
from techstone.core.snapshot import Plan

if TYPE_CHECKING:
    from databases import Place

    from techstone.control.audit.service import AuditLog
    from techstone.control.ports import Store

_CATALOG = Catalog((Plan("pro", 1, 1, 1, "postpaid"),), (), ())
ANN = Account("acct_ann", "ann@example.com", "pro", created_at=5)
BEN = Account("acct_ben", "ben@example.com", "pro", created_at=6)


def log_of(store: Store) -> AuditLog:
    """Return the log over a store, as the services have it."""
    return Services(store, _CATALOG).audit


async def fill(store: Store) -> None:
    """Do four acts of two people."""
    act_as(Actor("person", "op@example.com", "192.0.2.7"))
    for account in (ANN, BEN):
        with acting("account.create", account.id, account.id, email=account.email, plan=None):
            await store.add_account(account)
    act_as(Actor("command line"))
    for suspended in (True, False):
        with acting("account.suspend" if suspended else "account.resume", ANN.id, ANN.id):
            await store.set_suspended(ANN.id, suspended=suspended)


async def test_every_change_is_noted_with_who_and_what(store: Store) -> None:
    """Newest first; details that are None are left out."""
    await fill(store)
    found = await log_of(store).list()
    assert [(one.number, one.actor_kind, one.action, one.target) for one in found] == [
        (4, "command line", "account.resume", ANN.id),
        (3, "command line", "account.suspend", ANN.id),
        (2, "person", "account.create", BEN.id),
        (1, "person", "account.create", ANN.id),
    ]
    assert found[3].detail == {"email": "ann@example.com"}
    assert (found[3].actor, found[3].address) == ("op@example.com", "192.0.2.7")


async def test_change_of_nobody_does_not_happen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store refuses what no act was named for."""
    monkeypatch.setattr(acts, "_ACT", ContextVar("no act", default=None))
    with pytest.raises(Unnoted):
        await store.add_account(ANN)
    assert await store.find_account(ANN.id) is None


async def test_what_changes_nothing_is_not_noted(store: Store) -> None:
    """An act that failed, or found nothing to change, leaves no entry."""
    await fill(store)
    with acting("link.use", "nothing"):
        assert not await store.identity.use_link(b"no link")
        assert not await store.add_first(ANN, None)  # type: ignore[arg-type]  # never looked at
    assert len(await log_of(store).list()) == 4


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        (AuditFilter(account=ANN.id), [4, 3, 1]),
        (AuditFilter(account="Ann@example.com"), [4, 3, 1]),
        (AuditFilter(actor="op@example.com"), [2, 1]),
        (AuditFilter(action="account"), [4, 3, 2, 1]),
        (AuditFilter(action="account.suspend"), [3]),
        (AuditFilter(action="acc"), []),
        (AuditFilter(account=BEN.id, action="account.suspend"), []),
    ],
)
async def test_entries_are_found_by_account_actor_and_action(
    store: Store, filters: AuditFilter, numbers: list[int]
) -> None:
    """An account is given by its id or email, an action whole or by its noun."""
    await fill(store)
    assert [one.number for one in await log_of(store).list(filters)] == numbers


async def test_list_goes_on_before_an_entry(store: Store) -> None:
    """Page by page."""
    await fill(store)
    log = log_of(store)
    assert [one.number for one in await log.list(limit=3)] == [4, 3, 2]
    assert [one.number for one in await log.list(before=2, limit=3)] == [1]


async def test_act_by_itself_is_noted(store: Store) -> None:
    """Where nothing changes that is noted with it."""
    with acting("ledger.rerate", "gpt-4o"):
        await store.audit.note()
    assert [one.action for one in await log_of(store).list()] == ["ledger.rerate"]


async def test_untouched_chain_is_whole(store: Store) -> None:
    """The head is the last entry's digest; an empty log has the root's."""
    log = log_of(store)
    assert (await log.check()).head == chain.ROOT.hex()
    await fill(store)
    checked = await log.check()
    assert (checked.entries, checked.broken, checked.head) == (4, None, (await log.list())[0].digest)


SPOILT = {
    "an actor changed": ("UPDATE audit SET actor = 'someone else' WHERE number = 2", 2),
    "a time changed": ("UPDATE audit SET at = at + 1 WHERE number = 3", 3),
    "a detail changed": ("UPDATE audit SET detail = '{}' WHERE number = 1", 1),
    "a digest changed": ("UPDATE audit SET digest = (SELECT digest FROM audit WHERE number = 1) WHERE number = 2", 2),
    "an entry left out": ("DELETE FROM audit WHERE number = 2", 2),
    "two entries changed places": (
        "UPDATE audit SET number = CASE number WHEN 2 THEN -3 ELSE -2 END WHERE number IN (2, 3)",
        2,
    ),
}


@pytest.mark.parametrize("name", SPOILT)
async def test_spoilt_chain_is_found_at_its_first_entry(place: Place, name: str) -> None:
    """Whoever can write the database can change an entry, but not so that it still follows."""
    store = await open_at(place.address)
    await fill(store)
    statement, broken = SPOILT[name]
    await place.execute(statement, "UPDATE audit SET number = -number WHERE number < 0")
    found = await log_of(store).check()
    await store.close()
    assert found.broken == broken


def test_seal_covers_every_field() -> None:
    """No field can be changed without the digest."""
    entry = chain.append(chain.ROOT, 1, 2, Actor("person", "a", "b"), Act("c.d", "e", "f", {"g": "h"}))
    changed = {
        "number": 9,
        "at": 9,
        "actor_kind": "system",
        "actor": "x",
        "address": "x",
        "account": None,
        "action": "x",
        "target": "x",
        "detail": {},
    }
    assert {*changed, "digest"} == set(entry.__struct_fields__)
    for name, value in changed.items():
        assert chain.seal(chain.ROOT, msgspec.structs.replace(entry, **{name: value})) != entry.digest
    assert chain.seal(b"\1" * 32, entry) != entry.digest == chain.seal(chain.ROOT, entry)
