"""What every store promises about the stored catalog and the feature switches, asked of each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from techstone.control.accounts.records import Account
from techstone.control.acts import acting
from techstone.control.catalog.ports import InUse
from techstone.control.catalog.records import Stored, StoredModel, StoredProvider
from techstone.control.ports import Taken
from techstone.core.pricing import Price
from techstone.core.snapshot import Plan, Replica, Route, Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from techstone.control.ports import Store

UP = StoredProvider("up", "https://up.example/v1", b"\x01sealed", "abcd", Timeouts(1, 2, 3, 4), 5)
CLUSTER = StoredProvider(
    "gpu",
    "http://10.0.0.7:8000/v1",
    created_at=6,
    kind="ray-serve",
    replicas=(Replica("http://10.0.0.7:8000/v1"), Replica("http://10.0.0.8:8000/v1", 2)),
    routing="least-busy",
    metrics_port=8080,
)
PRICE = Price(0, 0, 10**9, 2 * 10**9, 10**8, source="console")
MODEL = StoredModel("a/b", (Route("up", "x", 2, 1), Route("file", "y")), PRICE, "A B", 1000, 100, 6)
PLAN = Plan("team", 1, 2, 3, "prepaid")


@pytest.fixture(autouse=True)
def act() -> Iterator[None]:
    with acting("test.act", "it"):
        yield


async def test_what_is_put_is_read_and_what_is_removed_is_gone(store: Store) -> None:
    """Whole, with a model's routes in their order; each change raises the revision and is in the audit log."""
    assert await store.catalog.read() == Stored()
    seen = [await store.read_revision()]
    for change in (
        store.catalog.put_provider(UP, fresh=True),
        store.catalog.put_model(MODEL, 7, fresh=True),
        store.catalog.put_plan(PLAN, fresh=True),
        store.catalog.switch("model", "a/b", on=False),
    ):
        await change
        seen.append(await store.read_revision())
    assert seen == sorted(set(seen))
    assert await store.catalog.read() == Stored((UP,), (MODEL,), (PLAN,), frozenset({("model", "a/b")}))
    assert await store.catalog.remove_model("a/b")
    assert await store.catalog.remove_provider("up")
    assert await store.catalog.remove_plan("team")
    assert await store.catalog.read() == Stored()
    assert not await store.catalog.remove_model("a/b")
    assert len(await store.audit.read_entries(0, 100)) >= 7


async def test_cluster_is_read_as_it_was_put(store: Store) -> None:
    """Its servers in their order, with weights, kind and routing; what has none of them is one server, as ever."""
    for provider in (UP, CLUSTER):
        await store.catalog.put_provider(provider, fresh=True)
    assert (await store.catalog.read()).providers == (UP, CLUSTER)
    alone = StoredProvider("gpu", "http://10.0.0.9/v1", created_at=6)
    await store.catalog.put_provider(alone, fresh=False)
    assert (await store.catalog.read()).providers == (UP, alone)


async def test_fresh_one_takes_no_name(store: Store) -> None:
    """One that is not fresh replaces all of what was there."""
    await store.catalog.put_provider(UP, fresh=True)
    await store.catalog.put_model(MODEL, 7, fresh=True)
    await store.catalog.put_plan(PLAN, fresh=True)
    for change in (
        store.catalog.put_provider(UP, fresh=True),
        store.catalog.put_model(MODEL, 7, fresh=True),
        store.catalog.put_plan(PLAN, fresh=True),
    ):
        with pytest.raises(Taken):
            await change
    bare = StoredProvider("up", "https://other.example")
    less = StoredModel("a/b", (Route("up", "z"),), PRICE)
    await store.catalog.put_provider(bare, fresh=False)
    await store.catalog.put_model(less, 8, fresh=False)
    read = await store.catalog.read()
    assert (read.providers, read.models) == ((bare,), (less,))


async def test_price_of_a_model_is_noted_with_it(store: Store) -> None:
    """From the first on; another one from its time on; the same not again."""
    await store.catalog.put_model(MODEL, 7, fresh=True)
    await store.catalog.put_model(MODEL, 8, fresh=False)
    dearer = StoredModel("a/b", MODEL.routes, Price(0, 0, 1, 1, source="console"))
    await store.catalog.put_model(dearer, 9, fresh=False)
    assert [(found.price.valid_from, found.price.input) for found in await store.billing.read_prices()] == [
        (0, 10**9),
        (9, 1),
    ]


async def test_what_is_used_is_not_removed(store: Store) -> None:
    """A provider that a model is routed to, a plan that an account is on; who uses it is told."""
    await store.catalog.put_provider(UP, fresh=True)
    await store.catalog.put_model(MODEL, 7, fresh=True)
    await store.catalog.put_plan(PLAN, fresh=True)
    await store.add_account(Account("acct_1", "ann@example.com", "team"))
    with pytest.raises(InUse) as caught:
        await store.catalog.remove_provider("up")
    assert caught.value.by == ("a/b",)
    with pytest.raises(InUse) as caught:
        await store.catalog.remove_plan("team")
    assert caught.value.by == ("ann@example.com",)
    assert (await store.catalog.read()).providers == (UP,)


async def test_switch_is_set_and_reset(store: Store) -> None:
    """What was off twice is on after one; a switch that is removed with its entry does not wait for the next."""
    await store.catalog.put_model(MODEL, 7, fresh=True)
    for on in (False, False):
        await store.catalog.switch("model", "a/b", on=on)
    await store.catalog.switch("model", "a/b", on=True)
    assert (await store.catalog.read()).off == frozenset()
    await store.catalog.switch("model", "a/b", on=False)
    await store.catalog.remove_model("a/b")
    assert (await store.catalog.read()).off == frozenset()
    before = await store.read_revision()
    for wanted, found in ((True, {"sign_up": True}), (False, {"sign_up": False}), (None, {})):
        await store.switches.set("sign_up", on=wanted)
        assert await store.switches.read() == found
    assert await store.read_revision() > before
