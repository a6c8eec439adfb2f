"""What an operator can do, asked of the services themselves and of a client of the internal API: the same answers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn

from techstone.adapters.internal import InternalClient, answers
from techstone.adapters.storage.memory import MemoryStore
from techstone.control.accounts.records import NewAccount, PlanChange
from techstone.control.asgi import build_internal
from techstone.control.catalog.records import Catalog
from techstone.control.keys.records import NewKey
from techstone.control.ports import StoreError
from techstone.control.publish import Publisher
from techstone.control.services import Services
from techstone.core import keys
from techstone.core.errors import AccountNotFound, ApiError, InvalidRequest, KeyNotFound
from techstone.core.snapshot import Model, Plan, Provider, Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from techstone.control.operations import Operations

CATALOG = Catalog(
    (Plan("free", 60, 150_000, 5, "prepaid"), Plan("pro", 500, 2_000_000, 50, "postpaid")),
    (Model("m", (Route("up", "x"),), context_window=100),),
    (Provider("up", "openai", "https://up.example/v1"),),
)
ANN = "ann@example.com"


@contextlib.asynccontextmanager
async def over_http(services: Services) -> AsyncIterator[Operations]:
    publisher = Publisher(services.store, CATALOG, poll=1, heartbeat=1, report=print)
    application = build_internal(services, publisher)
    # A folder of a short name: the path of a Unix socket is at most 107 bytes.
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "s")
        config = uvicorn.Config(application, uds=path, loop="none", lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has a flag and no event
            await asyncio.sleep(0.005)
        assert answers(path)
        try:
            yield InternalClient(path)
        finally:
            server.should_exit = True
            await task


@pytest.fixture(params=["services", "client"])
async def operations(request: pytest.FixtureRequest) -> AsyncIterator[Operations]:
    random = itertools.count(1)
    services = Services(
        MemoryStore(), CATALOG, clock=lambda: 1000, randomness=lambda size: next(random).to_bytes(size, "big")
    )
    if request.param == "services":
        yield services
    else:
        async with over_http(services) as client:
            yield client


async def test_account_is_created_shown_and_listed(operations: Operations) -> None:
    """Found by email in any case and by id; money is a string."""
    made = await operations.accounts.create(NewAccount("Ann@Example.com", credit="0.000000001"))
    assert (made.email, made.plan, made.credit) == (ANN, "free", "0.000000001")
    assert await operations.accounts.show("ANN@example.com") == made
    assert await operations.accounts.show(made.id) == made
    assert await operations.accounts.list() == (made,)


async def test_account_changes(operations: Operations) -> None:
    """Plan, credit and suspension; an email with reserved characters travels whole."""
    who = "a+b&c=d%25@example.com"
    await operations.accounts.create(NewAccount(who))
    assert (await operations.accounts.set_plan(who, PlanChange("pro"))).plan == "pro"
    assert (await operations.accounts.add_credit(who, "1.5")).credit == "1.50"
    assert (await operations.accounts.suspend(who)).suspended
    assert not (await operations.accounts.suspend(who, suspended=False)).suspended


async def test_key_is_created_listed_rotated_and_revoked(operations: Operations) -> None:
    """The key is in the answer to its creation; a key can be named by itself."""
    await operations.accounts.create(NewAccount(ANN))
    made = await operations.keys.create(NewKey(ANN, "ci", ("m",), "30d", 1, 2, 3))
    assert keys.well_formed(made.key)
    assert (made.models, made.expires_at, made.rpm, made.tpm, made.concurrent) == (("m",), 1000 + 30 * 86_400, 1, 2, 3)
    fresh = await operations.keys.rotate(made.key, 60)
    assert (fresh.replaces, fresh.models, fresh.rpm) == (made.id, ("m",), 1)
    assert [(key.id, key.expires_at) for key in await operations.keys.list(ANN)] == [
        (made.id, 1060),
        (fresh.id, 1000 + 30 * 86_400),
    ]
    assert (await operations.keys.revoke(fresh.id)).state == "revoked"
    assert [key.state for key in await operations.keys.list()] == ["active", "revoked"]


async def test_models_and_facts_are_told(operations: Operations) -> None:
    """The catalog as configured, and what doctor tells."""
    assert [
        (model.name, model.served_by, model.context_window) for model in await operations.catalog.list_models()
    ] == [("m", ("up",), 100)]
    facts = await operations.doctor()
    assert (facts.store.kind, facts.accounts, facts.models, facts.providers) == ("memory", 0, 1, 1)


@pytest.mark.parametrize(
    ("act", "kind", "code", "param"),
    [
        (lambda house: house.accounts.create(NewAccount("nobody")), InvalidRequest, None, "email"),
        (lambda house: house.accounts.create(NewAccount(ANN)), InvalidRequest, None, "email"),
        (lambda house: house.accounts.create(NewAccount("b@c.d", "gold")), InvalidRequest, None, "plan"),
        (lambda house: house.accounts.show("no@no.no"), AccountNotFound, "account_not_found", "account"),
        (lambda house: house.keys.list("no@no.no"), AccountNotFound, "account_not_found", "account"),
        (lambda house: house.keys.create(NewKey("no@no.no")), AccountNotFound, "account_not_found", "account"),
        (lambda house: house.keys.create(NewKey(ANN, models=("m", "x"))), InvalidRequest, None, "models[1]"),
        (lambda house: house.keys.create(NewKey(ANN, expires="soon")), InvalidRequest, None, "expires"),
        (lambda house: house.keys.create(NewKey(ANN, rpm=0)), InvalidRequest, None, "rpm"),
        (lambda house: house.keys.revoke("key_none"), KeyNotFound, "key_not_found", "key"),
        (lambda house: house.keys.rotate("key_none", -1), InvalidRequest, None, "overlap"),
    ],
)
async def test_refusal_names_the_field(
    operations: Operations,
    act: Callable[[Operations], Awaitable[object]],
    kind: type[ApiError],
    code: str | None,
    param: str,
) -> None:
    """The same class, code and param either way, and a message."""
    await operations.accounts.create(NewAccount(ANN))
    with pytest.raises(kind) as caught:
        await act(operations)
    assert (type(caught.value), caught.value.code, caught.value.param) == (kind, code, param)
    assert caught.value.message


async def test_client_without_control_says_so() -> None:
    """A socket that nobody listens on is a StoreError with one line."""
    assert not answers("/nowhere/s")
    with pytest.raises(StoreError, match="does not answer"):
        await InternalClient("/nowhere/s").doctor()
