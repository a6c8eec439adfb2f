"""The stored catalog: what may be added, what is in force, what never gets out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wholes import follow

from techstone.control.accounts.records import NewAccount, PlanChange
from techstone.control.catalog.merging import merge
from techstone.control.catalog.ports import Asked, Means
from techstone.control.catalog.records import (
    Addition,
    Catalog,
    NewModel,
    NewPlan,
    NewProvider,
    NewReplica,
    ProviderChange,
    Stored,
    StoredModel,
    StoredProvider,
    Trial,
)
from techstone.control.catalog.trials import judge_chat, judge_listing, read_models
from techstone.control.publish import Publisher
from techstone.control.services import Services
from techstone.core.errors import ApiError, InvalidRequest
from techstone.core.pricing import FREE, Price
from techstone.core.snapshot import Model, Plan, Provider, Replica, Route, Snapshot
from techstone.core.stream import Delta, decode
from techstone.core.view import View

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rooms import House

SECRET = "sk-0123456789abcdefWXYZ"
PRICE = Price(0, 0, 1, 2, source="console")


class World:
    """Seals by turning bytes round, knows the price of `known`, and answers trials as it is told."""

    def __init__(self) -> None:
        self.answer = Asked(0.1, 200, b'{"data":[{"id":"a"},{"id":"b"}]}')
        self.answers: dict[str, Asked] = {}
        self.asked: list[tuple[str, str | None]] = []

    def seal(self, secret: bytes, context: str) -> bytes:
        return context.encode() + b"|" + secret[::-1]

    def open(self, sealed: bytes, context: str) -> bytes:
        assert sealed.startswith(context.encode())
        return sealed.rpartition(b"|")[2][::-1]

    async def list_models(self, _: Provider, base_url: str) -> Asked:
        self.asked.append((base_url, None))
        return self.answers.get(base_url, self.answer)

    async def chat(self, _: Provider, base_url: str, model: str) -> Asked:
        self.asked.append((base_url, model))
        return self.answers.get(base_url, Asked(0.2, 200, b"{}"))

    async def ask(self, _: str, __: str, models: Sequence[str]) -> Sequence[Price | None]:
        return [PRICE if model == "known" else None for model in models]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def rooms(house: House, world: World) -> Services:
    return Services(house.store, house.catalog, clock=house.clock, means=Means(world, world, world))


async def add(rooms: Services, name: str = "own") -> None:
    await rooms.providers.create(NewProvider(name, "https://own.example/v1", SECRET))


async def test_provider_is_added_and_its_secret_never_shown(rooms: Services) -> None:
    """Sealed in the store; shown by its end; in no answer, no audit entry, no text of a wish."""
    await add(rooms)
    shown = await rooms.providers.show("own")
    assert (shown.origin, shown.state, shown.secret) == ("console", "on", "set, ends in …WXYZ")
    (stored,) = (await rooms.store.catalog.read()).providers
    assert stored.secret == b"provider own https://own.example/v1|" + SECRET.encode()[::-1]
    told = [repr(await rooms.providers.list()), repr(await rooms.audit.list()), str(NewProvider("x", "y", SECRET))]
    assert not any(SECRET in text or SECRET[::-1] in text for text in told)


async def test_another_address_drops_the_secret(rooms: Services) -> None:
    """It must be typed again, and may be with the change itself; the same address keeps it."""
    await add(rooms)
    await rooms.providers.change(ProviderChange("own", "https://own.example/v1"))
    assert (await rooms.providers.show("own")).secret is not None
    await rooms.providers.change(ProviderChange("own", "https://own.example/v2"))
    assert (await rooms.providers.show("own")).secret is None
    await rooms.providers.change(ProviderChange("own", "https://new.example", SECRET))
    (stored,) = (await rooms.store.catalog.read()).providers
    assert stored.secret is not None
    assert stored.secret.startswith(b"provider own https://new.example|")
    assert (await rooms.providers.change(ProviderChange("own", secret=""))).secret is None


async def test_cluster_is_added_and_its_secret_is_for_all_its_servers(rooms: Services) -> None:
    """As the gateways are told of it; one address in place of several is a provider like any other."""
    servers = (NewReplica("https://a.example/v1"), NewReplica(" https://b.example/v1", 2))
    wish = NewProvider("gpu", None, SECRET, kind="ray-serve", replicas=servers, routing="weighted", metrics_port=8080)
    shown = await rooms.providers.create(wish)
    found = (Replica("https://a.example/v1"), Replica("https://b.example/v1", 2))
    assert (shown.kind, shown.replicas, shown.routing, shown.metrics_port) == ("ray-serve", found, "weighted", 8080)
    (stored,) = (await rooms.store.catalog.read()).providers
    assert stored.secret is not None
    assert stored.secret.startswith(b"provider gpu https://a.example/v1 https://b.example/v1|")
    await rooms.catalog.refresh()
    told = next(one for one in rooms.catalog.catalog.providers if one.name == "gpu")
    assert (told.kind, told.base_url, told.replicas) == ("ray-serve", "https://a.example/v1", found)
    assert (told.routing, told.metrics_port) == ("weighted", 8080)
    alone = await rooms.providers.create(NewProvider("one", replicas=(NewReplica("https://a.example", 3),)))
    assert (alone.base_url, alone.replicas, alone.kind) == ("https://a.example", (), "openai")


async def test_another_set_of_servers_drops_the_secret(rooms: Services) -> None:
    """One more, one less, one in place of another; weights, their order, kind and routing keep it."""
    a, b, c = (NewReplica(f"https://{name}.example/v1") for name in "abc")
    await rooms.providers.create(NewProvider("gpu", None, SECRET, kind="vllm", replicas=(a, b)))
    for kept in (
        ProviderChange("gpu", replicas=(NewReplica(b.base_url, 5), a)),
        ProviderChange("gpu", kind="sglang", routing="least-busy"),
        ProviderChange("gpu", kind="ray-serve", metrics_port=8080),
        ProviderChange("gpu", kind="openai", routing="", metrics_port=0),
    ):
        assert (await rooms.providers.change(kept)).secret is not None
    shown = await rooms.providers.show("gpu")
    assert (shown.kind, shown.routing, shown.metrics_port) == ("openai", None, None)
    assert shown.replicas == (Replica(b.base_url, 5), Replica(a.base_url))
    for servers in ((a, b, c), (a,), (a, c)):
        dropped = await rooms.providers.change(ProviderChange("gpu", replicas=servers))
        assert dropped.secret is None
        assert (await rooms.providers.change(ProviderChange("gpu", secret=SECRET))).secret is not None
    entry = (await rooms.audit.list())[1]
    assert entry.detail["servers"] == "https://a.example/v1 -> https://a.example/v1, https://c.example/v1"
    assert entry.detail["secret"] == "dropped with the address"
    (stored,) = (await rooms.store.catalog.read()).providers
    assert stored.secret is not None
    assert stored.secret.startswith(b"provider gpu https://a.example/v1 https://c.example/v1|")


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (NewProvider("x"), "base_url"),
        (NewProvider("x", "https://a.example", replicas=(NewReplica("https://b.example"),)), "base_url"),
        (NewProvider("x", replicas=(NewReplica("https://a.example"),) * 2), "replicas[1].base_url"),
        (NewProvider("x", replicas=(NewReplica("https://a.example"), NewReplica("https://10.0.0.7"))),
         "replicas[1].base_url"),
        (NewProvider("x", replicas=(NewReplica("${HOME}"),)), "replicas[0].base_url"),
        (NewProvider("x", replicas=(NewReplica("https://a.example", 0),)), "replicas[0].weight"),
        (NewProvider("x", replicas=tuple(NewReplica(f"https://a.example/{n}") for n in range(65))), "replicas"),
        (NewProvider("x", "https://a.example", metrics_port=8080), "metrics_port"),
        (NewProvider("x", "https://a.example", kind="ray-serve", metrics_port=70_000), "metrics_port"),
    ],
)  # fmt: skip
async def test_wrong_cluster_is_told_by_its_field(rooms: Services, wish: NewProvider, field: str) -> None:
    """Each address by the rules of one; the same twice; more than 64; a port of metrics of what tells none."""
    with pytest.raises(InvalidRequest) as caught:
        await rooms.providers.create(wish)
    assert caught.value.param == field
    await add(rooms)
    with pytest.raises(InvalidRequest):
        await rooms.providers.change(
            ProviderChange("own", wish.base_url, kind=wish.kind, replicas=wish.replicas, metrics_port=wish.metrics_port)
        )
    assert (await rooms.providers.show("own")).base_url == "https://own.example/v1"


@pytest.mark.parametrize(
    ("name", "url", "field"),
    [
        ("up", "https://x.example", "name"), ("engine", "https://x.example", "name"),
        ("a b", "https://x.example", "name"),
        ("x", "ftp://x.example", "base_url"), ("x", "https://u:p@x.example", "base_url"),
        ("x", "https://x.example/#a", "base_url"), ("x", "https://x.example/?key=1", "base_url"),
        ("x", "http://x.example", "base_url"), ("x", "https://127.0.0.1/v1", "base_url"),
        ("x", "https://localhost", "base_url"), ("x", "https://10.0.0.7", "base_url"),
        ("x", "https://[::1]", "base_url"),
        ("x", "https://[::ffff:10.0.0.1]/", "base_url"), ("x", "https://2130706433/", "base_url"),
        ("x", "https://0x7f.1/", "base_url"), ("x", "https://db.internal", "base_url"), ("x", "https://db", "base_url"),
        ("x", "https://169.254.169.254/", "base_url"), ("x", "${HOME}", "base_url"),
        ("x", "https://x.example/\r\na", "base_url"),
    ],
)  # fmt: skip
async def test_wrong_provider_is_told_by_its_field(rooms: Services, name: str, url: str, field: str) -> None:
    """A name of the file's, an address of the own network, one that holds a secret or reads the environment."""
    with pytest.raises(InvalidRequest) as caught:
        await rooms.providers.create(NewProvider(name, url))
    assert caught.value.param == field
    assert await rooms.store.catalog.read() == Stored()


async def test_own_network_is_for_the_file_to_allow(house: House, world: World) -> None:
    """Then plain HTTP, too; the link's own addresses never: a cloud's metadata is there."""
    rooms = Services(house.store, house.catalog, means=Means(world, private=True))
    await rooms.providers.create(NewProvider("a", "http://127.0.0.1:11434/v1"))
    await rooms.providers.create(NewProvider("b", "http://gpu:8000/v1"))
    with pytest.raises(InvalidRequest):
        await rooms.providers.create(NewProvider("c", "http://169.254.169.254/latest"))


@pytest.mark.parametrize("secret", ["a b", "a\nb", "ä" * 20, "x" * 3000])
async def test_secret_that_is_no_header_is_refused_unrepeated(rooms: Services, secret: str) -> None:
    """It could end the head of a request."""
    with pytest.raises(InvalidRequest) as caught:
        await rooms.providers.create(NewProvider("x", "https://x.example", secret))
    assert (caught.value.param, secret in caught.value.message) == ("secret", False)


async def test_model_is_added_changed_switched_and_removed(rooms: Services) -> None:
    """With its price; off it is not on offer; gone it can be added again."""
    await add(rooms)
    wish = NewModel("mine", (Route("own", "x"), Route("up", "y", 1, 1)), "Mine", 1000, 10, "1", "2")
    shown = await rooms.models.create(wish)
    assert (shown.origin, shown.display, shown.input, shown.output) == ("console", "Mine", "1.00", "2.00")
    assert rooms.catalog.has_model("mine")
    assert (await rooms.prices.list("mine"))[0].source == "console"
    changed = await rooms.models.change(NewModel("mine", (Route("own", "z"),)))
    assert (changed.routes, changed.input, changed.display) == ((Route("own", "z"),), "1.00", None)
    await rooms.models.switch("mine", on=False)
    await rooms.catalog.refresh()
    assert not rooms.catalog.has_model("mine")
    await rooms.models.switch("mine", on=True)
    await rooms.models.remove("mine")
    assert not rooms.catalog.has_model("mine")
    with pytest.raises(InvalidRequest, match="There is no"):
        await rooms.models.remove("mine")


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (NewModel("m1", (Route("own", "x"),), input="1", output="1"), "name"),
        (NewModel("a b", (Route("own", "x"),), input="1", output="1"), "name"),
        (NewModel("x", (), input="1", output="1"), "routes"),
        (NewModel("x", (Route("nobody", "x"),), input="1", output="1"), "routes[0].provider"),
        (NewModel("x", (Route("own", ""),), input="1", output="1"), "routes[0].model"),
        (NewModel("x", (Route("own", "x", -1),), input="1", output="1"), "routes[0].weight"),
        (NewModel("x", (Route("own", "x"),), context_window=0, input="1", output="1"), "context_window"),
        (NewModel("x", (Route("own", "x"),), input="much", output="1"), "input"),
        (NewModel("x", (Route("own", "x"),), input="1"), "output"),
        (NewModel("x", (Route("own", "x"),)), "input"),
        (NewModel("x", (Route("own", "x"),), "\x07", input="1", output="1"), "display"),
    ],
)
async def test_wrong_model_is_told_by_its_field(rooms: Services, wish: NewModel, field: str) -> None:
    """By the file's own rules; without a price that anybody knows it is not offered."""
    await add(rooms)
    with pytest.raises(InvalidRequest) as caught:
        await rooms.models.create(wish)
    assert caught.value.param == field
    assert (await rooms.store.catalog.read()).models == ()


async def test_models_of_a_provider_are_added_all_or_none(rooms: Services) -> None:
    """By their names; a price is asked for only where none is known."""
    await add(rooms)
    with pytest.raises(InvalidRequest):
        await rooms.models.add(Addition("own", ("known", "other")))
    assert (await rooms.store.catalog.read()).models == ()
    made = await rooms.models.add(Addition("own", ("known", "other"), "3", "4"))
    assert [(model.name, model.output) for model in made] == [("known", "0.000000002"), ("other", "4.00")]


async def test_provider_in_use_is_not_removed_and_off_takes_its_routes(rooms: Services) -> None:
    """A model of it alone is not on offer while it is off; one that is the file's can be switched, not changed."""
    await add(rooms)
    await rooms.models.create(NewModel("mine", (Route("own", "x"),), input="1", output="2"))
    with pytest.raises(InvalidRequest, match="used by mine"):
        await rooms.providers.remove("own")
    await rooms.providers.switch("own", on=False)
    assert not rooms.catalog.has_model("mine")
    await rooms.providers.switch("up", on=False)
    assert rooms.catalog.catalog.models == ()
    assert rooms.catalog.catalog.providers == ()
    for change in (rooms.providers.remove("up"), rooms.providers.change(ProviderChange("up", "https://x.example"))):
        with pytest.raises(InvalidRequest, match="configuration file"):
            await change
    await rooms.models.remove("mine")
    await rooms.providers.remove("own")


async def test_stand_in_gives_way_and_comes_back(house: House, world: World) -> None:
    """A well-known name that only the built-in engine answers can be given to a provider, and is free again after."""
    model = Model("gpt", (Route("up", "nano"),), prices=(FREE,))
    catalog = Catalog(house.catalog.plans, (model,), house.catalog.providers, frozenset({"gpt"}))
    rooms = Services(house.store, catalog, clock=house.clock, means=Means(world))
    await rooms.prices.note_configured()
    await add(rooms)
    house.clock.now += 10
    await rooms.models.create(NewModel("gpt", (Route("own", "gpt"),), input="1", output="2"))
    assert [entry.origin for entry in await rooms.models.list()] == ["console"]
    assert rooms.catalog.catalog.models[0].routes == (Route("own", "gpt"),)
    assert (await rooms.prices.list("gpt"))[0].output == "2.00"
    house.clock.now += 10
    await rooms.models.remove("gpt")
    assert (await rooms.prices.list("gpt"))[0].output == "0.00"


async def test_plan_is_added_changed_and_kept_while_used(rooms: Services) -> None:
    """Those of the file are read; an account on a plan keeps it."""
    await rooms.plans.create(NewPlan("team", 1, 2, 3))
    await rooms.accounts.create(NewAccount("ann@example.com", "team"))
    assert (await rooms.plans.show("team")).accounts == 1
    assert (await rooms.plans.change(NewPlan("team", 7, 2, 3, "prepaid"))).rpm == 7
    assert "team" in rooms.catalog.prepaid()
    with pytest.raises(InvalidRequest, match=r"ann@example\.com"):
        await rooms.plans.remove("team")
    for change in (
        rooms.plans.create(NewPlan("free", 1, 2, 3)), rooms.plans.create(NewPlan("team", 1, 2, 3)),
        rooms.plans.create(NewPlan("x", 0, 2, 3)), rooms.plans.create(NewPlan("No", 1, 2, 3)),
        rooms.plans.change(NewPlan("free", 1, 2, 3)), rooms.plans.remove("free"),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest) as caught:
            await change
        assert caught.value.param in {"name", "rpm"}
    await rooms.accounts.set_plan("ann@example.com", PlanChange("free"))
    await rooms.plans.remove("team")
    with pytest.raises(InvalidRequest, match="There is no"):
        await rooms.plans.remove("team")


async def test_switches_are_a_closed_list_and_follow_the_store(house: House) -> None:
    """The file's default, what an operator made of it, the default again; another process hears of it."""
    rooms, other = (Services(house.store, house.catalog, switches={"sign_up": False}) for _ in range(2))
    assert not rooms.switches.is_on("sign_up")
    await rooms.switches.set("sign_up", on=True)
    assert not other.switches.is_on("sign_up")
    await other.follow()
    assert other.switches.is_on("sign_up")
    await rooms.switches.set("sign_up", on=None)
    await other.follow()
    assert not other.switches.is_on("sign_up")
    with pytest.raises(InvalidRequest, match="there is no switch"):
        await rooms.switches.set("everything", on=True)
    assert (await rooms.audit.list())[0].detail == {"to": "default"}


async def test_gateway_hears_of_every_change_of_the_catalog(rooms: Services) -> None:
    """By deltas, to the same as the whole; what is removed is gone, and an account has its plan's new numbers."""
    publisher = Publisher(rooms.store, rooms.catalog, poll=60, heartbeat=60, report=print)
    await publisher.load()
    stream = publisher.subscribe()
    frame = decode(await anext(stream))
    assert isinstance(frame, Snapshot)
    view = View(frame)
    steps: list[Callable[[], Awaitable[object]]] = [
        lambda: add(rooms),
        lambda: rooms.models.create(NewModel("mine", (Route("own", "x"),), input="1", output="2")),
        lambda: rooms.plans.create(NewPlan("team", 1, 2, 3)),
        lambda: rooms.accounts.create(NewAccount("ann@example.com", "team")),
        lambda: rooms.plans.change(NewPlan("team", 9, 2, 3)),
        lambda: rooms.providers.switch("up", on=False),
        lambda: rooms.providers.change(ProviderChange("own", "https://else.example")),
        lambda: rooms.models.remove("mine"),
        lambda: rooms.providers.remove("own"),
        lambda: rooms.providers.switch("up", on=True),
    ]
    for step in steps:
        await step()
        await publisher._advance()
        delta = decode(await anext(stream))
        assert isinstance(delta, Delta)
        view = follow(view, delta)
        snapshot, whole = view.snapshot, decode(await anext(publisher.subscribe()))
        assert isinstance(whole, Snapshot)
        assert sorted(snapshot.models, key=lambda model: model.name) == sorted(
            whole.models, key=lambda model: model.name
        )
        assert {one.name: one for one in snapshot.providers} == {one.name: one for one in whole.providers}
        assert {one.name: one for one in snapshot.plans} == {one.name: one for one in whole.plans}
        assert set(view.models) == {model.name for model in whole.models}
        assert view.providers == {one.name: one for one in whole.providers}


NAMES = st.sampled_from(["a", "b", "c", "up"])
ROUTES = st.lists(st.builds(Route, NAMES, st.just("x"), priority=st.integers(0, 2)), max_size=3).map(tuple)


@given(
    st.lists(st.builds(StoredProvider, NAMES, st.just("https://x")), unique_by=lambda one: one.name).map(tuple),
    st.lists(st.builds(StoredModel, NAMES, ROUTES, st.just(PRICE)), unique_by=lambda one: one.name).map(tuple),
    st.frozensets(st.tuples(st.sampled_from(["provider", "model"]), NAMES)),
)
def test_nothing_stored_can_break_what_is_on_offer(
    providers: tuple[StoredProvider, ...], models: tuple[StoredModel, ...], off: frozenset[tuple[str, str]]
) -> None:
    """Whatever is stored: no name twice, every model has a route, every route a provider, the file's go before."""
    configured = Catalog(
        (Plan("free", 1, 1, 1, "prepaid"),),
        (Model("a", (Route("up", "x"),)),),
        (Provider("up", "openai", "https://up"),),
    )
    merged = merge(configured, Stored(providers, models, (Plan("free", 9, 9, 9, "prepaid"),), off))
    names = [model.name for model in merged.models]
    assert len(set(names)) == len(names)
    known = {provider.name for provider in merged.providers}
    assert len(known) == len(merged.providers)
    assert all(model.routes and {route.provider for route in model.routes} <= known for model in merged.models)
    assert merged.plans == configured.plans
    if not {("model", "a"), ("provider", "up")} & off:
        assert merged.models[0] == configured.models[0]


async def test_trial_asks_for_models_and_for_a_token_only_where_one_is_wanted(rooms: Services, world: World) -> None:
    """By the stored address and the sealed key; noted, since it may cost."""
    await add(rooms)
    shown = await rooms.providers.test(Trial("own"))
    assert (shown.models, shown.secured, shown.chat, shown.listing.good) == (("a", "b"), True, None, True)
    shown = await rooms.providers.test(Trial("own", "a"))
    assert shown.chat is not None
    assert shown.chat.good
    assert [model for _, model in world.asked] == [None, None, "a"]
    assert (await rooms.audit.list())[0].action == "provider.test"
    with pytest.raises(ApiError):
        await rooms.providers.test(Trial("nobody"))


async def test_trial_asks_every_server_and_says_which_failed(rooms: Services, world: World) -> None:
    """The whole is as the first that failed; of models those that all have, and of each server what it lacks."""
    urls = [f"https://{name}.example/v1" for name in "abc"]
    await rooms.providers.create(NewProvider("gpu", kind="vllm", replicas=tuple(map(NewReplica, urls))))
    shown = await rooms.providers.test(Trial("gpu", "a"))
    assert set(world.asked) == {(url, model) for url in urls for model in (None, "a")}
    assert (shown.listing.good, shown.models, [one.lacking for one in shown.servers]) == (True, ("a", "b"), [()] * 3)
    world.answers = {urls[1]: Asked(0.1, failure="timeout"), urls[2]: Asked(0.1, 200, b'{"data":[{"id":"b"}]}')}
    shown = await rooms.providers.test(Trial("gpu", "a"))
    assert [one.address for one in shown.servers] == urls
    assert [one.listing.good for one in shown.servers] == [True, False, True]
    assert [one.lacking for one in shown.servers] == [(), (), ("a",)]
    assert (shown.listing, shown.chat) == (shown.servers[1].listing, shown.servers[1].chat)
    assert shown.models == ("b",)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Asked(1, 401), "key was refused"), (Asked(1, 404), "no such path"), (Asked(1, 302), "redirect"),
        (Asked(1, 429), "limit"), (Asked(1, 200, b"<html>"), "no list of models"),
        (Asked(1, 200, b'{"data":[]}'), "no models"),
        (Asked(1, 500, b'{"error":{"message":"boom\\n"}}'), "failed: boom."), (Asked(1, 502, b"x"), "provider failed."),
        (Asked(1, 418, b'{"error":"tea"}'), "refused: tea."), (Asked(5, failure="timeout"), "in time"),
        (Asked(0, failure="connect", detail="gaierror"), "cannot be resolved"),
        (Asked(0, failure="connect", detail="ConnectionRefusedError"), "refused"),
        (Asked(0, failure="connect", detail="SSLCertVerificationError"), "not trusted"),
        (Asked(0, failure="connect", detail="OSError"), "cannot be reached"),
        (Asked(0, failure="odd"), "cannot be reached"),
        (Asked(1, 401, keyless=True), "key was not tried"), (Asked(1, 500, keyless=True), "provider failed."),
        (Asked(1, 400, keyless=True), "key was not tried"), (Asked(1, 404, keyless=True), "key was not tried"),
        (Asked(0, failure="protocol"), "no HTTP"),
    ],
)  # fmt: skip
def test_trial_that_failed_says_what_happened_and_what_to_do(asked: Asked, told: str) -> None:
    """In words; how long it took; nothing is listed of what cannot be asked for."""
    for outcome in (judge_listing(asked), judge_chat(asked)):
        if asked.status in {200, 404} and outcome == judge_chat(asked):
            continue
        assert told in outcome.told
        assert outcome.remedy
        assert outcome.milliseconds == asked.seconds * 1000
    assert read_models(Asked(0, 200, b'{"data":[{"id":"a b"},{"id":""},{"id":"ok"},{"id":"\\u0007"}]}')) == ("ok",)
