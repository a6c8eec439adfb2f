"""Transcripts over both stores: kept where a project says so, sealed, for its account alone, and forgotten in time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from techstone.adapters.vault import Vault
from techstone.control.accounts.records import Account
from techstone.control.keys.records import Key, KeySettings
from techstone.control.projects.records import Project
from techstone.control.transcripts.service import Transcripts
from techstone.wire.transcript import Transcript

if TYPE_CHECKING:
    from pathlib import Path

    from techstone.control.ports import Store

DAY = 86_400
ANN = Account("acct_ann", "ann@example.com", "pro")
SAID = Transcript("req_1", ANN.id, "key_in", 5000, b'{"a":1}', b"data: x\n\n")


class House:
    """A room over a store, with a project that keeps for 7 days, a key in it and one in none, and a clock."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.now = 100
        self.vault = Vault(folder, {})
        self.room = Transcripts(store.transcripts, store.projects, self.vault, lambda: self.now)


@pytest.fixture
async def house(store: Store, tmp_path: Path) -> House:
    await store.add_account(ANN)
    await store.projects.add_project(Project("proj_1", ANN.id, "web"))
    for name, project in (("key_in", "proj_1"), ("key_out", None)):
        settings = KeySettings(None, None, None, None, None, None, project=project)
        await store.add_key(Key(name, name.encode().ljust(32, b"."), ANN.id, name, "h", settings, 1))
    await store.projects.set_retention("proj_1", 7)
    return House(store, tmp_path)


async def test_keys_of_a_project_that_keeps_are_told_to_gateways(house: House) -> None:
    """On and off, by a change of these keys alone; what a key outside says is not kept."""
    records = await house.store.read_all()
    assert records.keeping == {"proj_1"}
    await house.store.projects.set_retention("proj_1", None)
    changes = await house.store.read_changes(records.revision)
    assert ([key.id for key in changes.keys], changes.keeping) == (["key_in"], frozenset())
    assert await house.store.projects.find_retention(["key_in", "key_out", "key_x"]) == {}


async def test_transcript_is_kept_for_so_many_days(house: House) -> None:
    """JSON in lines, an event stream as it came; twice shipped is once kept; gone when its time is up."""
    await house.room.keep([SAID, SAID])
    await house.room.keep([SAID])
    found = await house.room.find(ANN.id, "req_1")
    assert found is not None
    assert (found.body, found.answer, found.cut, found.expires_at) == (
        '{\n  "a": 1\n}',
        "data: x\n\n",
        False,
        100 + 7 * DAY,
    )
    assert await house.room.count("proj_1") == 1
    house.now += 7 * DAY
    assert await house.room.find(ANN.id, "req_1") is None
    assert await house.room.count("proj_1") == 0
    assert await house.store.transcripts.forget_transcripts(house.now) == 1
    assert await house.store.transcripts.forget_transcripts(house.now) == 0


async def test_transcript_is_its_accounts_alone(house: House) -> None:
    """Another account finds nothing by the same id."""
    await house.room.keep([SAID])
    assert await house.room.find("acct_ben", "req_1") is None
    assert await house.room.find(ANN.id, "req_2") is None


@pytest.mark.parametrize("key", ["key_out", "key_unknown"])
async def test_what_no_project_keeps_is_dropped(house: House, key: str) -> None:
    """Whatever a gateway still believed."""
    await house.room.keep([Transcript("req_9", ANN.id, key, 1, b"x", b"y")])
    assert await house.room.find(ANN.id, "req_9") is None


async def test_switched_off_keeps_nothing_more_and_erase_deletes(house: House) -> None:
    """What is there stays until its time, or until it is deleted."""
    await house.room.keep([SAID])
    await house.store.projects.set_retention("proj_1", None)
    await house.room.keep([Transcript("req_2", ANN.id, "key_in", 1, b"x", b"y")])
    assert await house.room.find(ANN.id, "req_2") is None
    assert await house.room.find(ANN.id, "req_1") is not None
    assert (await house.room.erase("proj_1", ANN.id), await house.room.erase("proj_1", ANN.id)) == (1, 0)
    assert await house.room.find(ANN.id, "req_1") is None


async def test_database_alone_tells_nothing(house: House, tmp_path: Path) -> None:
    """Sealed for its request: another key, or another request's place, opens nothing."""
    secret = os.urandom(40).hex().encode()
    await house.room.keep([Transcript("req_1", ANN.id, "key_in", 1, secret, secret)])
    stored = await house.store.transcripts.find_transcript(ANN.id, "req_1", 0)
    assert stored is not None
    assert secret not in stored.sealed
    stranger = Vault(tmp_path / "elsewhere", {"TECHSTONE_SECRET_KEY": bytes(range(32)).hex()})
    other = Transcripts(house.store.transcripts, house.store.projects, stranger, lambda: house.now)
    assert await other.find(ANN.id, "req_1") is None
