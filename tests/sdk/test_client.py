"""What a client is made of: arguments, the environment, copies; and what it keeps to itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest
from tests.sdk.test_matrix import settle

if TYPE_CHECKING:
    from tests.sdk.conftest import Recorder

import techstoneai
from techstoneai import AsyncTechStoneAI, TechStoneAI

BOTH = pytest.mark.parametrize("kind", [TechStoneAI, AsyncTechStoneAI])
Kind = type[TechStoneAI] | type[AsyncTechStoneAI]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://h/v1", "https://h/v1/"),
        ("https://h/v1/", "https://h/v1/"),
        ("https://h", "https://h/v1/"),
        ("https://h/", "https://h/v1/"),
        ("https://h/gateway/v1", "https://h/gateway/v1/"),
        ("https://h/gateway/", "https://h/gateway/v1/"),
        ("http://127.0.0.1:8000\n", "http://127.0.0.1:8000/v1/"),
        ("http://[::1]:8000/v1//", "http://[::1]:8000/v1/"),
        (httpx2.URL("https://h/v1"), "https://h/v1/"),
    ],
)
def test_base_url_in_every_form(given: str | httpx2.URL, used: str) -> None:
    """With or without /v1, slash or prefix: requests go to the same place, management beside it."""
    client = TechStoneAI(api_key="k", admin_key="a", base_url=given)
    assert str(client.base_url) == used
    assert str(client.copy().base_url) == used
    assert techstoneai._settings.locate_management(client.base_url, "keys") == used.removesuffix("v1/") + "api/v1/keys"


@pytest.mark.parametrize(
    "given", ["my.host/v1", "ftp://my.host", "https:///v1", "https://h/v1?a=b", "https://[::1", "ts_live_x"]
)
def test_base_url_that_cannot_be_one_is_refused(given: str) -> None:
    """At once, saying how one looks, and without repeating what may be a secret in the wrong place."""
    with pytest.raises(techstoneai.InvalidBaseURLError, match="for example https://") as refused:
        TechStoneAI(api_key="k", base_url=given)
    assert given not in str(refused.value)


@BOTH
def test_environment_stands_in_for_arguments(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """None as the product's documents pass it, or nothing at all; the more special name of the base URL wins."""
    monkeypatch.setenv("TECHSTONE_API_KEY", "from-environment\n")
    monkeypatch.setenv("TECHSTONE_ADMIN_KEY", "admin-from-environment")
    monkeypatch.setenv("API_BASE_URL", "https://general")
    for client in (kind(), kind(api_key=None, base_url=None), kind(base_url=openai.NOT_GIVEN)):
        assert (client.api_key, client.admin_key) == ("from-environment", "admin-from-environment")
        assert str(client.base_url) == "https://general/v1/"
    monkeypatch.setenv("TECHSTONE_BASE_URL", "https://special/v1")
    assert str(kind().base_url) == "https://special/v1/"
    client = kind(api_key="k", admin_key="a", base_url="https://argument")
    assert (client.api_key, client.admin_key, str(client.base_url)) == ("k", "a", "https://argument/v1/")


@BOTH
@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_BASE_URL", "TECHSTONE_API_KEY"])
def test_missing_key_is_said_clearly(kind: Kind, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which argument, which variable; OpenAI's own variables do not count, nor does an empty one."""
    monkeypatch.setenv(name, "" if name.startswith("TECHSTONE") else "sk-openai")
    with pytest.raises(openai.OpenAIError, match=r"api_key=.*TECHSTONE_API_KEY"):
        kind(base_url="https://h")
    with pytest.raises(techstoneai.MissingAPIKeyError):
        kind(base_url="https://h", api_key="")


@BOTH
def test_missing_base_url_is_said_clearly(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which argument, which variables, and how one looks."""
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
    with pytest.raises(
        techstoneai.MissingBaseURLError, match=r"base_url=.*TECHSTONE_BASE_URL or API_BASE_URL.*https://"
    ):
        kind(api_key="k")


@BOTH
async def test_client_with_an_admin_key_alone(kind: Kind) -> None:
    """It can be made; a question to a model is refused before it is sent. With the other key it is the other way."""
    chat: dict[str, Any] = {"model": "m", "messages": []}
    admin = kind(admin_key="a", base_url="http://127.0.0.1:9")
    for client in (admin, admin.copy()):
        assert (client.api_key, client.admin_key) == ("", "a")
        with pytest.raises(techstoneai.MissingAPIKeyError):
            await settle(client.chat.completions.create(**chat))
    ordinary = kind(api_key="k", base_url="http://127.0.0.1:9")
    usage = (ordinary.usage.list, ordinary.usage.requests)
    for call in (ordinary.keys.list, ordinary.projects.list, *usage, ordinary.balance.retrieve):
        with pytest.raises(techstoneai.MissingAdminKeyError, match=r"projects, .*admin_key=.*TECHSTONE_ADMIN_KEY"):
            await settle(call())


@BOTH
def test_copy_keeps_all_but_what_is_given(kind: Kind) -> None:
    """Same class, same connections; both names of the admin key."""
    client = kind(api_key="k", admin_key="a", base_url="https://h/p", max_retries=5, organization="o")
    copy = client.copy(timeout=3)
    assert type(copy) is kind
    assert (copy.api_key, copy.admin_key, copy.organization, copy.max_retries, copy.timeout) == ("k", "a", "o", 5, 3)
    assert copy._client is client._client
    assert client.with_options(admin_key="b").admin_key == "b"
    assert client.with_options(admin_api_key="c").admin_key == "c"
    other = client.with_options(api_key="l", base_url="https://i")
    assert (other.api_key, str(other.base_url)) == ("l", "https://i/v1/")
    client.admin_key = "d"
    assert client.copy().admin_api_key == "d"


@BOTH
async def test_nothing_that_is_meant_for_openai_is_sent(
    kind: Kind, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys, organization, project and headers of OPENAI_ variables stay; what the caller gives goes."""
    recorder.answer({"object": "list", "data": []})
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID"):
        monkeypatch.setenv(f"OPENAI_{name}", "openai-secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer openai-secret\nX-Custom: openai-secret")
    client = kind(api_key="ours", base_url=recorder.url, project="p", default_headers={"X-Mine": "1"})
    await settle(client.models.list())
    await settle(client.copy().models.list())
    await settle(client.close())
    for request in recorder.received:
        assert "openai-secret" not in str(request)
        assert request.headers["authorization"] == "Bearer ours"
        assert (request.headers["openai-project"], request.headers["x-mine"]) == ("p", "1")
        assert request.headers["user-agent"] == f"{kind.__name__}/Python {techstoneai.__version__}"


@BOTH
async def test_key_that_is_fetched_before_each_request(kind: Kind, recorder: Recorder) -> None:
    """As in openai, `api_key` may be a function; of the async client, an async one."""
    recorder.answer({"object": "list", "data": []})
    keys = iter(["one", "two"])

    async def fetch() -> str:
        return next(keys)

    client = kind(api_key=fetch if kind is AsyncTechStoneAI else lambda: next(keys), base_url=recorder.url)  # type: ignore[arg-type] # each its kind
    for _ in range(2):
        await settle(client.models.list())
    await settle(client.close())
    assert [request.headers["authorization"] for request in recorder.received] == ["Bearer one", "Bearer two"]


@BOTH
def test_no_secret_is_shown(kind: Kind) -> None:
    """Not by the client, not by a new key."""
    client = kind(api_key="ts_live_secret", admin_key="ts_admin_secret", base_url="https://h")
    created = techstoneai.CreatedKey.construct(id="key_1", key="ts_live_secret", kind="inference")
    assert created.key == "ts_live_secret"
    for shown in (repr(client), str(client), repr(client.keys), repr(client.chat), repr(created), str(created)):
        assert "secret" not in shown
    assert "key_1" in repr(created)


def test_module_exports_what_openai_does() -> None:
    """Every public name of openai but its own clients, the same objects; all sorted; nothing else."""
    own = {"OpenAI", "AsyncOpenAI", "BedrockOpenAI", "AsyncBedrockOpenAI", "Client", "AsyncClient"}
    for name in set(openai.__all__) - own - {"__version__", "__title__"}:
        assert getattr(techstoneai, name) is getattr(openai, name), name
    for name in ("APIResponse", "AsyncAPIResponse", "HttpxBinaryResponseContent", "pydantic_function_tool"):
        assert getattr(techstoneai, name) is getattr(openai, name), name
    names = techstoneai.__all__
    assert len(set(names)) == len(names)
    assert {name for name in names if getattr(techstoneai, name) is None} == set()
    assert (techstoneai.Client, techstoneai.AsyncClient) == (TechStoneAI, AsyncTechStoneAI)
    assert set(names) <= set(dir(techstoneai))
    with pytest.raises(AttributeError, match="OpenAI"):
        _ = techstoneai.OpenAI  # type: ignore[attr-defined] # ours has no such name
    exceptions = {name for name in dir(openai._exceptions) if name.endswith("Error") and hasattr(openai, name)}
    assert exceptions <= set(names)


def test_import_adds_little_to_openai() -> None:
    """`import techstoneai` loads a handful of modules beyond `import openai`, and no resource before it is used."""
    program = (
        "import sys, json, openai; before = set(sys.modules); import techstoneai;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=dict(os.environ)
    )
    loaded = set(json.loads(done.stdout))
    assert {name for name in loaded if not name.startswith("techstoneai")} <= {"decimal", "_decimal", "numbers"}
    later = {f"techstoneai._{name}" for name in ("estimate", "keys", "limits", "terminal", "usage")}
    assert not later & loaded
