"""The database on a PostgreSQL server: how it is reached, lost and found again, on a server of its own."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme
from flows import flowing
from haste import within
from postgres import Server
from sqlalchemy import text

from techstone.adapters.storage import postgres
from techstone.adapters.storage.migrate import NEWEST
from techstone.adapters.storage.postgres import PostgresDatabase, open_store
from techstone.adapters.storage.postgres_booking import CHANGES
from techstone.adapters.storage.target import parse
from techstone.control.accounts.records import Account
from techstone.control.ports import StoreAway, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from techstone.adapters.storage.store import SqlStore
    from techstone.adapters.storage.target import Target


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Serve as an operator's does: what is acknowledged is on the disk."""
    started = Server()
    started.start()
    yield started
    started.remove()


@pytest.fixture
async def target(server: Server) -> Target:
    return server.target(await server.create_migrated())


@pytest.fixture
async def store(target: Target) -> AsyncIterator[SqlStore]:
    opened = await open_store(target)
    yield opened
    await opened.close()


def account(number: int) -> Account:
    return Account(f"acct_{number}", f"{number}@example.com", "pro")


async def test_what_is_acknowledged_is_durable(server: Server, target: Target) -> None:
    """Also where the role's or the server's own way is to answer first: its sessions here wait for the disk."""
    await server.run("postgres", f"ALTER DATABASE {target.name} SET synchronous_commit = off")
    store = await open_store(target)
    facts = await store.read_facts()
    assert (facts.kind, facts.location, facts.durable) == ("postgresql", target.address, True)
    assert facts.size > 1_000_000
    await store.close()


async def test_lost_connection_is_replaced_unseen(server: Server, store: SqlStore) -> None:
    """Whoever ends the connections (an operator, a proxy): the next call finds another one."""
    await store.add_account(account(1))
    await asyncio.gather(*(store.list_accounts() for _ in range(5)))
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'techstone'"
    await server.run("postgres", others)
    assert await store.list_accounts() == (account(1),)


async def test_killed_server_is_told_and_found_again(server: Server, store: SqlStore) -> None:
    """Each call says in one line that it is away; as soon as it is back the next one is answered, nothing lost."""
    await store.add_account(account(1))
    server.kill()
    for _ in range(2):
        with pytest.raises(StoreAway, match=r"^database postgresql://techstone@[^\n]+$"):
            await store.list_accounts()
        with pytest.raises(StoreAway):
            await store.ledger.apply("a" * 16, 1, [])
    server.start()
    assert await store.list_accounts() == (account(1),)
    assert await store.ledger.apply("a" * 16, 1, []) == 0


async def test_change_of_another_is_heard_at_once(server: Server, target: Target, store: SqlStore) -> None:
    """Long before it would be asked for; and again after the connection that hears was lost."""
    other = await open_store(target)
    await store.wait(within(5))  # for the first time it is heard that somebody listens
    for number in range(2):
        began = time.monotonic()
        hearing = asyncio.create_task(store.wait(within(30)))
        await asyncio.sleep(0)
        await other.add_account(account(number))
        await hearing
        assert time.monotonic() - began < within(5)
        if number == 0:
            listening = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            await server.run("postgres", listening)
            await store.wait(within(30))
    await other.close()


async def test_wait_ends_without_a_server(target: Target) -> None:
    """Whoever waits for changes asks for them then, and hears that it is away."""
    nowhere = PostgresDatabase(msgspec.structs.replace(target, host="127.0.0.1", port=1))
    began = time.monotonic()
    await nowhere.wait(0.05)
    assert time.monotonic() - began < within(5)
    with pytest.raises(StoreAway, match=r"database postgresql://techstone@127\.0\.0\.1:1/"):
        await nowhere.read_revision()
    await nowhere.close()


async def test_wrong_password_is_told_and_is_not_waited_for(server: Server, target: Target) -> None:
    """One line, without the password; the right one opens it."""
    await server.run("postgres", "CREATE ROLE ann LOGIN PASSWORD 'right'")
    await server.run(target.name, "GRANT SELECT ON alembic_version TO ann")
    there = msgspec.structs.replace(target, host="127.0.0.1", user="ann", password="wrong-one")
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        await open_store(there)
    assert not isinstance(caught.value, StoreAway)
    assert "wrong-one" not in str(caught.value)
    await (await open_store(msgspec.structs.replace(there, password="right"))).close()


async def test_server_without_tls_is_told(target: Target) -> None:
    """Where it is asked for, nothing is sent in the open; and nobody waits for it."""
    for mode in ("verify-full", "require"):
        there = msgspec.structs.replace(target, host="127.0.0.1", ssl=mode)
        with pytest.raises(StoreError, match="SSL") as caught:
            await open_store(there)
        assert not isinstance(caught.value, StoreAway)


async def test_certificates_that_are_not_there_are_told_by_name(target: Target) -> None:
    """Of a mistake in the address the operator is told which; it is no server that is away."""
    there = msgspec.structs.replace(target, host="127.0.0.1", ssl="verify-full", ssl_root="/no/such.pem")
    with pytest.raises(StoreError, match=r"sslrootcert=/no/such\.pem: No such file") as caught:
        await open_store(there)
    assert not isinstance(caught.value, StoreAway)


async def test_lock_of_another_passes_by_itself(server: Server, store: SqlStore) -> None:
    """Who can wait tries again."""
    other = await server.connect((await store.read_facts()).location.split("/")[3].split("?")[0])
    async with other.transaction():
        await other.execute(f"SELECT pg_advisory_xact_lock({CHANGES})")
        with pytest.raises(StoreAway, match="lock timeout"):
            await store.add_account(account(1))
    await other.close()


async def test_schema_of_another_version_is_told(server: Server, target: Target) -> None:
    """A newer one is refused in a line; an older one is left to `db upgrade` by whoever may have company."""
    await (await open_store(target, migrating=False)).close()
    for schema, migrating, why in (("9999", True, "newer version"), ("0015", False, "techstone db upgrade")):
        await server.run(target.name, f"UPDATE alembic_version SET version_num = '{schema}'")  # noqa: S608 - above
        with pytest.raises(StoreError, match=why):
            await open_store(target, migrating=migrating)
    empty = server.target(await server.create())
    store = await open_store(empty, migrating=False)
    assert (await store.read_facts()).schema == NEWEST
    await store.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def encrypted(authority: trustme.CA) -> Iterator[Server]:
    """Serve over TLS alone, with a certificate for the name localhost."""
    started = Server("ssl=on", "ssl_cert_file=../cert.pem", "ssl_key_file=../key.pem")
    certificate, owner = authority.issue_cert("localhost"), started.folder.stat()
    for name, parts in (("cert", certificate.cert_chain_pems), ("key", [certificate.private_key_pem])):
        path = started.folder / f"{name}.pem"
        path.write_bytes(b"".join(part.bytes() for part in parts))
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)
    (started.folder / "data" / "pg_hba.conf").write_text(
        "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
    )
    started.start()
    yield started
    started.remove()


async def test_certificate_is_looked_at(
    encrypted: Server, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it must be of an authority that is believed and for this host; the password comes from a file."""
    database = await encrypted.create_migrated()
    await encrypted.run("postgres", "ALTER ROLE techstone PASSWORD 'right'")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "pgpass").write_text(f"localhost:{encrypted.port}:{database}:techstone:right\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    url = f"postgresql://techstone@%s:{encrypted.port}/{database}?sslmode=%s"
    believed = f"verify-full&sslrootcert={tmp_path / 'ca.pem'}"
    for host, mode in (("localhost", believed), ("localhost", "require")):
        await (await open_store(parse(url % (host, mode)))).close()
    for host, mode, why in (
        ("localhost", "verify-full", "certificate verify failed"),
        ("127.0.0.1", believed, "IP address mismatch"),
        ("localhost", "disable", "no pg_hba.conf entry"),
    ):
        with pytest.raises(StoreError, match=why) as caught:
            await open_store(parse(url % (host, mode)))
        assert not isinstance(caught.value, StoreAway), "waited for, it would be for ever"


async def test_gateway_that_takes_its_time_keeps_its_reading(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that nobody goes on with is ended soon; one that waits for a gateway's line may take longer."""
    monkeypatch.setitem(postgres._SETTINGS, "idle_in_transaction_session_timeout", "50ms")
    store = await open_store(target)
    await store.add_account(account(1))
    async with store.reading() as reading:
        await reading.measure()
        await asyncio.sleep(0.3)
        assert [part.accounts async for part in reading.parts()] == [(account(1),)]
    await store.close()


async def test_flow_that_is_lost_without_a_word(
    server: Server, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes minutes takes no connection of before; and who waits for an answer hears that none comes."""
    monkeypatch.setattr(postgres, "_SILENT_SECONDS", 2)
    async with flowing(f"{server.folder}/.s.PGSQL.{server.port}") as flows:
        store = await open_store(msgspec.structs.replace(target, host="127.0.0.1", port=flows.port))
        assert await store.ledger.check((), quick=True) == ()
        flows.lose()
        async with asyncio.timeout(within(5)):
            assert await store.ledger.check((), quick=True) == ()
        database = PostgresDatabase(msgspec.structs.replace(target, host="127.0.0.1", port=flows.port))

        async def wait_for_ever() -> None:
            async with database.look(patient=True) as connection:
                flows.lose()
                await connection.execute(text("SELECT pg_sleep(60)"))

        with pytest.raises(StoreAway):
            await asyncio.wait_for(wait_for_ever(), within(10))
        await database.close()
        await store.close()


async def test_text_that_it_cannot_hold_is_kept_readable(store: SqlStore) -> None:
    """A NUL, which SQLite keeps and PostgreSQL refuses, is shown as what cannot be shown."""
    await store.add_account(msgspec.structs.replace(account(1), email="a\0@example.com"))
    assert [one.email for one in await store.list_accounts()] == ["a\N{REPLACEMENT CHARACTER}@example.com"]
