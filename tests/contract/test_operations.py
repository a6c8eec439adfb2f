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
from usage import make_record

from techstone.adapters.internal import InternalClient, answers
from techstone.adapters.storage.memory import MemoryStore
from techstone.control.accounts.records import NewAccount, PlanChange
from techstone.control.asgi import build_internal
from techstone.control.billing.records import NewCodes, NewPrice, Redemption
from techstone.control.catalog.records import (
    Addition,
    Catalog,
    NewModel,
    NewPlan,
    NewProvider,
    ProviderChange,
    Trial,
)
from techstone.control.keys.records import KeyChange, NewKey
from techstone.control.ledger.records import Following
from techstone.control.ports import StoreError
from techstone.control.projects.records import NewProject, ProjectChange
from techstone.control.publish import Publisher
from techstone.control.services import Services
from techstone.core import frames, keys
from techstone.core.errors import AccountNotFound, ApiError, InvalidRequest, KeyNotFound, ProjectNotFound
from techstone.core.snapshot import Model, Plan, Provider, Route, Timeouts
from techstone.core.usage import UsageRecord, encode
from techstone.wire.report import GatewayState, JournalState, LimitState, Report, SnapshotState

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
    publisher = Publisher(services.store, services.catalog, poll=1, heartbeat=1, report=print)
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


async def test_account_has_terms_of_its_own(operations: Operations) -> None:
    """Custom numbers go with the plan; a cap stays until it is changed, and changes alone."""
    await operations.accounts.create(NewAccount(ANN, monthly_cap="2.5"))
    shown = await operations.accounts.set_plan(ANN, PlanChange("pro", 7, 8, 9))
    assert (shown.rpm, shown.tpm, shown.concurrent, shown.monthly_cap) == (7, 8, 9, "2.50")
    shown = await operations.accounts.set_cap(ANN, "1")
    assert (shown.plan, shown.rpm, shown.monthly_cap) == ("pro", 7, "1.00")
    shown = await operations.accounts.set_plan(ANN, PlanChange("pro"))
    assert (shown.rpm, shown.monthly_cap) == (None, "1.00")
    assert (await operations.accounts.set_cap(ANN, "none")).monthly_cap is None


async def test_key_has_caps_and_hands_them_on(operations: Operations) -> None:
    """In USD; a rotated key has the same."""
    await operations.accounts.create(NewAccount(ANN))
    made = await operations.keys.create(NewKey(ANN, daily_cap="1", monthly_cap="0.000000001"))
    fresh = await operations.keys.rotate(made.id)
    for created in (made, fresh):
        assert (created.daily_cap, created.monthly_cap) == ("1.00", "0.000000001")
    for listed in await operations.keys.list():
        assert (listed.daily_cap, listed.monthly_cap) == ("1.00", "0.000000001")


async def test_key_is_changed_disabled_and_enabled(operations: Operations) -> None:
    """What is left out travels as left out, None as None."""
    await operations.accounts.create(NewAccount(ANN))
    project = await operations.projects.create(NewProject(ANN, "web"))
    made = await operations.keys.create(NewKey(ANN, rpm=5, scopes=("chat",), ips=("192.0.2.1/32",), project=project.id))
    assert (made.scopes, made.ips, made.project) == (("chat",), ("192.0.2.1",), project.id)
    changed = await operations.keys.change(made.id, KeyChange(name="x", scopes=None, expires="1h"))
    assert (changed.name, changed.rpm, changed.scopes, changed.expires_at) == ("x", 5, None, 4600)
    assert (changed.ips, changed.project) == (("192.0.2.1",), project.id)
    assert (await operations.keys.disable(made.key)).state == "disabled"
    assert (await operations.keys.enable(made.id)).state == "active"
    with pytest.raises(InvalidRequest, match="here") as caught:
        await operations.keys.change(made.id, KeyChange(ips=("here",)))
    assert caught.value.param == "ips[0]"


async def test_project_is_created_listed_and_changed(operations: Operations) -> None:
    """And usage is asked by it, and of it."""
    await operations.accounts.create(NewAccount(ANN))
    made = await operations.projects.create(NewProject(ANN, "web"))
    assert await operations.projects.list(ANN) == await operations.projects.list() == (made,)
    assert (await operations.projects.change(made.id, ProjectChange(name="site"))).name == "site"
    assert (await operations.projects.change(made.id, ProjectChange(archived=True))).archived
    assert await operations.ledger.sum_usage(ANN, 0, "project") == ()
    assert await operations.ledger.sum_usage(ANN, 0, "model", made.id) == ()
    with pytest.raises(ProjectNotFound):
        await operations.projects.change("proj_none", ProjectChange())


async def test_journal_is_booked_and_known(operations: Operations) -> None:
    """How far, and when it was heard."""
    name, body = "a" * 16, frames.frame(encode(make_record(1)))
    assert await operations.ledger.find_journal(name) == Following(0)
    assert (await operations.ledger.book(name, 1, body)).applied == 1
    found = await operations.ledger.find_journal(name)
    assert (found.applied, found.heard_at is not None) == (1, True)


async def test_gateway_that_only_reports_is_heard_too() -> None:
    """One without any usage has a journal that the ledger does not know."""
    services = Services(MemoryStore(), CATALOG, clock=lambda: 1000)
    states = JournalState(0, 0.0, 0, 64), LimitState("memory"), SnapshotState(4, 0.5)
    await services.reports.take(Report(GatewayState("a" * 16, "1", 0.0, 1, 2, 3, (), *states), (), 0))
    async with over_http(services) as client:
        assert await client.ledger.find_journal("a" * 16) == Following(0, 1000.0)
        assert await client.ledger.find_journal("b" * 16) == Following(0)


async def test_price_is_set_listed_and_reset(operations: Operations) -> None:
    """The answer is the model's prices as they follow each other."""
    (now,) = await operations.prices.set(NewPrice("m", "1", "2", "0.5", "3"))
    assert (now.input, now.output, now.cached_input, now.reasoning) == ("1.00", "2.00", "0.50", "3.00")
    shown = await operations.prices.set(NewPrice("m", "4", "5", begins="2030-01-01T00:00Z"))
    assert await operations.prices.list() == await operations.prices.list("m") == shown
    assert [price.state for price in shown] == ["in force", "future"]
    with pytest.raises(InvalidRequest, match="no configured price"):
        await operations.prices.reset("m")


async def test_code_is_created_redeemed_revoked_and_listed(operations: Operations) -> None:
    """Shown once; a used one is refused like an unknown one."""
    await operations.accounts.create(NewAccount(ANN))
    first, second = await operations.codes.create(NewCodes("1.5", 2, "90d"))
    assert (await operations.codes.redeem(Redemption(first.code, ANN))).usd == "1.50"
    assert (await operations.accounts.show(ANN)).credit == "1.50"
    with pytest.raises(InvalidRequest, match="not good"):
        await operations.codes.redeem(Redemption(first.code, ANN))
    assert (await operations.codes.revoke(second.id)).state == "revoked"
    assert {code.id: code.redeemed_by for code in await operations.codes.list()} == {first.id: ANN, second.id: None}


async def test_alerts_are_listed(operations: Operations) -> None:
    """Of one account or of all; none so far."""
    await operations.accounts.create(NewAccount(ANN))
    assert await operations.alerts.list(ANN) == await operations.alerts.list() == ()


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
        (lambda house: house.keys.create(NewKey(ANN, daily_cap="x")), InvalidRequest, None, "daily_cap"),
        (lambda house: house.accounts.set_cap(ANN, "None"), InvalidRequest, None, "monthly_cap"),
        (lambda house: house.accounts.set_plan(ANN, PlanChange("pro", tpm=0)), InvalidRequest, None, "tpm"),
        (lambda house: house.prices.list("x"), InvalidRequest, None, "model"),
        (lambda house: house.codes.redeem(Redemption("x", ANN)), InvalidRequest, None, "code"),
        (lambda house: house.alerts.list("no@no.no"), AccountNotFound, "account_not_found", "account"),
        (lambda house: house.people.reset_two_factor("no@no.no"), InvalidRequest, None, "email"),
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


async def test_requests_come_whole_however_many_pages_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for usage through a running control gets every request, in the order in which they were admitted."""
    for room in ("adapters.internal", "control.ledger.api"):
        monkeypatch.setattr(f"techstone.{room}.PAGE", 2)
    services = Services(MemoryStore(), CATALOG)
    made = await services.accounts.create(NewAccount(ANN))
    for count in (0, 1, 1, 1, 1):
        number = len(await services.ledger.list_requests(ANN, 0)) + 1
        counts = (number, 1, 1, 1, 0, 1, 0)
        record = UsageRecord(f"r{number}", "settled", made.id, "k", "m", "up", "x", 200, False, *counts, 5, 0, 1)
        await services.store.ledger.apply("a" * 16, number, [record] * count)
        expected = await services.ledger.list_requests(None, 0)
        async with over_http(services) as client:
            assert await client.ledger.list_requests(None, 0) == expected
            assert await client.ledger.list_requests(ANN, 0) == expected
    assert [shown.request_id for shown in expected] == ["r1", "r2", "r3", "r4"]


async def test_catalog_is_run(operations: Operations) -> None:
    """Providers, models, plans and switches: added, changed, switched, removed; a secret is told by nothing."""
    provider = await operations.providers.create(NewProvider("own", "https://own.example/v1"))
    assert (provider.origin, provider.secret) == ("console", None)
    await operations.providers.change(ProviderChange("own", "https://own.example/v2", timeouts=Timeouts(1, 2, 3, 4)))
    assert [(one.name, one.timeouts.total) for one in await operations.providers.list()] == [("up", 600), ("own", 4)]
    route = Route("own", "x/y", 2, 1)
    made = await operations.models.create(NewModel("a/b", (route,), "A", 9, 8, "1", "2", "0.5", "3"))
    assert (made.routes, made.cached_input, made.reasoning) == ((route,), "0.50", "3.00")
    assert (await operations.models.change(NewModel("a/b", (Route("up", "z"),)))).output == "2.00"
    added = await operations.models.add(Addition("own", ("c",), "1", "2"))
    assert [model.name for model in added] == ["c"]
    assert (await operations.models.switch("c", on=False)).state == "off"
    assert [model.name for model in await operations.catalog.list_models()] == ["m", "a/b"]
    assert (await operations.providers.switch("up", on=False)).state == "off"
    assert (await operations.models.remove("c")).name == "c"
    assert (await operations.providers.remove("own")).name == "own"
    await operations.plans.create(NewPlan("team", 1, 2, 3))
    assert (await operations.plans.change(NewPlan("team", 4, 5, 6, "prepaid"))).billing == "prepaid"
    assert [plan.name for plan in await operations.plans.list()] == ["free", "pro", "team"]
    assert (await operations.plans.remove("team")).rpm == 4
    assert (await operations.switches.set("sign_up", on=True)).on
    assert [switch.override for switch in await operations.switches.list() if switch.name == "sign_up"] == [True]
    assert (await operations.switches.set("sign_up", on=None)).override is None
    with pytest.raises(InvalidRequest) as caught:
        await operations.providers.test(Trial("own"))
    assert caught.value.message
