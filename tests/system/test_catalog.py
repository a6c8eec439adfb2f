"""The catalog run from the Console, on a service with a real provider beside it: in force at once, secrets nowhere."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from forms import PASSWORD, Browser
from service import Service, serving, wait_until
from upstream import providing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "sk-real-secret-0123456789-WXYZ"
_PATH = "/console/operate"


class Provider:
    """A provider that runs: its address, and what came to it."""

    def __init__(self, url: str, received: list[dict[str, Any]], keys: list[str | None]) -> None:
        self.url = url
        self.received = received
        self.keys = keys


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    keys: list[str | None] = []
    with providing(keys) as (url, received):
        yield Provider(url, received, keys)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("catalog"), "[console]\nprivate_providers = true\n") as running:
        yield running


@pytest.fixture(scope="module")
def operator(service: Service) -> Browser:
    found = re.search(r"(/console/link/[\w-]+)", service.printed())
    assert found is not None
    browser = Browser(service)
    assert browser.submit(found[1], email="ann@example.com", password=PASSWORD).status == 303
    return browser


@pytest.fixture(scope="module")
def added(operator: Browser, provider: Provider) -> str:
    """Return a model that was added with its provider, in the Console."""
    made = operator.submit(f"{_PATH}/providers/new", name="real", replicas=provider.url, secret=SECRET)
    assert made.headers["location"] == f"{_PATH}/providers/one/real"
    wish = {"name": "mine", "provider": "real", "upstream": "up-1", "input": "1", "output": "2"}
    assert operator.submit(f"{_PATH}/models/new", **wish).status == 303
    return "mine"


def test_model_that_was_added_answers_within_a_second(service: Service, provider: Provider, added: str) -> None:
    """By the provider's key, which was opened in the gateway; billed by the price that was typed; off it is a 404."""
    took = wait_until(lambda: service.chat({"model": added})[0] == 200, 5)
    assert took < 1, took
    status, body, headers = service.chat({"model": added})
    assert (status, body["model"], headers["x-techstone-served-by"]) == (200, "mine", "real/up-1")
    assert headers["x-techstone-cost"] == "0.000013"
    assert provider.keys[-1] == f"Bearer {SECRET}"
    assert "mine" in service.get("/v1/models", service.key)[1]


def test_switch_and_removal_are_in_force_within_a_second(service: Service, operator: Browser, added: str) -> None:
    """Off and on again by the provider and by the model; a model that is removed is not there."""
    for path, fields in ((f"{_PATH}/providers/one/real/switch", {}), (f"{_PATH}/models/switch", {"name": added})):
        for on, status in (("false", 404), ("true", 200)):
            assert operator.submit(path, page=f"{_PATH}/providers", on=on, **fields).status == 303
            assert wait_until(lambda: service.chat({"model": added})[0] == status, 5) < 1  # noqa: B023 - waited for here
    wish = {"name": "brief", "provider": "real", "upstream": "up-2", "input": "1", "output": "2"}
    assert operator.submit(f"{_PATH}/models/new", **wish).status == 303
    wait_until(lambda: service.chat({"model": "brief"})[0] == 200)
    assert operator.submit(f"{_PATH}/models/remove", page=f"{_PATH}/models", name="brief").status == 303
    assert wait_until(lambda: service.chat({"model": "brief"})[0] == 404, 5) < 1


def test_secret_is_nowhere_in_clear(service: Service, operator: Browser, added: str) -> None:
    """Not in the database, its log, the snapshot on disk, what processes print, pages, the audit log."""
    assert added
    wait_until(lambda: b'"real"' in (service.folder / "data" / "snapshot.json").read_bytes())
    for path in sorted((service.folder).rglob("*")):
        if path.is_file() and not path.name.endswith(".gguf"):
            assert SECRET.encode() not in path.read_bytes(), path
    for page in ("providers", "providers/one/real", "models", "models/one?name=mine"):
        assert SECRET not in operator.open(f"{_PATH}/{page}").text
    assert "ends in …WXYZ" in operator.open(f"{_PATH}/providers/one/real").text
    for command in (("provider", "list"), ("audit", "list")):
        assert SECRET not in json.dumps(service.ask(*command))
    key = service.folder / "data" / "secret.key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_provider_is_tried_and_its_models_added(service: Service, operator: Browser, added: str) -> None:
    """By a button: reached, how long it took, which models; a chat of one token where one is wanted."""
    assert added
    page = f"{_PATH}/providers/one/real"
    tried = operator.submit(f"{page}/test", page=page)
    assert "It answered with 2 models." in tried.text
    assert re.search(r"HTTP 200, [\d,]+ ms", tried.text)
    assert 'value="up-2"' in tried.text
    assert "chat of one token." in operator.submit(f"{page}/test", page=page, model="up-1").text
    assert "no price is known" in operator.submit(f"{page}/add", page=page, names="up-2").text
    assert operator.submit(f"{page}/add", page=page, names="up-2", input="0", output="0").status == 303
    wait_until(lambda: service.chat({"model": "up-2"})[0] == 200)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:1/v1", "The connection was refused."),
        ("http://nowhere.invalid/v1", "cannot be resolved"),
        ("{url}/wrong", "There is no such path."),
    ],
)
def test_trial_says_what_is_wrong(service: Service, provider: Provider, url: str, told: str) -> None:
    """In words and by its exit status; the command line tries as the button does."""
    name = f"bad-{abs(hash(told)) % 1000}"
    service.ask("provider", "add", name, url.format(url=provider.url))
    done = service.run("provider", "test", name)
    assert done.returncode == 1, done.stderr
    assert told in done.stdout
    assert service.ask("provider", "remove", name)["name"] == name


def test_key_of_the_file_is_the_gateways_alone(tmp_path: Path, provider: Provider) -> None:
    """The control plane tries such a provider without one: it has none, and shows nothing that looks like one."""
    config = f"""
[[providers]]
name = "up"
base_url = "{provider.url}"
api_key_env = "UP_KEY"
[[models]]
name = "m"
context_window = 4096
price = {{input = "0", output = "0"}}
routes = [{{provider = "up", model = "up-1"}}]
[engine]
enabled = false
"""
    with serving(tmp_path, config, {"UP_KEY": SECRET}) as service:
        assert service.chat({"model": "m"})[0] == 200
        assert provider.keys[-1] == f"Bearer {SECRET}"
        tried = service.run("provider", "test", "up")
        assert (tried.returncode, "Its key was not tried" in tried.stdout) == (0, True), tried.stdout
        assert provider.keys[-1] is None


def test_another_address_has_no_secret(service: Service, operator: Browser, provider: Provider, added: str) -> None:
    """What was meant for one host is not sent to another; typed again, it is sent there."""
    page = f"{_PATH}/providers/one/real"
    other = provider.url.replace("127.0.0.1", "localhost")
    assert operator.submit(page, replicas=other).status == 303
    assert "<dt>Key</dt><dd>none</dd>" in operator.open(page).text
    wait_until(lambda: service.chat({"model": added})[0] == 200 and provider.keys[-1] is None)
    assert operator.submit(page, replicas=other, secret=SECRET).status == 303
    wait_until(lambda: service.chat({"model": added})[0] == 200 and provider.keys[-1] == f"Bearer {SECRET}")
    assert service.ask("audit", "list")[1]["detail"]["secret"] == "dropped with the address"


def test_gateway_opens_what_was_sealed_after_a_restart(service: Service, provider: Provider, added: str) -> None:
    """Also while the control plane is down: the secret is on its disk, sealed, and the key beside it."""
    service.kill("control")
    service.kill("gateway")
    wait_until(lambda: _is_served(service, added), 20)
    assert provider.keys[-1] == f"Bearer {SECRET}"


def _is_served(service: Service, model: str) -> bool:
    try:
        return service.chat({"model": model})[0] == 200
    except OSError:
        return False


def test_wrong_field_is_told_and_nothing_is_lost(operator: Browser) -> None:
    """At the field, with a 400; the key alone is not given back."""
    answer = operator.submit(f"{_PATH}/providers/new", name="x y", replicas="https://kept.example", secret=SECRET)
    assert (answer.status, "https://kept.example" in answer.text, SECRET in answer.text) == (400, True, False)
    assert "letters, digits, dots" in answer.text
    wish = {"name": "gone", "provider": "engine", "upstream": "kept-name", "weight": "much"}
    answer = operator.submit(f"{_PATH}/models/new", **wish)
    assert (answer.status, "kept-name" in answer.text, "weight must be" in answer.text) == (400, True, True)
    assert operator.submit(f"{_PATH}/plans", name="No", rpm="1", tpm="1", concurrent="1").status == 400


def test_price_is_set_seen_and_reset(service: Service, operator: Browser, added: str) -> None:
    """From now on and from a later minute on; its history stays."""
    page = f"{_PATH}/prices/one?model={added}"
    assert operator.submit(f"{_PATH}/prices/one", page=page, model=added, input="3", output="4").status == 200
    later = operator.submit(
        f"{_PATH}/prices/one", page=page, model=added, input="5", output="6", begins="2031-01-01T00:00"
    )
    assert [state in later.text for state in ("past", "in force", "future")] == [True] * 3
    wait_until(lambda: service.chat({"model": added})[2]["x-techstone-cost"] == "0.000035")
    assert operator.submit(f"{_PATH}/prices/reset", page=page, name=added).status == 200
    wait_until(lambda: service.chat({"model": added})[2]["x-techstone-cost"] == "0.000013")


def test_plan_is_in_force_within_five_seconds(service: Service, operator: Browser) -> None:
    """New, for an account; then with other numbers, without a restart."""
    plan = {"name": "team", "rpm": "7", "tpm": "100000", "concurrent": "3", "billing": "postpaid"}
    assert operator.submit(f"{_PATH}/plans", **plan).status == 303
    service.ask("account", "create", "team@example.com", "--plan", "team")
    key = service.ask("key", "create", "--account", "team@example.com")["key"]
    header = "x-ratelimit-limit-requests"
    wait_until(lambda: service.get("/v1/models", key)[2].get(header) == "7", 5)
    assert operator.submit(f"{_PATH}/plans/change", page=f"{_PATH}/plans", **plan | {"rpm": "9"}).status == 303
    assert wait_until(lambda: service.get("/v1/models", key)[2].get(header) == "9", 5) < 5
    refused = operator.submit(f"{_PATH}/plans/remove", page=f"{_PATH}/plans", name="team")
    assert (refused.status, "team@example.com" in refused.text) == (400, True)


def test_sign_up_is_switched_at_once(service: Service, operator: Browser) -> None:
    """Off by the file's default, on for strangers with the switch, off again by default; noted."""
    stranger = Browser(service)
    for on, there in (("true", True), ("", False)):
        fields = {"on": on} if on else {}
        assert operator.submit(f"{_PATH}/switches", name="sign_up", **fields).status == 303
        assert ("Open an account" in stranger.open("/console/log-in").text) is there
    assert service.ask("audit", "list", "--action", "switch")[0]["detail"] == {"to": "default"}


def ask(service: Service, key: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{service.url}/api/v1/operate{path}", None if body is None else json.dumps(body).encode(), method=method
    )
    request.add_header("Authorization", f"Bearer {key}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_operator_key_runs_the_cloud_and_no_other_does(service: Service, operator: Browser, provider: Provider) -> None:
    """Made in the Console, shown once; an ordinary admin key gets 403, the operator key cannot infer."""
    made = operator.submit(f"{_PATH}/keys", name="provisioning", expires="30d")
    found = re.search(r'<code id="made">(ts_admin_\w+)</code>', made.text)
    assert found is not None
    key = found[1]
    assert key not in operator.open(f"{_PATH}/keys").text
    admin = service.ask("key", "create", "--account", "owner@localhost", "--admin")["key"]
    everything = ("/accounts", "/codes", "/providers", "/catalog", "/prices", "/plans", "/switches", "/audit")
    for path in everything:
        assert ask(service, key, "GET", path)[0] == 200, path
        assert [ask(service, other, "GET", path)[0] for other in (admin, service.key, "x")] == [403, 403, 401], path
    assert service.chat(key=key)[0] == 403
    status, made_provider = ask(service, key, "POST", "/providers", {"name": "api", "base_url": provider.url})
    assert (status, made_provider["secret"]) == (201, None)
    route = {"provider": "api", "model": "up-1"}
    wish = {"name": "by/api", "routes": [route], "input": "0", "output": "0"}
    assert ask(service, key, "POST", "/catalog", wish)[0] == 201
    for query in ("limit=0", "limit=-1", f"limit={10**30}", f"before={10**30}", "before=0"):
        assert ask(service, key, "GET", f"/audit?{query}")[0] == 400, query
    status, refused = ask(service, key, "POST", "/catalog", wish | {"name": "three", "context_window": 10**400})
    assert (status, refused["error"]["param"]) == (400, "context_window"), refused
    assert wait_until(lambda: service.chat({"model": "by/api"})[0] == 200, 5) < 1
    status, refused = ask(service, key, "POST", "/catalog", wish | {"name": "two", "routes": []})
    assert (status, refused["error"]["param"]) == (400, "routes")
    entry = service.ask("audit", "list", "--action", "model")[0]
    assert (entry["actor_kind"], entry["target"]) == ("admin key", "by/api")
    # Who holds an ordinary admin key of the account, or sits in it, cannot take the operator's key over.
    own = next(one["id"] for one in service.ask("key", "list") if one["kind"] == "operator")
    lifted = b'{"ips": null, "expires": "1s"}'
    for step, body in (("/rotate", b"{}"), ("/revoke", b""), ("/disable", b""), ("/enable", b""), ("", lifted)):
        method = "POST" if step else "PATCH"
        request = urllib.request.Request(f"{service.url}/api/v1/keys/{own}{step}", body, method=method)
        request.add_header("Authorization", f"Bearer {admin}")
        request.add_header("Content-Type", "application/json")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(request)
        form = {} if step else {"name": "mine", "expires": "1d"}
        assert operator.submit(f"/console/keys/{own}{step}", page="/console/keys", **form).status == 404
    assert "<form" not in operator.open(f"/console/keys/{own}").text.split("<main")[1]
    assert operator.submit(f"{_PATH}/keys/{own}/revoke", page=f"{_PATH}/keys").status == 303
    assert ask(service, key, "GET", "/plans")[0] == 401


def test_new_key_names_a_model_that_it_may_use(service: Service, operator: Browser, provider: Provider) -> None:
    """And stands where none of them is on offer: it is shown this once, and was lost by an error 500."""
    key = service.ask("key", "create", "--account", "owner@localhost", "--operator")["key"]
    assert ask(service, key, "POST", "/providers", {"name": "own", "base_url": provider.url})[0] == 201
    route = {"provider": "own", "model": "up-1"}
    assert (
        ask(service, key, "POST", "/catalog", {"name": "by/own", "routes": [route], "input": "0", "output": "0"})[0]
        == 201
    )
    fields = {"name": "bound", "models": "by/own"}
    assert '"model": "by/own"' in html.unescape(operator.submit("/console/keys/new", **fields).text)
    bound = next(one["id"] for one in service.ask("key", "list") if one["name"] == "bound")
    assert ask(service, key, "POST", "/catalog/switch", {"name": "by/own", "on": False})[0] == 200
    shown = operator.submit(f"/console/keys/{bound}/rotate", page="/console")
    assert (shown.status, "nothing to try yet" in shown.text) == (200, True)
    assert re.search(r"ts_live_\w{46}", shown.text)


def test_pages_are_for_operators_alone(service: Service, operator: Browser) -> None:
    """A member who runs nothing is refused on every page."""
    before = time.time()
    operator.submit("/console/people", email="vic@example.com", role="admin")
    folder = service.folder / "data" / "outbox"
    wait_until(lambda: any(path.stat().st_mtime > before for path in folder.glob("*.eml")))
    newest = max(folder.glob("*.eml"), key=os.path.getmtime).read_text().replace("=\n", "")
    link = re.search(r"/console/link/[\w-]+", newest)
    assert link is not None
    member = Browser(service)
    assert member.submit(link[0], password=PASSWORD).status == 303
    for page in ("providers", "providers/new", "providers/one/real", "models", "models/new", "models/one?name=mine",
                 "prices", "prices/one?model=mine", "plans", "switches", "keys"):  # fmt: skip
        assert member.open(f"{_PATH}/{page}").status == 403, page
    assert member.submit(f"{_PATH}/switches", page="/console/keys", name="sign_up", on="true").status == 403


def test_command_line_works_without_a_service(tmp_path_factory: pytest.TempPathFactory) -> None:
    """On the database itself: a key by standard input, a model by its routes, and what is wrong by its field."""
    service = Service(tmp_path_factory.mktemp("offline"))
    command = [sys.executable, "-m", "techstone", "provider", "add", "off", "https://up.example/v1", "--secret-stdin"]
    done = subprocess.run(
        command, cwd=service.folder, env=service.environment, input=SECRET, text=True, capture_output=True, check=False
    )
    assert (done.returncode, SECRET in done.stdout + done.stderr) == (0, False), done.stderr
    made = service.ask("model", "add", "a/b", "--route", "off/x/y,2,1", "--input", "1", "--output", "2")
    assert made["routes"] == [{"provider": "off", "model": "x/y", "weight": 2, "priority": 1}]
    assert "a/b" in {model["name"] for model in service.ask("model", "list")}
    cluster = ("--kind", "vllm", "--replica", "https://a.example/v1", "--replica", "https://b.example/v1,2")
    added = service.ask("provider", "add", "gpu", *cluster, "--routing", "least-busy")
    assert (added["kind"], added["routing"]) == ("vllm", "least-busy")
    assert [(one["base_url"][8], one["weight"]) for one in added["replicas"]] == [("a", 1), ("b", 2)]
    changed = service.ask("provider", "set", "gpu", "--replica", "https://c.example/v1", "--kind", "sglang")
    assert (changed["base_url"], changed["replicas"], changed["routing"]) == ("https://c.example/v1", [], "least-busy")
    service.ask("provider", "remove", "gpu")
    refused = service.run("provider", "add", "near", "http://10.0.0.1/v1")
    assert (refused.returncode, "private_providers" in refused.stderr) == (1, True)
    assert service.run("provider", "remove", "off").returncode == 1
    assert service.ask("model", "set", "a/b", "--route", "off/z")["input"] == "1.00"
    service.ask("model", "remove", "a/b")
    service.ask("provider", "remove", "off")
