"""What is on offer, by configuration and environment."""

from __future__ import annotations

import pytest

from techstone.app import config, offer, presets, pricelist
from techstone.app.config import ConfigError
from techstone.app.sections import Config
from techstone.core.pricing import FREE, Price
from techstone.core.snapshot import Replica

ENGINE = offer.EngineAddress("http://127.0.0.1:1/v1", "techstone-nano", 2048)


def test_without_provider_every_known_model_is_the_engines() -> None:
    """`gpt-4o` and all other well-known names are answered by the built-in engine, and say who owns them."""
    catalog = offer.compose(Config(), {}, ENGINE)
    assert [model.name for model in catalog.models] == [*(m.name for m in presets.MODELS), "techstone-nano"]
    assert {(route.provider, route.model) for model in catalog.models for route in model.routes} == {
        ("engine", "techstone-nano")
    }
    assert {model.owned_by for model in catalog.models} == {"techstone"}


def test_key_in_the_environment_enables_its_provider() -> None:
    """With OPENAI_API_KEY the models of OpenAI go there, the others are not on offer, the engine stays."""
    catalog = offer.compose(Config(), {"OPENAI_API_KEY": "sk-1"}, ENGINE)
    assert [provider.name for provider in catalog.providers] == ["openai", "engine"]
    assert {model.name: model.routes[0].provider for model in catalog.models} == {
        "gpt-4o": "openai",
        "gpt-4o-mini": "openai",
        "gpt-4.1": "openai",
        "gpt-4.1-mini": "openai",
        "techstone-nano": "engine",
    }


def test_secret_never_enters_the_catalog() -> None:
    """The catalog names the variable, not its value."""
    assert "sk-1" not in repr(offer.compose(Config(), {"OPENAI_API_KEY": "sk-1"}, ENGINE))


def test_configured_models_are_the_offer() -> None:
    """With [[models]] in the file those are on offer, and the engine's own."""
    found = config.parse(
        '[[providers]]\nname="p"\nbase_url="http://p/v1"\n[[models]]\nname="m"\nroutes=[{provider="p",model="x"}]\n'
        'price={input="1",output="2"}'
    )
    assert [model.name for model in offer.compose(found, {}, ENGINE).models] == ["m", "techstone-nano"]
    assert [model.name for model in offer.compose(found, {}, None).models] == ["m"]


def test_replicas_are_one_provider() -> None:
    """Of several servers the first one's address stands for the provider, and all are in the snapshot."""
    text = "replicas = [{base_url='http://a:1/v1'}, {base_url='http://b:1/v1', weight=3}]\nkind = 'vllm'"
    providers = offer.compose(config.parse(f"[[providers]]\nname = 'gpu'\n{text}"), {}, ENGINE).providers
    assert providers[0].base_url == "http://a:1/v1"
    assert providers[0].servers == (Replica("http://a:1/v1"), Replica("http://b:1/v1", 3))
    assert providers[1].servers == (Replica(ENGINE.base_url),)


def test_uncommented_example_falls_to_the_engine_without_keys() -> None:
    """A model whose provider is well known but has no key is the engine's while there is no provider at all."""
    found = config.parse('[[models]]\nname="gpt-4o"\nroutes=[{provider="openai",model="gpt-4o"}]')
    assert offer.compose(found, {}, ENGINE).models[0].routes[0].provider == "engine"
    with_key = offer.compose(found, {"OPENAI_API_KEY": "k"}, ENGINE)
    assert with_key.models[0].routes[0].provider == "openai"
    other = offer.compose(found, {"DEEPSEEK_API_KEY": "k"}, ENGINE)
    assert [model.name for model in other.models] == ["deepseek-chat", "techstone-nano"]


def test_route_to_nowhere_is_refused() -> None:
    """A route names a provider that exists."""
    found = config.parse('[[models]]\nname="m"\nroutes=[{provider="gone",model="x"}]')
    with pytest.raises(ConfigError, match=r"models\[0\].routes\[0\].provider: there is no provider `gone`"):
        offer.compose(found, {}, ENGINE)


def test_nothing_to_offer_is_refused() -> None:
    """Neither engine nor provider: the start says what to do."""
    with pytest.raises(ConfigError, match="nothing to offer"):
        offer.compose(Config(), {}, None)


def test_plan_numbers_are_overridden_and_plans_added() -> None:
    """A built-in plan keeps what the file does not say; a new one needs all of it."""
    found = config.parse("[plans.pro]\nrpm = 9\n[plans.gold]\nrpm = 1\ntpm = 2\nconcurrent = 3\nbilling = 'prepaid'\n")
    plans = {plan.name: plan for plan in offer.compose(found, {}, ENGINE).plans}
    assert (plans["pro"].rpm, plans["pro"].tpm) == (9, 2_000_000)
    assert plans["gold"].concurrent == 3
    assert next(iter(plans)) == "pay-as-you-go"
    with pytest.raises(ConfigError, match=r"plans.gold.tpm: missing"):
        offer.compose(config.parse("[plans.gold]\nrpm = 1"), {}, ENGINE)


def test_secret_in_a_header_must_be_there_too() -> None:
    """`${NAME}` in a header names a variable like api_key_env does."""
    found = config.parse(
        '[[providers]]\nname="az"\nbase_url="https://a/openai/deployments/d?api-version=1"\n'
        'headers = { api-key = "${AZ_KEY}", x-team = "t" }'
    )
    assert offer.missing_secrets(found, {"AZ_KEY": "x"}) == []
    assert offer.missing_secrets(found, {})[0].startswith("providers[0].headers.api-key: the environment has no AZ_KEY")


def test_missing_secret_is_told_before_the_start() -> None:
    """A configured provider whose variable is empty is named with what to do."""
    found = config.parse('[[providers]]\nname="p"\nbase_url="http://p/v1"\napi_key_env="P_KEY"')
    assert offer.missing_secrets(found, {"P_KEY": "x"}) == []
    assert offer.missing_secrets(found, {}) == [
        "providers[0].api_key_env: the environment has no P_KEY; export it before the start"
    ]


PROVIDER = '[[providers]]\nname="{name}"\nbase_url="http://p/v1"\n[[models]]\nname="m"\nroutes=[{routes}]\n'
PRICED = 'price={input="1", output="2.5", cached_input="0.5", reasoning="3"}\n'


def _find_price(text: str, environment: dict[str, str] | None = None) -> Price:
    (price,) = offer.compose(config.parse(text), environment or {}, ENGINE).models[0].prices
    return price


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[pricelist.Question]:
    """Answer here in place of the list that comes with us, and return what was asked."""
    asked: list[pricelist.Question] = []

    def ask(questions: list[pricelist.Question]) -> list[Price | None]:
        asked.extend(questions)
        return [Price(0, 0, 7, 8, source="genai-prices") if q.model == "listed" else None for q in questions]

    monkeypatch.setattr(pricelist, "ask", ask)
    return asked


def test_price_of_the_file_goes_first(asked: list[pricelist.Question]) -> None:
    """Over the table's and the list's, also for a model that only the engine answers."""
    wanted = Price(0, 0, 10**9, 2_500_000_000, 500_000_000, 3 * 10**9, "config")
    route = '{provider="openai", model="gpt-4o"}'
    assert _find_price(PROVIDER.format(name="openai", routes=route) + PRICED) == wanted
    assert _find_price(PROVIDER.format(name="p", routes='{provider="engine", model="x"}') + PRICED) == wanted
    assert asked == []


def test_price_of_the_table_goes_before_the_list(asked: list[pricelist.Question]) -> None:
    """A well-known provider's model needs no price, whatever name it is offered by."""
    text = PROVIDER.format(name="openai", routes='{provider="openai", model="gpt-4o"}')
    assert _find_price(text) == Price(0, 0, 2_500_000_000, 10**10, 1_250_000_000, None, "preset")
    assert _find_price("", {"OPENAI_API_KEY": "k"}).source == "preset"
    assert asked == []


def test_price_of_the_list_is_that_of_the_route_tried_first(asked: list[pricelist.Question]) -> None:
    """By priority, not by place in the file."""
    routes = '{provider="openai", model="gpt-4o", priority=1}, {provider="openai", model="listed"}'
    assert _find_price(PROVIDER.format(name="openai", routes=routes)).source == "genai-prices"
    assert asked == [pricelist.Question("openai", "http://p/v1", "listed")]


def test_what_only_the_engine_answers_is_free() -> None:
    """Its own model, and well-known names while no provider is configured, whatever the file lists for these."""
    assert {model.prices for model in offer.compose(Config(), {}, ENGINE).models} == {(FREE,)}
    text = '[[models]]\nname="gpt-4o"\nroutes=[{provider="openai",model="gpt-4o"}]\n' + PRICED
    assert _find_price(text) is FREE
    assert _find_price(text, {"OPENAI_API_KEY": "k"}).source == "config"


@pytest.mark.parametrize(
    "routes", ['{provider="p", model="x"}', '{provider="engine", model="x"}, {provider="p", model="x", priority=1}']
)
def test_model_without_any_price_is_refused(asked: list[pricelist.Question], routes: str) -> None:
    """The line names the model, its provider and what to write."""
    with pytest.raises(ConfigError) as caught:
        _find_price(PROVIDER.format(name="p", routes=routes))
    assert str(caught.value).startswith("models[0].name: no price is known for `m` of provider `")
    assert 'write price = { input = "…", output = "…" }' in str(caught.value)
    assert len(asked) == 1
