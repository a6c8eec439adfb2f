"""The configuration file: read strictly, explained by path, documented in full."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from techstone.app import config, presets
from techstone.app.config import ConfigError
from techstone.app.sections import (
    BillingSection,
    Config,
    DataSection,
    EngineSection,
    ModelEntry,
    OidcEntry,
    PaymentsSection,
    PlanEntry,
    Price,
    ProviderEntry,
    ReplicaEntry,
    RouteEntry,
    SellerEntry,
    ServerSection,
)

EXAMPLE = (Path(__file__).parents[3] / "techstone.example.toml").read_text("utf-8")
SETTING = re.compile(r"^#(?=[a-z\[])", re.MULTILINE)


def test_example_as_it_stands_is_the_default() -> None:
    """A copy of the example without any change configures what no file configures."""
    found = config.parse(EXAMPLE)
    assert found.server == Config().server
    assert (found.providers, found.models, found.oidc) == ((), (), ())
    assert set(found.plans.values()) == {PlanEntry()}


def test_example_shows_every_setting() -> None:
    """Taking every "#" away gives a valid file in which every key of every table occurs."""
    text = SETTING.sub("", EXAMPLE)
    config.parse(text)
    for table in (
        ServerSection,
        DataSection,
        EngineSection,
        ProviderEntry,
        ModelEntry,
        OidcEntry,
        BillingSection,
        PaymentsSection,
    ):
        for field in msgspec.structs.fields(table):
            assert re.search(rf"^{field.name} = ", text, re.MULTILINE), f"{table.__name__}.{field.name}"
    for inline in (Price, ReplicaEntry, RouteEntry, SellerEntry):
        for field in msgspec.structs.fields(inline):
            assert re.search(rf"[{{,] ?{field.name} = ", text), f"{inline.__name__}.{field.name}"


def test_example_tells_the_true_defaults() -> None:
    """What a "#" hides is the default, save where the default is nothing."""
    shown = config.parse(SETTING.sub("", EXAMPLE))
    for name in ("server", "data", "engine", "payments"):
        default = getattr(Config(), name)
        for field in msgspec.structs.fields(type(default)):
            value = getattr(default, field.name)
            if value not in (None, ()):
                assert getattr(getattr(shown, name), field.name) == value
    plans = {name: (plan.rpm, plan.tpm, plan.concurrent, plan.billing) for name, plan in shown.plans.items()}
    assert plans == {plan.name: (plan.rpm, plan.tpm, plan.concurrent, plan.billing) for plan in presets.PLANS}


def test_example_models_are_the_presets() -> None:
    """The models that need no file are those of the example, with the same windows and prices."""
    shown = config.parse(SETTING.sub("", EXAMPLE)).models
    assert [
        (m.name, m.routes[0].provider, m.context_window, m.max_output_tokens, m.price and m.price.input) for m in shown
    ] == [(m.name, m.provider, m.context_window, m.max_output_tokens, m.input) for m in presets.MODELS]
    assert [(m.price and m.price.output, m.price and m.price.cached_input) for m in shown] == [
        (m.output, m.cached_input) for m in presets.MODELS
    ]


PROVIDER = '[[providers]]\nname="p"\nbase_url="http://p/v1"\n'
REPLICAS = "[[providers]]\nname='p'\nreplicas = [{{base_url='http://p'}}, {{base_url='{}', weight={}}}]"
OIDC = '[[oidc]]\nname="Id"\nissuer="https://id.example"\nclient_id="techstone"\nclient_secret_env="S"\n'
MODEL = '[[models]]\nname="m"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[billing]\nseller = { name = " " }', "billing.seller.name: expected the name that stands on invoices"),
        (
            '[payments]\nstripe_key_env = "A"',
            "payments.stripe_key_env and payments.stripe_webhook_secret_env: give both",
        ),
        (
            '[payments]\nstripe_key_env = "A"\nstripe_webhook_secret_env = "B"',
            "billing.seller: missing; every payment has a receipt, and a receipt needs a seller",
        ),
        ('[payments]\nstripe_api_base = "https://example.com"', "payments.stripe_api_base: only 127.0.0.1 or ::1"),
        ('[payments]\nstripe_api_base = "http://127.0.0.1.example.com"', "payments.stripe_api_base: only 127.0.0.1"),
        ('[payments]\nminimum = "0.49"', "payments.minimum and payments.maximum: expected 0.50 to 999999.99 USD"),
        ('[payments]\nminimum = "20"\nmaximum = "10"', "payments.minimum and payments.maximum: expected"),
        ('[payments]\namounts = ["1000.01"]', "payments.amounts[0]: expected 5 to 1000"),
        ('[payments]\namounts = ["9.999"]', "payments.amounts[0]: expected whole cents"),
        ("[server]\nprot = 1", "server.prot: unknown key; techstone.example.toml lists every key"),
        ("color = 1", "color: unknown key"),
        ("[server]\nport = '1'", "server.port: expected `int`, got `str`"),
        ("[server]\nport = 65536", "server.port: expected 0 to 65535, found 65536"),
        ("[server]\nworkers = 0", "server.workers: expected 1 to 256"),
        (
            "[server]\nworkers = 2",
            "server.workers: limits kept in memory belong to one process, and 2 would give every",
        ),
        ("[data]\nlimits_patience = 0", "data.limits_patience: expected 0.01 to 10"),
        ("[data]\nlimits_answers = 0", "data.limits_answers: expected 1 to 65536"),
        ("[server]\nmetrics = '9100'", "server.metrics: expected a host and port such as 127.0.0.1:9100"),
        ("[server]\nmetrics = 'http://x:9100'", "server.metrics: expected a host and port such as 127.0.0.1:9100"),
        (
            "[server]\nmetrics = '127.0.0.1:65535'\nworkers = 2\n[data]\nlimits = 'redis://r'",
            "server.metrics: worker 2 would have port 65536; begin lower",
        ),
        ("[server]\ntls_cert = 'a'", "server.tls_cert and server.tls_key: give both or neither"),
        ("[server]\ntrusted_proxies = ['x']", "server.trusted_proxies[0]: "),
        ("[server]\npublic_url = 'api.example.com'", "server.public_url: expected a URL"),
        ("[data]\ndatabase = 'postgresql://ann:hush@db/shop'", "data.database: no password may stand in it"),
        ("[data]\ndatabase = 'mysql'", 'data.database: expected "sqlite" or an address'),
        ("[control]\nlisten = 'https://x:1'", "control.listen: expected a host and port such as 10.0.0.5:8100"),
        ("[control]\nlisten = ':8100'", "control.listen: expected a host and port"),
        ("[control]\nlisten = 'host:port'", "control.listen: expected a host and port"),
        (
            "[control]\naddresses = ['10.0.0.5:8100']",
            "control.addresses[0]: expected a URL such as https://control:8100",
        ),
        ("[control]\naddresses = ['https://a', 'https://a/b']", "control.addresses[1]: expected a URL"),
        ("[control]\naddresses = ['https://u:p@a']", "control.addresses[0]: expected a URL"),
        ("[control]\ntls_cert = 'a'", "control.tls_cert and control.tls_key: give both or neither"),
        (
            "[control]\nlisten = '127.0.0.1:8100'\ntls_ca = 'a'",
            "control.tls_ca: gateways would not be asked for a certificate without TLS",
        ),
        (
            "[control]\naddresses = ['https://a', 'http://b']\ntls_ca = 'a'",
            "control.addresses[1]: http://b leads there without TLS, and control.tls_ca would not be looked at",
        ),
        (
            "[control]\naddresses = ['http://127.0.0.1:8100']\ntls_cert = 'a'\ntls_key = 'b'",
            "control.addresses[0]: http://127.0.0.1:8100 leads there without TLS, and control.tls_cert would not be",
        ),
        ("[data]\nlimits = 'disk'", 'data.limits: expected "memory", redis://host:port/db'),
        ("[data]\nlimits = 'redis://x/y'", 'data.limits: expected "memory"'),
        ("[data]\nlimits = 'redis://x:99999'", 'data.limits: expected "memory"'),
        ("[data]\nlimits = 'redis://:secret@x'", "data.limits: a password stands in it; name its environment variable"),
        ("[data]\nlimits = 'rediss://me@x'", "data.limits: it names the user me, who needs a password; name its env"),
        ("[data]\nlimits = 'redis://x'\nlimits_ca = 'ca.pem'", "data.limits_ca: it is for an address that begins with"),
        ("[engine]\ncontext = 1", "engine.context: expected 256"),
        ("[mail]\nsender = 'nobody'", "mail.sender: expected an address such as cloud@example.com"),
        ("[mail]\nsmtp = 'mail.example.com'", "mail.smtp: expected smtps://user@host or smtp://host:port"),
        ("[mail]\nsmtp = 'smtps://u:secret@h'", "mail.smtp: expected"),
        ("[mail]\nsmtp = 'smtp://h:99999'", "mail.smtp: expected"),
        ("[console]\nsign_up = 'yes'", "console.sign_up: expected `bool`"),
        (OIDC.replace("https", "http"), "oidc[0].issuer: expected https"),
        (OIDC.replace("https://id.example", "https://u:p@id.example"), "oidc[0].issuer: a URL without user"),
        (OIDC.replace("Id", "a/b"), "oidc[0].name: expected letters"),
        (OIDC.replace("techstone", ""), "oidc[0].client_id: expected"),
        (OIDC + "allowed_domains = ['@example.com']", "oidc[0].allowed_domains: expected domains"),
        (OIDC + "client_secret = 'x'", "oidc[0].client_secret: unknown key"),
        (OIDC + OIDC.replace("Id", "id"), "oidc[1].name: `id` is there already"),
        ("[engine]\nthreads = 0", "engine.threads: expected 1"),
        ("[[providers]]\nname='p'", "providers[0].base_url: missing, and there is no default"),
        (PROVIDER + "api_key = 'sk-1'", "providers[0].api_key: unknown key"),
        (PROVIDER + "kind = 'cohere'", "providers[0].kind: invalid enum value 'cohere'"),
        (PROVIDER + "kind = 'engine'", "providers[0].kind: invalid enum value 'engine'"),
        (PROVIDER + "routing = 'random'", "providers[0].routing: invalid enum value 'random'"),
        (PROVIDER + "metrics_port = 8080", "providers[0].metrics_port: only engines tell their load; set kind"),
        (PROVIDER + "kind = 'vllm'\nmetrics_port = 0", "providers[0].metrics_port: expected 1 to 65535"),
        (PROVIDER + "replicas = [{base_url='http://q'}]", "providers[0].base_url: expected one address here, or"),
        (REPLICAS.format("ftp://q", 1), "providers[0].replicas[1].base_url: expected a URL"),
        (REPLICAS.format("http://q", 0), "providers[0].replicas[1].weight: expected 1 to 1000, found 0"),
        (REPLICAS.format("http://p", 1), "providers[0].replicas[1].base_url: this address is there already"),
        (
            REPLICAS.replace("[{{", "[" + "{{base_url='http://q'}}," * 64 + "{{").format("http://q", 1),
            "providers[0].replicas: expected at",
        ),
        (PROVIDER + PROVIDER, "providers[1].name: `p` is there already"),
        ('[[providers]]\nname="engine"\nbase_url="http://p"', "providers[0].name: `engine` is the built-in engine"),
        ('[[providers]]\nname="a b"\nbase_url="http://p"', "providers[0].name: expected letters"),
        ('[[providers]]\nname="a"\nbase_url="http://u:p@h"', "providers[0].base_url: a URL without user"),
        ('[[providers]]\nname="a"\nbase_url="http://h:0"', "providers[0].base_url: expected a URL"),
        ('[[providers]]\nname="a"\nbase_url="http://h\\r\\nx: y"', "providers[0].base_url: expected a URL"),
        (PROVIDER + 'headers = {"x\\ny" = "1"}', "providers[0].headers: "),
        (PROVIDER + 'headers = {"Authorization" = "Bearer 1"}', "providers[0].headers: `Authorization` is set by"),
        (PROVIDER + "timeouts = {connect = 0.0}", "providers[0].timeouts.connect: expected seconds"),
        (PROVIDER + "timeouts = {conect = 1.0}", "providers[0].timeouts.conect: unknown key"),
        (MODEL + "routes = []", "models[0].routes: expected at least one route"),
        (MODEL + "routes = [{provider='p', model='m', weight=-1}]", "models[0].routes[0].weight: expected 0"),
        (MODEL + "context_window = 0\nroutes = [{provider='p', model='m'}]", "models[0].context_window: expected 1"),
        (MODEL + "routes = [{provider='p', model='m'}]\nprice = {input='x', output='1'}", "models[0].price.input: "),
        (MODEL + "routes = [{provider='p', model='m'}]\nprice = {input=1.5, output='1'}", "models[0].price.input: "),
        (
            MODEL + "routes = [{provider='p', model='m'}]\nprice = {input='1', output='1', reasoning='0.0000000001'}",
            "models[0].price.reasoning: an amount in USD",
        ),
        ("[plans.gold]\nrpm = 0", "plans.gold.rpm: expected 1"),
        ("= 1", "not TOML: "),
    ],
)
def test_mistake_is_told_with_its_path(text: str, message: str) -> None:
    """A mistake names the key by its path and what was expected."""
    with pytest.raises(ConfigError) as caught:
        config.parse(text)
    assert str(caught.value).startswith(message)


def test_issuer_on_this_machine_needs_no_tls() -> None:
    """And only there; a name becomes part of an address."""
    for host in ("127.0.0.1:4000", "[::1]", "localhost"):
        (entry,) = config.parse(OIDC.replace("https://id.example", f"http://{host}")).oidc
        assert entry.slug == "id"
    assert config.parse(OIDC.replace("Id", "Our_Own  Log-In.")).oidc[0].slug == "our-own-log-in"


def test_unreadable_file_is_told_with_its_name(tmp_path: Path) -> None:
    """The message begins with the file."""
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        config.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[server]\nx = 1")
    with pytest.raises(ConfigError, match=r"bad\.toml: server\.x: unknown key"):
        config.read(tmp_path / "bad.toml")


def test_workers_have_their_limits_in_redis() -> None:
    """Then any number of processes is one gateway to every plan; each has metrics of its own, on the next port."""
    found = config.parse("[server]\nworkers = 3\nmetrics = '[::1]:9100'\n[data]\nlimits = 'redis://r'").server
    assert [config.read_metrics(found, worker) for worker in (1, 2, 3)] == [
        ("::1", port) for port in (9100, 9101, 9102)
    ]
    assert config.read_metrics(ServerSection(), 1) is None
