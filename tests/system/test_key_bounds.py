"""What keys are bound to, on a real service: each refusal is there within a second, and gone within another."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from service import Service, serving, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = "owner@localhost"
# A client may say which address it comes from.
_TRUST = "[server]\ntrusted_proxies = ['127.0.0.1']\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("bounds"), _TRUST) as service:
        yield service


def make(service: Service, *options: str) -> dict[str, Any]:
    made: dict[str, Any] = service.ask("key", "create", "--account", OWNER, *options)
    wait_until(lambda: service.get("/v1/models", made["key"])[0] != 401)
    return made


def knock(service: Service, key: str, address: str, path: str = "/v1/models") -> tuple[int, str | None, str]:
    """Return status, code and message of an answer to a client of that address."""
    request = urllib.request.Request(service.url + path, headers={"X-Forwarded-For": address})
    status, text, _ = service._send(request, key)
    error = json.loads(text).get("error") or {}
    return status, error.get("code"), error.get("message", "")


def test_disabled_key_is_refused_until_it_is_enabled(service: Service) -> None:
    """Within a second; told as what it is, and not counted as a guess; revoked, it is no more than a wrong one."""
    made = make(service)
    assert service.chat(key=made["key"])[0] == 200
    assert service.ask("key", "disable", made["id"])["state"] == "disabled"
    wait_until(lambda: service.chat(key=made["key"])[0] == 403, 1.0)
    answers = [service.chat(key=made["key"]) for _ in range(25)]
    assert {(status, answer["error"]["code"]) for status, answer, _ in answers} == {(403, "key_disabled")}
    assert service.ask("key", "enable", made["key"])["state"] == "active"
    wait_until(lambda: service.chat(key=made["key"])[0] == 200, 1.0)
    service.ask("key", "disable", made["id"])
    service.ask("key", "revoke", made["id"])
    wait_until(lambda: service.chat(key=made["key"])[0] == 401, 1.0)


def test_key_of_a_scope_does_nothing_else(service: Service) -> None:
    """On each route, with and without /v1; changed, it may the next second."""
    made = make(service, "--scopes", "models")
    key = made["key"]
    assert service.get("/v1/models", key)[0] == service.get("/models/tiny", key)[0] == 200
    for path in ("/v1/limits", "/limits"):
        status, text, _ = service.get(path, key)
        assert (status, json.loads(text)["error"]["code"]) == (403, "missing_scope")
    status, answer, _ = service.chat(key=key)
    assert (status, answer["error"]["code"]) == (403, "missing_scope")
    assert "`chat`" in answer["error"]["message"]
    assert service.ask("key", "set", made["id"], "--scopes", "chat,limits")["scopes"] == ["chat", "limits"]
    wait_until(lambda: service.get("/v1/models", key)[0] == 403, 1.0)
    assert service.chat(key=key)[0] == service.get("/v1/limits", key)[0] == 200
    assert service.ask("key", "set", made["id"], "--scopes", "all")["scopes"] is None
    wait_until(lambda: service.get("/v1/models", key)[0] == 200, 1.0)


def test_key_is_good_from_its_addresses_alone(service: Service) -> None:
    """By the address that a trusted proxy names; the refusal does not tell the list; changed, within a second."""
    made = make(service, "--ips", "192.0.2.77/24,2001:db8::/32")
    key = made["key"]
    assert made["ips"] == ["192.0.2.0/24", "2001:db8::/32"]
    for address in ("192.0.2.9", "2001:db8::1", "::ffff:192.0.2.1"):
        assert knock(service, key, address)[0] == 200
    for address in ("198.51.100.7", "2001:db9::1", "127.0.0.1"):
        status, code, message = knock(service, key, address)
        assert (status, code) == (403, "ip_not_authorized")
        assert "192.0.2" not in message
    assert service.ask("key", "set", made["id"], "--ips", "198.51.100.7")["ips"] == ["198.51.100.7"]
    wait_until(lambda: knock(service, key, "198.51.100.7")[0] == 200, 1.0)
    assert knock(service, key, "192.0.2.9")[0] == 403
    assert service.ask("key", "set", made["id"], "--ips", "any")["ips"] is None
    wait_until(lambda: knock(service, key, "192.0.2.9")[0] == 200, 1.0)


def test_admin_key_is_bound_to_addresses_too(service: Service) -> None:
    """At the management API; disabled it is refused there."""
    made = service.ask("key", "create", "--account", OWNER, "--admin", "--ips", "192.0.2.9")
    path = "/api/v1/balance"
    assert knock(service, made["key"], "192.0.2.9", path)[0] == 200
    assert knock(service, made["key"], "192.0.2.8", path)[:2] == (403, "ip_not_authorized")
    service.ask("key", "disable", made["id"])
    assert knock(service, made["key"], "192.0.2.9", path)[:2] == (403, "key_disabled")


def test_changed_settings_are_in_force_within_a_second(service: Service) -> None:
    """Limits, models, end; what is not named stays; what is wrong is told by its option's name."""
    made = make(service, "--rpm", "1", "--name", "app")
    changed = service.ask("key", "set", made["id"], "--rpm", "none", "--models", "tiny", "--expires", "1h")
    assert (changed["name"], changed["rpm"], changed["models"]) == ("app", None, ["tiny"])
    wait_until(lambda: service.chat({"model": "tiny"}, key=made["key"])[0] == 200, 1.0)
    assert service.chat({"model": "tiny"}, key=made["key"])[0] == 200
    assert service.ask("key", "set", made["id"], "--expires", "1s", "--models", "all")["models"] is None
    wait_until(lambda: service.chat(key=made["key"])[0] == 401, 3.0)
    for options, words in (
        (("--ips", "here"), "`here` is neither an address nor a network"),
        (("--scopes", "chat,all"), "there is no scope `all`"),
        (("--rpm", "x"), "whole number"),
        (("--project", "proj_x"), "no such project"),
    ):
        done = service.run("key", "set", make(service)["id"], *options)
        assert done.returncode != 0
        assert words in re.sub(r"\s+", " ", done.stderr)


def test_usage_is_told_by_project(service: Service) -> None:
    """On the command line: made, renamed, archived, restored; its keys' sums are what they used."""
    project = service.ask("project", "create", "web", "--account", OWNER)
    made = make(service, "--project", project["id"])
    for _ in range(3):
        assert service.chat(key=made["key"])[0] == 200
    wait_until(lambda: service.gauge("techstone_journal_waiting_bytes") == 0)
    by_key = {row["group"]: row for row in service.ask("usage", "--account", OWNER, "--by", "key")}
    by_project = {row["group"]: row for row in service.ask("usage", "--account", OWNER, "--by", "project")}
    assert {**by_project[project["id"]], "group": made["id"]} == by_key[made["id"]]
    assert service.ask("project", "rename", project["id"], "site")["name"] == "site"
    assert service.ask("project", "archive", project["id"])["archived"]
    assert service.run("key", "create", "--account", OWNER, "--project", project["id"]).returncode == 1
    assert not service.ask("project", "restore", project["id"])["archived"]
    (listed,) = service.ask("project", "list", "--account", OWNER)
    assert (listed["name"], listed["keys"]) == ("site", 1)
    assert service.ask("key", "set", made["id"], "--project", "none")["project"] is None
    assert service.run("usage", "--project", project["id"]).returncode == 2
