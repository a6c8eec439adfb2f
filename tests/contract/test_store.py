"""What every store promises, asked of each of them."""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING, Any

import msgspec
import postgres as servers
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from databases import open_at
from sqlalchemy import create_engine, inspect
from sqlalchemy import text as sql

from techstone.adapters.storage import migrate, postgres
from techstone.adapters.storage.postgres import PostgresDatabase
from techstone.adapters.storage.schema import METADATA
from techstone.adapters.storage.sqlite import open_store
from techstone.adapters.vault import Vault
from techstone.control.accounts.records import Account, Terms
from techstone.control.catalog.merging import tell_provider
from techstone.control.keys.records import Key, KeySettings
from techstone.control.ports import StoreError, Taken
from techstone.control.projects.records import Project
from techstone.core.sealing import name_context
from techstone.gateway.target import Keyring

if TYPE_CHECKING:
    from pathlib import Path

    from databases import Place
    from sqlalchemy import Connection

    from techstone.control.catalog.records import Stored
    from techstone.control.ports import Store

ACCOUNT = Account("acct_1", "a@example.com", "pro", 5, created_at=100)
OTHER = Account("acct_2", "b@example.com", "pro", created_at=101)
KEY = Key("key_1", b"1" * 32, "acct_1", "first", "ts_live_…", KeySettings(("gpt-4o",), 1, 2, 3), 100, 200)
BOUND = Key(
    "key_3", b"3" * 32, "acct_1", "third", "ts_live_…",
    KeySettings(scopes=("chat", "models"), ips=("192.0.2.0/24", "2001:db8::/32"), project="proj_1", lifetime=60),
    102, 162, disabled_at=110,
)  # fmt: skip
PLAIN = Key("key_2", b"2" * 32, "acct_1", "second", "ts_live_…", created_at=101)


async def test_account_comes_back_as_it_went_in(store: Store) -> None:
    """By id and by email; anything else finds nothing."""
    await store.add_account(ACCOUNT)
    assert await store.find_account("acct_1") == ACCOUNT
    assert await store.find_account("a@example.com") == ACCOUNT
    assert await store.find_account("x") is None


async def test_second_account_of_an_email_is_refused(store: Store) -> None:
    """Taken names the field, and nothing changes."""
    await store.add_account(ACCOUNT)
    with pytest.raises(Taken) as caught:
        await store.add_account(msgspec.structs.replace(OTHER, email=ACCOUNT.email))
    assert caught.value.field == "email"
    assert await store.read_revision() == 1
    assert await store.list_accounts() == (ACCOUNT,)


async def test_account_changes_are_kept(store: Store) -> None:
    """Plan, cap, suspension and credit change alone: a cap does not bring an older plan back."""
    await store.add_account(ACCOUNT)
    await store.add_account(OTHER)
    await store.set_terms("acct_1", Terms("enterprise", rpm=7))
    await store.set_terms("acct_1", Terms(monthly_cap=9))
    await store.set_suspended("acct_1", suspended=True)
    assert await store.ledger.grant("acct_1", 2**62, "test")
    assert not await store.ledger.grant("acct_1", 2**62, "more than an account holds")
    changed = msgspec.structs.replace(
        ACCOUNT, plan="enterprise", rpm=7, monthly_cap=9, suspended=True, granted_nano=2**62 + 5
    )
    assert await store.list_accounts() == (changed, OTHER)


async def test_key_comes_back_as_it_went_in(store: Store) -> None:
    """By id and by digest, with and without settings."""
    await store.add_account(ACCOUNT)
    await store.add_key(KEY)
    await store.add_key(PLAIN)
    await store.add_key(BOUND)
    assert await store.find_key("key_1") == KEY
    assert await store.find_key_by_digest(b"2" * 32) == PLAIN
    assert await store.list_keys() == (KEY, PLAIN, BOUND)
    assert await store.list_keys("acct_2") == ()


async def test_second_key_of_a_digest_is_refused(store: Store) -> None:
    """Taken names the field."""
    await store.add_account(ACCOUNT)
    await store.add_key(KEY)
    with pytest.raises(Taken) as caught:
        await store.add_key(msgspec.structs.replace(PLAIN, digest=KEY.digest))
    assert caught.value.field == "digest"


async def test_replacement_is_both_or_neither(store: Store) -> None:
    """The old key ends and the new one begins at one revision; a refused new key leaves the old one alone."""
    await store.add_account(ACCOUNT)
    await store.add_key(KEY)
    before = await store.read_revision()
    await store.replace_key("key_1", 150, PLAIN)
    changes = await store.read_changes(before)
    assert changes.revision == before + 1
    assert {key.id: key.expires_at for key in changes.keys} == {"key_1": 150, "key_2": None}
    with pytest.raises(Taken):
        await store.replace_key("key_1", 120, msgspec.structs.replace(PLAIN, id="key_3"))
    assert await store.find_key("key_1") == msgspec.structs.replace(KEY, expires_at=150)


async def test_revoked_key_keeps_its_first_time(store: Store) -> None:
    """Revoking twice changes nothing; a revoked key is a change, and no part of the whole."""
    await store.add_account(ACCOUNT)
    await store.add_key(KEY)
    before = await store.read_revision()
    await store.revoke_key("key_1", 160)
    await store.revoke_key("key_1", 170)
    assert [key.revoked_at for key in (await store.read_changes(before)).keys] == [160]
    assert (await store.read_all()).keys == ()


async def test_key_changes_are_written_alone(store: Store) -> None:
    """What one change does not touch, another that began at the same moment may; each is one revision."""
    await store.add_account(ACCOUNT)
    await store.add_key(KEY)
    before = await store.read_revision()
    settings = msgspec.structs.replace(KEY.settings, rpm=9, scopes=("chat",))
    await store.change_key(KEY, msgspec.structs.replace(KEY, name="new", settings=settings))
    await store.revoke_key(KEY.id, 150)
    await store.change_key(KEY, msgspec.structs.replace(KEY, disabled_at=140, expires_at=None))
    await store.change_key(KEY, KEY)
    assert await store.read_revision() == before + 3
    settings = KeySettings(("gpt-4o",), 9, 2, 3, scopes=("chat",))
    changed = Key(
        "key_1", b"1" * 32, "acct_1", "new", "ts_live_…", settings, 100, revoked_at=150, disabled_at=140
    )  # fmt: skip
    assert (await store.read_changes(before)).keys == (changed,)
    await store.change_key(changed, msgspec.structs.replace(changed, disabled_at=None))
    assert await store.find_key("key_1") == msgspec.structs.replace(changed, disabled_at=None)


async def test_projects_are_kept(store: Store) -> None:
    """By id, oldest first, of an account or of all; no gateway hears of them."""
    await store.add_account(ACCOUNT)
    await store.add_account(OTHER)
    revision = await store.read_revision()
    web, batch, other = (
        Project("proj_1", "acct_1", "web", 5),
        Project("proj_2", "acct_1", "batch", 6),
        Project("proj_3", "acct_2", "web", 7),
    )
    for project in (web, batch, other):
        await store.projects.add_project(project)
    assert await store.projects.find_project("proj_1") == web
    assert await store.projects.find_project("x") is None
    assert await store.projects.list_projects("acct_1") == (web, batch)
    assert await store.projects.list_projects() == (web, batch, other)
    await store.projects.rename_project("proj_1", "site")
    await store.projects.set_archived("proj_1", 9)
    assert await store.projects.find_project("proj_1") == Project("proj_1", "acct_1", "site", 5, 9)
    await store.projects.set_archived("proj_1", None)
    assert await store.projects.find_project("proj_1") == Project("proj_1", "acct_1", "site", 5)
    assert await store.read_revision() == revision


async def test_second_project_of_a_name_is_refused(store: Store) -> None:
    """Taken names the field, and nothing changes."""
    await store.add_account(ACCOUNT)
    await store.projects.add_project(Project("proj_1", "acct_1", "web"))
    await store.projects.add_project(Project("proj_2", "acct_1", "batch"))
    for attempt in (
        store.projects.add_project(Project("proj_3", "acct_1", "web")),
        store.projects.rename_project("proj_2", "web"),
    ):
        with pytest.raises(Taken) as caught:
            await attempt
        assert caught.value.field == "name"
    assert [project.name for project in await store.projects.list_projects()] == ["web", "batch"]


async def test_changes_are_exactly_those_after_a_revision(store: Store) -> None:
    """Every change raises the revision by one; what changed before is not told again."""
    await store.add_account(ACCOUNT)
    await store.add_key(KEY)
    assert await store.read_revision() == 2
    assert await store.read_changes(2) == msgspec.structs.replace(await store.read_changes(2), accounts=(), keys=())
    await store.set_terms("acct_1", Terms("pro"))
    changes = await store.read_changes(2)
    assert (changes.revision, len(changes.accounts), changes.keys) == (3, 1, ())


async def test_admin_keys_are_kept_and_no_gateway_hears_of_them(store: Store) -> None:
    """They are found and listed like any other; what is sent to the gateways are keys for inference."""
    await store.add_account(ACCOUNT)
    await store.add_key(PLAIN)
    admin = msgspec.structs.replace(KEY, settings=KeySettings(), kind="admin")
    await store.add_key(admin)
    assert await store.find_key_by_digest(admin.digest) == admin
    assert set(await store.list_keys()) == {PLAIN, admin}
    assert await store.list_keys(kind="admin") == (admin,)
    assert (await store.read_all()).keys == (await store.read_changes(0)).keys == (PLAIN,)
    await store.revoke_key(admin.id, 150)
    assert (await store.read_changes(0)).keys == (PLAIN,)


async def test_first_account_is_created_once(store: Store) -> None:
    """Of any number of processes that start at once only one creates it."""
    made = await asyncio.gather(
        store.add_first(ACCOUNT, KEY), store.add_first(OTHER, msgspec.structs.replace(PLAIN, account="acct_2"))
    )
    assert sorted(made) == [False, True]
    assert len(await store.list_accounts()) == len(await store.list_keys()) == 1


def _read_modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_file_is_nobody_elses(tmp_path: Path) -> None:
    """The database and the files beside it are readable for their owner alone."""
    store = await open_store(tmp_path / "t.db")
    await store.add_account(ACCOUNT)
    modes = _read_modes(tmp_path)
    await store.close()
    assert set(modes.values()) == {0o600}
    assert "t.db-wal" in modes


async def test_two_processes_see_each_other(place: Place) -> None:
    """What one store commits, another on the same database reads; concurrent writers all get through."""
    first, second = await open_at(place.address), await open_at(place.address)
    await first.add_account(ACCOUNT)
    await asyncio.gather(*(store.set_terms("acct_1", Terms("pro")) for store in (first, second) for _ in range(20)))
    assert await second.read_revision() == await first.read_revision() == 41
    await first.close()
    await second.close()


async def test_unusable_file_is_told(tmp_path: Path) -> None:
    """A file that is no database, and a folder that is not there, are one line for the operator."""
    (tmp_path / "t.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        await open_store(tmp_path / "t.db")
    with pytest.raises(StoreError, match="No such file"):
        await open_store(tmp_path / "none" / "t.db")


def test_migrations_lead_to_the_schema(tmp_path: Path) -> None:
    """Up, the tables are those of schema.py; down, nothing is left; up again, the same."""
    engine = create_engine(f"sqlite:///{tmp_path / 't.db'}")
    with engine.connect() as connection:
        configuration = migrate.configure(connection)
        for _ in range(2):
            command.upgrade(configuration, "head")
            assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
            command.downgrade(configuration, "base")
            assert not inspect(connection).has_table("accounts")
        assert ScriptDirectory.from_config(configuration).get_current_head() == migrate.NEWEST
    engine.dispose()


async def test_migrations_lead_to_the_schema_in_postgres() -> None:
    """The same; more than the schema, there is the order of insertion, and every text sorts by code points."""
    name = await servers.running().create()
    database = PostgresDatabase(servers.running().target(name))

    def compare(connection: Connection) -> tuple[list[Any], set[str | None]]:
        def include(_: object, name: str | None, *__: object) -> bool:
            return name != "rowid"

        context = MigrationContext.configure(connection, opts={"include_object": include, "compare_type": False})
        texts = "SELECT DISTINCT collation_name FROM information_schema.columns WHERE data_type = 'text'"
        ours = sql(f"{texts} AND table_schema = 'public'")
        return compare_metadata(context, METADATA), set(connection.execute(ours).scalars())

    def lead(connection: Connection) -> None:
        command.downgrade(migrate.configure(connection), "base")
        assert not inspect(connection).has_table("accounts")
        command.upgrade(migrate.configure(connection), "head")

    await database.upgrade()
    async with database.change(noted=False) as connection:
        assert await connection.run_sync(compare) == ([], {"C"})
        await connection.run_sync(lead)
        assert await connection.run_sync(compare) == ([], {"C"})
    await database.close()
    await servers.running().drop([name])


async def test_of_many_that_start_at_once_one_migrates() -> None:
    """On an empty database; each finds it at the newest schema."""
    name = await servers.running().create()
    target = servers.running().target(name)
    stores = await asyncio.gather(*(postgres.open_store(target) for _ in range(4)))
    assert {(await store.read_facts()).schema for store in stores} == {migrate.NEWEST}
    for store in stores:
        await store.close()
    await servers.running().drop([name])


async def test_accounts_are_found_newest_first_page_by_page(store: Store) -> None:
    """By a part of the email or id; a sign of LIKE is a sign as any; accounts of the same second are told by id."""
    for number, email in enumerate(("ann@example.com", "ben@example.com", "c_c@example.org", "c%c@example.org")):
        await store.add_account(Account(f"acct_{number}", email, "pro", created_at=number // 2))
    for text, found in (("", "3210"), ("example.com", "10"), ("acct_2", "2"), ("_", "3210"), ("c_c", "2"), ("%", "3")):
        assert "".join(one.id[-1] for one in await store.find_accounts(text, "", 9)) == found, text
    assert [one.id for one in await store.find_accounts("", "acct_3", 2)] == ["acct_2", "acct_1"]
    assert await store.find_accounts("", "acct_0", 2) == await store.find_accounts("", "acct_9", 2) == ()


async def test_emails_are_found_by_id(store: Store) -> None:
    """Of some or all; of more than one statement takes, too."""
    await store.add_account(Account("acct_1", "ann@example.com", "pro"))
    await store.add_account(Account("acct_2", "ben@example.com", "pro"))
    many = {f"acct_{number}" for number in range(2, 40_000)}
    assert await store.list_emails() == {"acct_1": "ann@example.com", "acct_2": "ben@example.com"}
    assert (
        await store.list_emails(["acct_2", "acct_3"]) == await store.list_emails(many) == {"acct_2": "ben@example.com"}
    )
    assert await store.list_emails([]) == {}


def test_lifetime_of_an_older_key_is_what_it_was_made_with(tmp_path: Path) -> None:
    """A key of before has its end and no more; after the migration a rotation of it lasts as long as it was to."""
    engine = create_engine(f"sqlite:///{tmp_path / 't.db'}")
    with engine.connect() as connection:
        configuration = migrate.configure(connection)
        command.upgrade(configuration, "0008")
        connection.exec_driver_sql("INSERT INTO accounts VALUES ('a', 'a@x', 'p', 0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0)")
        insert = "INSERT INTO keys (id, digest, account, name, hint, created_at, expires_at, changed) "
        for row in (("k1", b"1", 160), ("k2", b"2", None)):
            connection.exec_driver_sql(insert + "VALUES (?, ?, 'a', 'n', 'h', 100, ?, 1)", row)
        command.upgrade(configuration, "head")
        rows = connection.exec_driver_sql("SELECT id, lifetime, disabled_at FROM keys ORDER BY id").all()
        assert [tuple(row) for row in rows] == [("k1", 60, None), ("k2", None, None)]
    engine.dispose()


def test_provider_of_before_is_one_server_as_it_was(tmp_path: Path) -> None:
    """Stored before there were engines: its key still opens, for the very address that it was sealed for."""
    path, vault = tmp_path / "t.db", Vault(tmp_path, {})
    sealed = vault.seal(b"sk-before", name_context("own", "https://own.example/v1"))
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        configuration = migrate.configure(connection)
        command.upgrade(configuration, "0015")
        insert = "INSERT INTO providers (name, base_url, secret, timeouts, ending, created_at) "
        connection.exec_driver_sql(
            insert + "VALUES (?, ?, ?, ?, '', 1)", ("own", "https://own.example/v1", sealed, '{"total":9.0}')
        )
        connection.commit()
        command.upgrade(configuration, "head")
        connection.commit()
    engine.dispose()

    async def read() -> Stored:
        store = await open_store(path)
        try:
            return await store.catalog.read()
        finally:
            await store.close()

    (provider,) = asyncio.run(read()).providers
    assert (provider.kind, provider.replicas, provider.routing, provider.metrics_port) == ("openai", (), None, None)
    assert provider.timeouts.total == 9
    assert Keyring({}, vault).find(tell_provider(provider)) == "sk-before"


async def test_accounts_are_counted_by_plan(store: Store) -> None:
    """Those that nobody is on are left out."""
    for number, plan in enumerate(("pro", "free", "pro")):
        await store.add_account(Account(f"acct_{number}", f"{number}@example.com", plan))
    assert await store.count_plans() == {"pro": 2, "free": 1}


async def test_one_account_is_told_with_its_keys(store: Store) -> None:
    """For a shared limit store: the account, its inference keys that are good, and how far each journal is booked."""
    await store.add_account(ACCOUNT)
    await store.add_key(KEY)
    found = await store.read_one(ACCOUNT.id)
    assert ([account.id for account in found.accounts], [key.id for key in found.keys]) == ([ACCOUNT.id], [KEY.id])
    assert found.spending == (await store.read_all()).spending
    await store.revoke_key(KEY.id, 160)
    assert (await store.read_one(ACCOUNT.id)).keys == ()
    assert (await store.read_one("nobody")).accounts == ()
