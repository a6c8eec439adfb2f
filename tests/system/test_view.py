"""View tickets and refusals over HTTP, behind the real gateway: whose limits a page may see, and what it is told."""

from __future__ import annotations

import json
import re
import sqlite3
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
from forms import Browser, claim, join
from service import Service, serving, wait_until

from techstone.core import tickets
from techstone.core.tickets import Ticket

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("view"), "[console]\nsign_up = true\n") as running:
        yield running


@pytest.fixture(scope="module")
def owner(service: Service) -> Browser:
    return claim(service, "ann@example.com")


@pytest.fixture(scope="module")
def key(service: Service, owner: Browser) -> str:
    assert owner.open("/console").status == 200
    made = service.ask("key", "create", "--account", "owner@localhost", "--name", "narrow", "--rpm", "2")
    return str(made["key"])


def secret_of(service: Service) -> bytes:
    with sqlite3.connect(service.folder / "data" / "techstone.db") as database:
        return bytes(database.execute("SELECT value FROM secrets WHERE name = 'view'").fetchone()[0])


def test_ticket_of_the_page_shows_the_account_and_its_keys(service: Service, owner: Browser, key: str) -> None:
    """Live, in the gateway's own counts; also by HEAD, and with headers as for a key."""
    assert service.chat(key=key)[0] == 200
    ticket = json.loads(owner.open("/console/limits/ticket").text)
    assert 0 < ticket["seconds"] <= 300
    status, text, headers = service.get("/v1/limits", ticket["ticket"])
    seen = json.loads(text)
    assert (status, seen["object"], seen["account"]["requests"]["used"]) == (200, "account_limits", 1)
    assert [one["limits"]["requests"]["used"] for one in seen["keys"]] == [1]
    assert headers["x-ratelimit-limit-requests"] == str(seen["account"]["requests"]["limit"])
    assert "ts-view-" in owner.open("/console/limits").text


@pytest.mark.usefixtures("key")
def test_ticket_is_good_for_its_account_alone(service: Service, owner: Browser) -> None:
    """Nothing of another's is in it: neither use, nor keys, nor credit."""
    service.ask("account", "create", "ben@example.com", "--credit", "3.5")
    ben = service.ask("key", "create", "--account", "ben@example.com", "--rpm", "7")
    own = json.loads(owner.open("/console/limits/ticket").text)["ticket"]
    account = service.ask("account", "show", "ben@example.com")["id"]
    theirs = tickets.sign(secret_of(service), Ticket(account, money=True), int(time.time()) + 60)
    wait_until(lambda: service.get("/v1/limits", theirs)[0] == 200)
    seen = json.loads(service.get("/v1/limits", theirs)[1])
    assert (seen["credit"], seen["account"]["requests"]["used"], [one["id"] for one in seen["keys"]]) == (
        "3.50",
        0,
        [ben["id"]],
    )
    assert ben["id"] not in service.get("/v1/limits", own)[1]
    bare = tickets.sign(secret_of(service), Ticket(account, money=False), int(time.time()) + 60)
    assert json.loads(service.get("/v1/limits", bare)[1])["credit"] is None


def test_ticket_is_refused_everywhere_else_and_when_it_is_over(service: Service, owner: Browser) -> None:
    """With the ordinary 401: on every other route, forged, expired, of nobody, or good for too long."""
    good = json.loads(owner.open("/console/limits/ticket").text)["ticket"]
    for path in ("/v1/models", "/v1/models/gpt-4o", "/api/v1/keys", "/api/v1/balance"):
        assert service.get(path, good)[0] == 401, path
    status, body, _ = service.chat(key=good)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    secret, now = secret_of(service), int(time.time())
    account = service.ask("account", "show", "owner@localhost")["id"]
    ticket = Ticket(account, money=True)
    for bad in (
        tickets.sign(secret, ticket, now - 1),
        tickets.sign(secret, ticket, now + 3600),
        tickets.sign(secret, Ticket("acct_nobody", money=True), now + 60),
        tickets.sign(b"x" * 32, ticket, now + 60),
        good[:-4] + ("0000" if good[-4:] != "0000" else "1111"),
    ):
        status, text, _ = service.get("/v1/limits", bad)
        assert (status, json.loads(text)["error"]["code"]) == (401, "invalid_api_key")
        assert bad not in text


def test_secret_of_the_tickets_is_nowhere_but_where_it_must_be(service: Service) -> None:
    """Not in what a gateway keeps on disk, nor in any output."""
    secret = secret_of(service).hex()
    kept = [path for path in (service.folder / "data").rglob("*") if path.is_file() and path.suffix != ".db"]
    assert all(secret.encode() not in path.read_bytes() for path in kept if "techstone.db" not in path.name)
    assert secret not in service.complained() + service.printed()


def test_failure_before_admission_is_seen_in_the_console(service: Service, owner: Browser, key: str) -> None:
    """Unknown model, wrong field, limit, wrong address, and a key that was revoked: each with its own words, soon."""
    made = service.ask("key", "create", "--account", "owner@localhost", "--name", "watched")
    page = f"/console/keys/{made['id']}/first"
    assert "Waiting for the first request" in owner.open(page).text
    began = time.monotonic()
    wrong: list[tuple[dict[str, object], str]] = [
        ({"model": "gpt-9"}, "There is no model gpt-9 here."),
        ({"n": 0}, "field n is at fault"),
    ]
    for body, words in wrong:
        service.chat(body, made["key"])
        wait_until(lambda words=words: words in owner.open(page).text, pause=0.1)  # type: ignore[misc]  # bound at once
    assert time.monotonic() - began < 10
    request = urllib.request.Request(f"{service.url}/v1/v1/chat/completions", b"{}")
    assert Service._send(request, made["key"])[0] == 404
    wait_until(lambda: "The address does not exist." in owner.open(page).text, pause=0.1)
    service.ask("key", "revoke", made["id"])
    wait_until(lambda: service.chat(key=made["key"])[0] == 401)
    wait_until(lambda: "The key is not good any more" in owner.open(page).text, pause=0.1)
    while service.chat(key=key)[0] != 429:
        pass
    wait_until(lambda: "All requests a minute of the key are used." in owner.open("/console/limits").text, pause=0.1)
    logs = owner.open("/console/logs?status=refused").text
    found = re.search(r'href="/console/logs/(req_\w+)"', logs)
    assert found is not None
    assert "not admitted" in owner.open(f"/console/logs/{found[1]}").text
    assert "gpt-9" in owner.open("/console/logs/tail?model=gpt-9").text
    assert "gpt-9" not in owner.open("/console/logs/tail?status=ok").text
    bob = join(service, "bob@example.com")
    assert bob.open(f"/console/logs/{found[1]}").status == 404
    assert "gpt-9" not in bob.open("/console/logs").text
    assert bob.open(page).status == 404
    assert bob.open("/console/operate/health").status == 403


def test_operator_sees_health_and_so_does_doctor(service: Service, owner: Browser) -> None:
    """A gateway that reports, its routes, and the checks in the background."""
    service.chat()
    wait_until(
        lambda: "Everything that was looked at is well." in owner.open("/console/operate/health").text, pause=0.2
    )
    findings = {one["what"]: one["state"] for one in service.ask("doctor")}
    assert any(what.startswith("Gateway ") and what.endswith(": Snapshot") for what in findings)
    assert findings["Control plane: Database"] == "ok"
    assert set(findings.values()) <= {"ok", "attention"}
