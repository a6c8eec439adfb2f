"""What else an admin key may do for its account over /api/v1: members, audit log, alerts, codes, cap, a request."""

from __future__ import annotations

import json
import urllib.request
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest
from forms import PASSWORD, Browser, claim, letters, newest_link
from service import Service, serving, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = "owner@localhost"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("account")) as running:
        claim(running, "ann@example.com")
        yield running


@pytest.fixture(scope="module")
def admin(service: Service) -> str:
    return str(service.ask("key", "create", "--account", OWNER, "--admin", "--name", "ops")["key"])


def call(service: Service, key: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(service.url + path, data, {"Content-Type": "application/json"}, method=method)
    status, text, _ = service._send(request, key)
    return status, json.loads(text)


def test_member_is_invited_changed_and_removed(service: Service, admin: str) -> None:
    """By letter; an admin key acts as an admin does, so it makes and changes no owner."""
    before = len(letters(service))
    status, sent = call(service, admin, "POST", "/api/v1/members", {"email": "Vic@example.com", "role": "viewer"})
    assert (status, sent) == (201, {"object": "invitation", "email": "vic@example.com", "role": "viewer"})
    viewer = Browser(service)
    assert viewer.submit(newest_link(service, before + 1), password=PASSWORD).status == 303
    ann, vic = sorted(call(service, admin, "GET", "/api/v1/members")[1]["data"], key=itemgetter("email"))
    assert [(one["email"], one["role"]) for one in (ann, vic)] == [
        ("ann@example.com", "owner"),
        ("vic@example.com", "viewer"),
    ]
    assert call(service, admin, "PATCH", f"/api/v1/members/{vic['person']}", {"role": "member"})[1]["role"] == "member"
    assert viewer.open("/console/keys/new").status == 200
    for method, path, body in (
        ("POST", "/api/v1/members", {"email": "x@example.com", "role": "owner"}),
        ("PATCH", f"/api/v1/members/{vic['person']}", {"role": "owner"}),
        ("PATCH", f"/api/v1/members/{ann['person']}", {"role": "viewer"}),
        ("DELETE", f"/api/v1/members/{ann['person']}", None),
        ("POST", "/api/v1/members", {"email": "nobody", "role": "viewer"}),
    ):
        assert call(service, admin, method, path, body)[0] == 400
    assert call(service, admin, "DELETE", f"/api/v1/members/{vic['person']}")[0] == 200
    status, told = call(service, admin, "DELETE", f"/api/v1/members/{vic['person']}")
    assert (status, told["error"]["code"]) == (404, "member_not_found")
    assert "You belong to no account" in viewer.open("/console").text


def test_audit_log_of_the_account_is_read_page_by_page(service: Service, admin: str) -> None:
    """By kind; what the key itself does is in it under the key's name."""
    for name in ("a", "b", "c"):
        assert call(service, admin, "POST", "/api/v1/projects", {"name": name})[0] == 201
    status, page = call(service, admin, "GET", "/api/v1/audit?action=project&limit=2")
    assert (status, page["has_more"], len(page["data"])) == (200, True, 2)
    assert {entry["actor_kind"] for entry in page["data"]} == {"admin key"}
    rest = call(service, admin, "GET", f"/api/v1/audit?action=project&before={page['data'][-1]['number']}")[1]
    assert ([entry["detail"]["name"] for entry in rest["data"]], rest["has_more"]) == (["a"], False)
    for query in ("limit=0", "limit=x", "before=-1", "limit=1001"):
        assert call(service, admin, "GET", f"/api/v1/audit?{query}")[0] == 400


def test_code_is_redeemed_and_the_cap_is_set(service: Service, admin: str) -> None:
    """Once; the cap stands in the balance, and a key may lower it: who may raise it is the owner."""
    (code,) = service.ask("code", "create", "3")
    status, told = call(service, admin, "POST", "/api/v1/codes/redeem", {"code": code["code"]})
    assert (status, told["usd"]) == (200, "3.00")
    assert call(service, admin, "POST", "/api/v1/codes/redeem", {"code": code["code"]})[0] == 400
    assert call(service, admin, "PATCH", "/api/v1/balance", {"monthly_cap": "20"})[1]["monthly_cap"] == "20.00"
    for wrong in ("-1", "none", None):
        assert call(service, admin, "PATCH", "/api/v1/balance", {"monthly_cap": wrong})[0] == 400
    assert call(service, admin, "PATCH", "/api/v1/balance", {"monthly_cap": "10"})[1]["monthly_cap"] == "10.00"
    status, told = call(service, admin, "PATCH", "/api/v1/balance", {"monthly_cap": "10.01"})
    assert (status, told["error"]["code"]) == (403, "permission_denied")
    assert call(service, admin, "GET", "/api/v1/balance")[1]["monthly_cap"] == "10.00"
    assert call(service, admin, "GET", "/api/v1/alerts")[1] == {"object": "list", "data": []}


def test_wish_is_no_larger_than_a_wish(service: Service, admin: str) -> None:
    """A prompt may have 20 MB; what is read whole before it is understood may have 1 MiB."""
    status, told = call(service, admin, "POST", "/api/v1/projects", {"name": "x" * 2**20})
    assert (status, told["error"]["code"]) == (413, "request_too_large")
    assert "1048576 bytes" in told["error"]["message"]
    assert call(service, admin, "POST", "/api/v1/projects", {"name": "x" * 2**19})[0] == 400


def test_request_is_shown_in_full(service: Service, admin: str) -> None:
    """With what was asked and answered where its project keeps that, else null."""
    project = service.ask("project", "create", "kept", "--account", OWNER)["id"]
    service.ask("project", "keep", project, "1")
    kept = service.ask("key", "create", "--account", OWNER, "--name", "k", "--project", project)["key"]
    other = service.ask("key", "create", "--account", OWNER, "--name", "o")["key"]

    def ask(key: str) -> Any:  # noqa: ANN401 - any JSON object
        request_id = service.chat(key=key)[2]["x-request-id"]
        path = f"/api/v1/requests/{request_id}"
        wait_until(lambda: call(service, admin, "GET", path)[0] in {200, 401})
        return call(service, admin, "GET", path)[1]

    wait_until(lambda: service.chat(key=other)[0] == 200)
    assert ask(other)["transcript"] is None
    wait_until(lambda: service.chat(key=kept)[0] == 200)

    def is_kept() -> bool:
        found = ask(kept)
        return found["transcript"] is not None and '"messages"' in found["transcript"]["body"]

    wait_until(is_kept, 10, 0.3)
    status, told = call(service, admin, "GET", "/api/v1/requests/req_none")
    assert (status, told["error"]["code"]) == (404, "request_not_found")


def test_other_keys_get_nothing(service: Service) -> None:
    """An inference key administers nothing of it."""
    key = service.ask("key", "create", "--account", OWNER, "--name", "i")["key"]
    for path in ("members", "audit", "alerts", "requests/req_x"):
        wait_until(lambda path=path: call(service, key, "GET", f"/api/v1/{path}")[0] == 403)  # type: ignore[misc]
