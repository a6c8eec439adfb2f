"""Two tenants: nothing of one is ever in an answer to the other, by any route, with any id (rows T-1 to T-3).

What is tried is not a list that somebody keeps: every operation of /openapi.json, and every address of the Console that
the other tenant's own pages lead to, with every id that stands in those.
"""

from __future__ import annotations

import html
import itertools
import json
import re
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from forms import Browser, claim, join
from service import Service, serving, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ANN, BEN = "ann@example.com", "ben@example.net"
CANARY = "canary-of-ben"
# Every kind of id that we give out, as it begins.
_ID = re.compile(r"\b(?:acct|key|per|proj|req|code|topup|pay|evt)_[0-9a-zA-Z]{8,}|\bTS-\d{4}-\d{6}")
_FORM = re.compile(r'<form method="post" action="([^"]+)".*?</form>', re.DOTALL)
_FIELD = re.compile(r'<(?:input|select|textarea)[^>]*?\bname="([^"]+)"[^>]*>')
_VALUE = re.compile(r'\bvalue="([^"]*)"')
_LINK = re.compile(r'(?:href|src|data-[a-z-]+)="(/console[^"#]*)"')


@dataclass
class Tenant:
    """Somebody with an account of their own: their session, their keys."""

    browser: Browser
    key: str
    admin: str


@dataclass
class World:
    """The service, the one who asks, and the one whom it is about."""

    service: Service
    ann: Tenant
    ben: Tenant
    ids: set[str]
    addresses: set[str]
    forms: dict[str, dict[str, str]]


def move_in(service: Service, address: str, name: str) -> Tenant:
    """Sign up; make keys of every kind with a name of its own; use one, well and badly."""
    browser = join(service, address)
    admin = service.ask("key", "create", "--account", address, "--admin", "--name", f"{name} admin")["key"]
    key = service.ask("key", "create", "--account", address, "--name", f"{name} key", "--rpm", "50")["key"]
    service.ask("account", "credit", address, "5")
    wait_until(lambda: service.chat(key=key)[0] == 200)
    assert service.chat({"model": f"{name}-model", "messages": []}, key)[0] in {400, 404}
    browser.submit("/console/people", email=f"{name}@example.net", role="viewer")
    return Tenant(browser, key, admin)


def crawl(browser: Browser) -> tuple[set[str], dict[str, dict[str, str]], set[str]]:
    """Return the addresses that the pages lead to, their forms (fields by address), and all ids in them."""
    seen, waiting, ids = {"/console"}, ["/console"], set()
    forms: dict[str, dict[str, str]] = {}
    while waiting:
        text = html.unescape(browser.open(waiting.pop()).text)
        forms |= {form[1]: read_fields(form[0]) for form in _FORM.finditer(text)}
        ids |= set(_ID.findall(text))
        fresh = {link for link in _LINK.findall(text) if link not in seen}
        seen |= fresh
        waiting += fresh
    return seen, forms, ids


def read_fields(form: str) -> dict[str, str]:
    """Return the fields of a form as they are filled in, but for its token."""
    fields = {}
    for field in _FIELD.finditer(form):
        # Of a list, what its first choice is.
        value = _VALUE.search(form, field.start(), len(form) if field[0].startswith("<select") else field.end())
        fields[field[1]] = value[1] if value else ""
    fields.pop("csrf", None)
    return fields


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("tenants"), "[console]\nsign_up = true\n") as service:
        claim(service, "op@example.com")
        ann, ben = move_in(service, ANN, "ann"), move_in(service, BEN, CANARY)
        wait_until(lambda: CANARY in ben.browser.open("/console/usage?by=key").text)
        wait_until(lambda: "req_" in ben.browser.open("/console/logs").text)
        addresses, forms, ids = crawl(ben.browser)
        ids |= set(_ID.findall(json.dumps([service.ask("account", "show", BEN), service.ask("key", "list")])))
        _, _, own = crawl(ann.browser)
        yield World(service, ann, ben, ids - own, addresses, forms)


def leaks(text: str, sent: str = "") -> list[str]:
    """Return what of the other tenant stands in an answer, but for what was sent."""
    found = [word for word in (CANARY, BEN) if word in text]
    return [word for word in found if word not in sent]


def call(world: World, key: str, method: str, path: str, body: object = None) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        world.service.url + path, data, {"Content-Type": "application/json"}, method=method
    )
    status, text, _ = world.service._send(request, key)
    return status, text


def list_operations(service: Service) -> list[tuple[str, str, dict[str, Any]]]:
    document = json.loads(service.get("/openapi.json")[1])
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]


def test_canary_is_in_its_own_answers(world: World) -> None:
    """Else nothing below would tell anything."""
    assert len(world.ids) >= 4
    assert {one.partition("_")[0] for one in world.ids} >= {"key", "req", "acct"}
    assert CANARY in world.ben.browser.open("/console/keys").text
    assert CANARY in call(world, world.ben.admin, "GET", "/api/v1/keys")[1]
    assert any(one in address for one in world.ids for address in world.addresses)
    assert any(one in address for one in world.ids for address in world.forms)


def test_no_operation_tells_of_the_other_tenant(world: World) -> None:
    """Every operation with every id of theirs in its path, its query and its body, by each kind of key: 4xx."""
    told: list[str] = []
    tried = 0
    for method, path, operation in list_operations(world.service):
        names = re.findall(r"{(\w+)}", path)
        queries = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
        for ids in itertools.product(sorted(world.ids), repeat=len(names)) if names else [()]:
            filled = path
            for name, value in zip(names, ids, strict=True):
                filled = filled.replace(f"{{{name}}}", value)
            variants = [filled, *(f"{filled}?{query}={value}" for query in queries for value in sorted(world.ids))]
            for address, key in itertools.product(variants, (world.ann.admin, world.ann.key)):
                body = None if method in {"GET", "DELETE"} else {"model": "gpt-4o", "overlap": 0, "name": "x"}
                status, text = call(world, key, method, address, body)
                tried += 1
                if leaks(text, address) or (names and status < 400):
                    told.append(f"{method} {address}: {status} {text[:200]}")
    print(f"{tried} requests, {len(told)} leaks")
    assert told == []


def test_no_page_tells_of_the_other_tenant(world: World) -> None:
    """Every address that their own pages lead to, opened in another's session; those with an id are not there."""
    told = []
    for address in sorted(world.addresses):
        answer = world.ann.browser.open(address)
        # What was looked for is said again, as it was typed.
        about = [one for one in _ID.findall(urllib.parse.urlsplit(address).path) if one in world.ids]
        if leaks(answer.text, urllib.parse.unquote(address)) or (about and answer.status < 400):
            told.append(f"{address}: {answer.status}")
    print(f"{len(world.addresses)} addresses, {len(told)} leaks")
    assert told == []


def test_no_form_changes_the_other_tenant(world: World) -> None:
    """Every form of their pages that has an id of theirs in its address, sent from another's session: refused."""
    before = world.service.ask("key", "list", "--account", BEN), world.service.ask("account", "show", BEN)
    about = sorted(form for form in world.forms if any(one in form for one in world.ids))
    refused = [world.ann.browser.submit(form, page="/console", **world.forms[form]).status for form in about]
    print(f"{len(about)} forms: {refused}")
    assert {_ID.sub("…", form) for form in about} >= {"/console/keys/…/rotate", "/console/keys/…/revoke"}
    assert set(refused) <= {403, 404}
    assert (world.service.ask("key", "list", "--account", BEN), world.service.ask("account", "show", BEN)) == before


def test_page_of_operators_is_closed_to_others(world: World) -> None:
    """Every address under /console/operate, and every form there, for who does not run the cloud (row T-3)."""
    operator = Browser(world.service)
    operator.submit("/console/log-in", email="op@example.com", password="correct horse battery")
    addresses, forms, _ = crawl(operator)
    inside = sorted(
        one for one in addresses | {"/console/parts"} if one.startswith(("/console/operate", "/console/parts"))
    )
    assert len(inside) >= 5
    assert {world.ann.browser.open(address).status for address in inside} == {403}
    changes = {form: fields for form, fields in forms.items() if form.startswith("/console/operate")}
    tried = {world.ann.browser.submit(form, page="/console", **fields).status for form, fields in changes.items()}
    assert tried == {403}


EXTRA = {
    "role": "owner",
    "plan": "enterprise",
    "balance": "1000",
    "credit": "1000",
    "account": "acct_x",
    "is_admin": True,
}


def test_what_nobody_may_say_is_refused(world: World) -> None:
    """A field that would raise someone is none of a form or body: 400 by its name, and nothing is made (row T-3)."""
    count = len(world.service.ask("key", "list", "--account", ANN))
    for name, value in EXTRA.items():
        status, text = call(world, world.ann.admin, "POST", "/api/v1/keys", {"name": "x", name: value})
        assert (status, name in text) == (400, True), name
        answer = world.ann.browser.submit("/console/keys/new", name="x", **{name: str(value)})
        assert (answer.status, name in answer.text) == (400, True), name
    assert len(world.service.ask("key", "list", "--account", ANN)) == count


def test_secrets_are_in_no_answer(world: World) -> None:
    """A key is shown where it is made and nowhere else; hashes, digests and sealed values nowhere at all (row T-1)."""
    texts = [world.ben.browser.open(address).text for address in sorted(world.addresses)]
    texts += [
        call(world, world.ben.admin, method, path)[1]
        for method, path, _ in list_operations(world.service)
        if method == "GET" and "{" not in path and path.startswith("/api")
    ]
    for secret in (world.ben.key, world.ben.admin, "$argon2", world.ben.browser.cookie.partition("=")[2]):
        assert not any(secret in text for text in texts), secret[:8]
