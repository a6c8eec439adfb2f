"""Keys, usage and balance with an admin key, against the service itself; and how arguments are written."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest
from service import wait_until
from tests.sdk.conftest import COST
from tests.sdk.test_matrix import CHAT, collect, settle

import techstoneai
from techstoneai import AsyncTechStoneAI, TechStoneAI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sdk.conftest import Deployment, Recorder
    from tests.sdk.test_matrix import AnyClient

DAY = timedelta(days=1)


@pytest.fixture(params=[TechStoneAI, AsyncTechStoneAI])
async def admin(deployment: Deployment, request: pytest.FixtureRequest) -> AsyncIterator[AnyClient]:
    client = request.param(base_url=deployment.url, admin_key=deployment.admin, api_key=deployment.key)
    yield client
    await settle(client.close())


async def test_life_of_a_key(admin: AnyClient) -> None:
    """Made and shown once, found, rotated with an overlap, revoked."""
    wish: dict[str, Any] = {"models": ["gpt-4o"], "rpm": 9, "daily_cap": Decimal(5), "monthly_cap": "7.5"}
    made = await settle(admin.keys.create(name="batch", expires=timedelta(days=30), **wish))
    assert made.key.startswith("ts_live_")
    assert made.key not in repr(made)
    assert (made.name, made.kind, made.models, made.rpm) == ("batch", "inference", ["gpt-4o"], 9)
    assert (made.daily_cap, made.monthly_cap, made.state) == (Decimal(5), Decimal("7.5"), "active")
    assert made.expires_at - made.created_at == DAY.total_seconds() * 30
    assert [key.id for key in await collect(admin.keys.list())].count(made.id) == 1
    new = await settle(admin.keys.rotate(made.id, overlap=timedelta(hours=1)))
    assert (new.replaces, new.name, new.daily_cap) == (made.id, "batch", Decimal(5))
    revoked = await settle(admin.keys.revoke(new.id))
    assert (type(revoked), revoked.state, revoked.revoked_at >= revoked.created_at) == (
        techstoneai.Key,
        "revoked",
        True,
    )
    assert (await settle(admin.keys.retrieve(new.id))).state == "revoked"
    assert isinstance(made, techstoneai.CreatedKey)


async def test_key_is_changed_disabled_and_enabled(admin: AnyClient) -> None:
    """What is left out stays; None takes a limit away."""
    made = await settle(admin.keys.create(name="bound", rpm=9, scopes=["chat"], ips=["127.0.0.1/32"]))
    assert (made.scopes, made.ips, made.project) == (["chat"], ["127.0.0.1"], None)
    bounds: dict[str, Any] = {"rpm": None, "daily_cap": Decimal("1E+1"), "expires": timedelta(hours=1)}
    changed = await settle(admin.keys.update(made.id, **bounds))
    assert (type(changed), changed.name, changed.rpm, changed.daily_cap) == (
        techstoneai.Key,
        "bound",
        None,
        Decimal(10),
    )
    assert changed.expires_at is not None
    disabled = await settle(admin.keys.disable(made.id))
    assert (disabled.state, disabled.disabled_at is None) == ("disabled", False)
    assert (await settle(admin.keys.enable(made.id))).state == "active"
    await settle(admin.keys.revoke(made.id))


async def test_life_of_a_project(admin: AnyClient) -> None:
    """Made, found, given a key, renamed, archived; what its keys used is summed."""
    name = f"web {time.monotonic_ns()}"
    project = await settle(admin.projects.create(name=name))
    assert (type(project), project.name, project.spent_this_month) == (techstoneai.Project, name, Decimal(0))
    key = await settle(admin.keys.create(name="in it", project=project.id))
    assert (await settle(admin.projects.retrieve(project.id))).keys == 1
    assert [one.id for one in await collect(admin.projects.list())].count(project.id) == 1
    assert await collect(admin.usage.list(by="project", project=project.id)) == []
    await settle(admin.keys.update(key.id, project=None))
    assert (await settle(admin.projects.update(project.id, name=f"{name}!"))).name == f"{name}!"
    archived = await settle(admin.projects.update(project.id, archived=True))
    assert (archived.archived, archived.keys) == (True, 0)
    with pytest.raises(openai.NotFoundError) as refused:
        await settle(admin.keys.update(key.id, project="proj_none"))
    assert refused.value.code == "project_not_found"
    with pytest.raises(ValueError, match="project_id"):
        await settle(admin.projects.retrieve(""))


async def test_usage(deployment: Deployment, admin: AnyClient) -> None:
    """A request shows up in the sums and among the requests, with what it cost."""
    answer = await settle(admin.chat.completions.create(**CHAT))
    wait_until(lambda: deployment.service.gauge("techstone_journal_waiting_bytes") == 0)
    since = datetime.now(UTC) - timedelta(minutes=5)
    asked = await collect(admin.usage.requests(since=since))
    (found,) = (one for one in asked if one.request_id == answer._request_id)
    assert isinstance(found, techstoneai.UsageRequest)
    assert (found.cost, found.model, found.completion_tokens, found.stream) == (Decimal(COST), "gpt-4o", 2, False)
    assert abs(found.at - time.time()) < 60
    groups = {group.group: group for group in await collect(admin.usage.list(since=since - DAY))}
    assert isinstance(groups["gpt-4o"], techstoneai.UsageGroup)
    assert groups["gpt-4o"].cost >= found.cost
    assert (await collect(admin.usage.list(by="hour")))[-1].group.isdigit()


async def test_requests_come_page_after_page(deployment: Deployment, admin: AnyClient) -> None:
    """Pages of one, without an end or a repetition; `after` begins behind one."""
    for _ in range(3):
        await settle(admin.chat.completions.create(**CHAT))
    wait_until(lambda: deployment.service.gauge("techstone_journal_waiting_bytes") == 0)
    page = await settle(admin.usage.requests(limit=1))
    assert (len(page.data), page.has_more) == (1, True)
    one_by_one = [request.id for request in await collect(admin.usage.requests(limit=25))]
    assert len(one_by_one) == len(set(one_by_one)) >= 3
    assert one_by_one == [request.id for request in await collect(admin.usage.requests(limit=1000))]
    assert [request.id for request in await collect(admin.usage.requests(after=one_by_one[0]))] == one_by_one[1:]


async def test_balance(admin: AnyClient) -> None:
    """The account's money, in decimals."""
    balance = await settle(admin.balance.retrieve())
    assert isinstance(balance, techstoneai.Balance)
    assert (balance.account, balance.currency, type(balance.spent)) == ("owner@localhost", "USD", Decimal)
    assert (balance.available is None) == (balance.billing == "postpaid")


async def test_key_of_the_wrong_kind_is_refused(deployment: Deployment, admin: AnyClient) -> None:
    """The service says which kind is needed."""
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await settle(admin.with_options(admin_key=deployment.key).balance.retrieve())
    assert refused.value.code == "admin_key_required"
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await settle(admin.with_options(api_key=deployment.admin).chat.completions.create(**CHAT))
    assert refused.value.code == "inference_key_required"
    with pytest.raises(openai.NotFoundError):
        await settle(admin.keys.retrieve("key_none/x"))
    with pytest.raises(ValueError, match="key_id"):
        await settle(admin.keys.revoke(""))


def test_how_arguments_are_written(recorder: Recorder) -> None:
    """Times as unix seconds, lifetimes and overlaps as seconds, amounts without exponent; the admin key alone."""
    recorder.answer({"object": "list", "data": [], "has_more": False})
    with TechStoneAI(base_url=f"{recorder.url}/p/v1", api_key="k", admin_key="a") as client:
        for since in (datetime(2026, 11, 27, tzinfo=UTC), 1795737600, 1795737600.9):
            client.usage.list(since=since, by="day")
        naive = datetime.fromtimestamp(1795737600)  # noqa: DTZ006 - local time is what is tested
        client.usage.requests(since=naive, after="req_1", limit=10)
        client.keys.create(expires=timedelta(seconds=1.5), daily_cap=Decimal("1E+1"), monthly_cap=3, models=None)
        client.keys.rotate("key/1", overlap=60)
        client.keys.rotate("key_1")
        client.keys.update("key_1", rpm=None, daily_cap=Decimal("1E+1"), expires=timedelta(minutes=1), ips=("::1",))
    paths = [request.path for request in recorder.received]
    assert paths[:3] == ["/p/api/v1/usage?since=1795737600&by=day"] * 3
    assert paths[3] == "/p/api/v1/requests?since=1795737600&after=req_1&limit=10"
    assert json.loads(recorder.received[4].body) == {"expires": "2s", "daily_cap": "10", "monthly_cap": "3"}
    assert (paths[5], recorder.received[5].body) == ("/p/api/v1/keys/key%2F1/rotate", b'{"overlap":60}')
    assert json.loads(recorder.received[6].body) == {"overlap": 0}
    changed = {"rpm": None, "daily_cap": "10", "expires": "60s", "ips": ["::1"]}
    assert (recorder.received[7].method, json.loads(recorder.received[7].body)) == ("PATCH", changed)
    assert {request.headers["authorization"] for request in recorder.received} == {"Bearer a"}


def test_field_that_the_service_adds_breaks_nothing(recorder: Recorder) -> None:
    """As in openai's models: unknown fields are kept, unknown values too."""
    recorder.answer({"object": "key", "id": "k", "state": "resting", "colour": "red", "created_at": 1})
    with TechStoneAI(base_url=recorder.url, admin_key="a") as client:
        key = client.keys.retrieve("k")
    assert (key.state, key.model_extra, key.rpm) == ("resting", {"colour": "red"}, None)
