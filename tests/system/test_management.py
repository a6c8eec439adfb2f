"""The management API through the gateway, on a real service: admin keys administer and cannot infer."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from service import Service, serving, wait_until

from techstone.app.cli.context import perform

if TYPE_CHECKING:
    from collections.abc import Iterator

ANN = "ann@example.com"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("management")) as service:
        service.ask("account", "create", ANN, "--credit", "10")
        yield service


@pytest.fixture(scope="module")
def admin(service: Service) -> str:
    made = service.ask("key", "create", "--account", ANN, "--admin", "--name", "ops")
    assert made["kind"] == "admin"
    return str(made["key"])


def call(service: Service, key: str | None, method: str, path: str, body: object = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(service.url + path, data, {"Content-Type": "application/json"}, method=method)
    status, text, headers = service._send(request, key)
    if status < 400:
        assert headers["cache-control"] == "no-store"
    return status, json.loads(text)


def hear(service: Service) -> None:
    """Wait until the gateway knows the newest; not by trying a key, which counts as guessing."""
    place = (str(service.folder / "techstone.toml"), str(service.folder / "data"))
    revision = perform(*place, lambda operations: operations.doctor()).revision
    wait_until(lambda: json.loads(service.get("/readyz")[1])["revision"] >= revision)


def test_key_made_here_infers_until_it_is_revoked_here(service: Service, admin: str) -> None:
    """Both are in force within a second; what it took is in the usage and in the balance."""
    status, made = call(service, admin, "POST", "/api/v1/keys", {"name": "app", "rpm": 50, "expires": "1h"})
    assert (status, made["object"], made["kind"], made["name"], made["rpm"]) == (201, "key", "inference", "app", 50)
    wait_until(lambda: service.chat(key=made["key"])[0] == 200)
    wait_until(lambda: call(service, admin, "GET", "/api/v1/requests")[1]["data"] != [])
    (entry,) = call(service, admin, "GET", "/api/v1/requests")[1]["data"]
    assert (entry["key"], entry["state"], entry["status"]) == (made["id"], "settled", 200)
    usage = call(service, admin, "GET", f"/api/v1/usage?since={int(time.time()) - 3600}&by=key")[1]
    assert (usage["object"], [(sums["group"], sums["requests"]) for sums in usage["data"]]) == (
        "list",
        [(made["id"], 1)],
    )
    balance = call(service, admin, "GET", "/api/v1/balance")[1]
    assert (balance["object"], balance["account"], balance["available"], balance["currency"]) == (
        "balance",
        ANN,
        "10.00",
        "USD",
    )
    status, revoked = call(service, admin, "POST", f"/api/v1/keys/{made['id']}/revoke")
    assert (status, revoked["state"]) == (200, "revoked")
    wait_until(lambda: service.chat(key=made["key"])[0] == 401, 1.0)


def test_key_is_good_when_it_is_shown_and_no_more_once_it_is_revoked(service: Service, admin: str) -> None:
    """Programs use a key at once: nothing is waited for between the answer and the next call."""
    for _ in range(50):
        _, made = call(service, admin, "POST", "/api/v1/keys", {})
        assert service.get("/v1/models", made["key"])[0] == 200
        call(service, admin, "POST", f"/api/v1/keys/{made['id']}/revoke")
    # Once: refusals are counted as guesses.
    assert service.get("/v1/models", made["key"])[0] == 401


def test_statement_and_invoices_are_the_accounts_own(service: Service, admin: str) -> None:
    """The statement closes at the ledger's balance; an invoice of nobody is not found; a wrong month is told."""
    status, text, _ = service.get("/api/v1/statements", admin)
    shown = service.ask("account", "show", ANN)
    assert (status, json.loads(text)["closing"]) == (200, shown["credit"])
    assert json.loads(service.get("/api/v1/invoices", admin)[1]) == {"object": "list", "data": []}
    status, text, _ = service.get("/api/v1/invoices/TS-2026-000001", admin)
    assert (status, json.loads(text)["error"]["code"]) == (404, "invoice_not_found")
    for path, field in (
        ("statements?month=2026-13", "month"),
        ("statements?month=", "month"),
        ("invoices?limit=0", "limit"),
    ):
        status, text, _ = service.get(f"/api/v1/{path}", admin)
        assert (status, json.loads(text)["error"]["param"]) == (400, field)
    assert service.get("/api/v1/statements", service.key)[0] == 403


def test_key_is_rotated(service: Service, admin: str) -> None:
    """The new one is shown once, the old one is good for as long as was asked."""
    _, made = call(service, admin, "POST", "/api/v1/keys", {"name": "old"})
    status, fresh = call(service, admin, "POST", f"/api/v1/keys/{made['id']}/rotate", {"overlap": 0})
    assert (status, fresh["replaces"], fresh["name"]) == (201, made["id"], "old")
    listed = {key["id"]: key for key in call(service, admin, "GET", "/api/v1/keys")[1]["data"]}
    assert (listed[made["id"]]["state"], listed[fresh["id"]]["state"]) == ("expired", "active")
    assert "key" not in listed[fresh["id"]]
    assert call(service, admin, "GET", f"/api/v1/keys/{fresh['id']}")[1] == listed[fresh["id"]]


def test_key_is_changed_disabled_and_enabled_here(service: Service, admin: str) -> None:
    """In force within a second; what the body does not name stays, null takes a limit away."""
    wish = {"name": "bound", "rpm": 50, "scopes": ["chat"], "ips": ["127.0.0.1"]}
    _, made = call(service, admin, "POST", "/api/v1/keys", wish)
    path = f"/api/v1/keys/{made['id']}"
    hear(service)
    assert service.chat(key=made["key"])[0] == 200
    assert service.get("/v1/models", made["key"])[0] == 403
    status, changed = call(service, admin, "PATCH", path, {"rpm": None, "scopes": None})
    assert (status, changed["rpm"], changed["scopes"], changed["ips"]) == (200, None, None, ["127.0.0.1"])
    wait_until(lambda: service.get("/v1/models", made["key"])[0] == 200, 1.0)
    assert call(service, admin, "POST", f"{path}/disable")[1]["state"] == "disabled"
    wait_until(lambda: service.chat(key=made["key"])[0] == 403, 1.0)
    assert call(service, admin, "POST", f"{path}/enable")[1]["state"] == "active"
    wait_until(lambda: service.chat(key=made["key"])[0] == 200, 1.0)


def test_projects_are_managed_here(service: Service, admin: str) -> None:
    """Made, renamed, archived; usage by project and of one; another account's is not there."""
    status, project = call(service, admin, "POST", "/api/v1/projects", {"name": "web"})
    assert (status, project["object"], project["keys"]) == (201, "project", 0)
    _, made = call(service, admin, "POST", "/api/v1/keys", {"project": project["id"]})
    hear(service)
    assert service.chat(key=made["key"])[0] == 200
    wait_until(lambda: call(service, admin, "GET", f"/api/v1/usage?project={project['id']}")[1]["data"] != [])
    sums = {row["group"]: row for row in call(service, admin, "GET", "/api/v1/usage?by=project")[1]["data"]}
    (row,) = call(service, admin, "GET", f"/api/v1/usage?by=key&project={project['id']}")[1]["data"]
    assert {**sums[project["id"]], "group": made["id"]} == row
    path = f"/api/v1/projects/{project['id']}"
    status, changed = call(service, admin, "PATCH", path, {"name": "site", "archived": True})
    assert (status, changed["name"], changed["archived"], changed["keys"]) == (200, "site", True, 1)
    assert call(service, admin, "GET", path)[1] == changed
    assert call(service, admin, "GET", "/api/v1/projects")[1]["data"] == [changed]
    theirs = service.ask("project", "create", "x", "--account", "owner@localhost")["id"]
    for method, place, body in (
        ("GET", f"/api/v1/projects/{theirs}", None),
        ("PATCH", f"/api/v1/projects/{theirs}", {"archived": True}),
        ("GET", f"/api/v1/usage?project={theirs}", None),
        ("POST", "/api/v1/keys", {"project": theirs}),
    ):
        status, answer = call(service, admin, method, place, body)
        assert (status, answer["error"]["code"]) == (404, "project_not_found")


def test_neither_key_does_the_others_work(service: Service, admin: str) -> None:
    """403, with a code that says which is needed; nothing is served."""
    status, answer, _ = service.chat(key=admin)
    assert (status, answer["error"]["code"]) == (403, "inference_key_required")
    for method, path in (("GET", "/api/v1/keys"), ("POST", "/api/v1/keys"), ("GET", "/api/v1/balance")):
        status, answer = call(service, service.key, method, path, {} if method == "POST" else None)
        assert (status, answer["error"]["code"]) == (403, "admin_key_required")
        assert call(service, None, method, path, {} if method == "POST" else None)[0] == 401


@pytest.mark.parametrize(
    ("asked", "body", "status", "param"),
    [
        ("POST /api/v1/keys", {"nam": "x"}, 400, None),
        ("POST /api/v1/keys", {"models": ["none"]}, 400, "models[0]"),
        ("POST /api/v1/keys", {"rpm": 0}, 400, "rpm"),
        ("POST /api/v1/keys", {"kind": "root"}, 400, "kind"),
        ("POST /api/v1/keys", {"scopes": ["root"]}, 400, "scopes[0]"),
        ("POST /api/v1/keys", {"ips": ["127.0.0.1", "::g"]}, 400, "ips[1]"),
        ("PATCH /api/v1/keys/key_none", {"rpm": 1}, 404, "key"),
        ("PATCH /api/v1/keys/key_none", None, 400, None),
        ("POST /api/v1/keys/key_none/disable", None, 404, "key"),
        ("POST /api/v1/projects", {}, 400, None),
        ("POST /api/v1/projects", {"name": ""}, 400, "name"),
        ("PATCH /api/v1/projects/proj_none", {"name": "x"}, 404, "project"),
        ("POST /api/v1/keys", None, 400, None),
        ("POST /api/v1/keys/key_none/revoke", None, 404, "key"),
        ("GET /api/v1/usage?by=colour", None, 400, "by"),
        ("GET /api/v1/usage?since=yesterday", None, 400, "since"),
        ("GET /api/v1/usage?since=null", None, 400, "since"),
        ("GET /api/v1/requests?limit=0", None, 400, "limit"),
        ("GET /api/v1/requests?limit=1&limit=2", None, 400, "limit"),
        ("GET /api/v1/nothing", None, 404, None),
        ("PUT /api/v1/keys", {}, 405, None),
    ],
)
def test_what_cannot_be_done_is_told_by_field(
    service: Service, admin: str, asked: str, body: object, status: int, param: str | None
) -> None:
    """In the one form of errors, never a 500."""
    method, path = asked.split(" ")
    found, answer = call(service, admin, method, path, body)
    assert (found, answer["error"]["param"]) == (status, param), answer


def test_guesses_of_admin_keys_are_counted_with_those_of_keys(service: Service, admin: str) -> None:
    """Twenty a minute of an address, whatever they are sent to; the right key passes all the same (row A-2)."""
    statuses = [call(service, f"ts_admin_{'0' * 46}", "GET", "/api/v1/balance")[0] for _ in range(25)]
    assert statuses == [401] * statuses.index(429) + [429] * (25 - statuses.index(429))
    assert 15 <= statuses.index(429) <= 20
    assert service.chat(key="ts_live_wrong")[0] == 429
    assert call(service, admin, "GET", "/api/v1/balance")[0] == 200


def test_stranger_learns_nothing_of_what_a_body_should_hold(service: Service) -> None:
    """Who asks comes before what is asked."""
    assert call(service, None, "POST", "/api/v1/keys", {"nam": 1})[0] == 401
