"""/openapi.json against the service that it describes: Schemathesis in all its phases, with live keys."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from haste import LONG
from openapi_spec_validator import OpenAPIV31SpecValidator
from service import Service, serving

from techstone.adapters.storage.sqlite import open_store
from techstone.control.acts import acting
from techstone.control.identity.records import Link, Membership, Person
from techstone.control.invoicing.records import Draft, Line, Party

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED = Path(__file__).parents[1] / "shared"
# The long run is `make torture`'s.
CASES = 20_000 if LONG else 1_000
_EXAMPLES = 2_000 if LONG else 8  # an operation, in the phase that makes them up
_SEED = os.environ.get("SEED", "1")
# Limits that nothing here reaches; and a client may say which address it comes from.
_PLAN = (
    "[server]\ntrusted_proxies = ['127.0.0.1']\n"
    "[plans.open]\nrpm = 1000000\ntpm = 2147483647\nconcurrent = 100\nbilling = 'postpaid'\n"
)
# A request of the right form may still be wrong: too old a time, a tool that is not there, an Idempotency-Key used for
# another body. JSON Schema cannot say so, and a 400 that names the field is the documented answer.
_LEFT_OUT = "positive_data_acceptance"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("openapi"), _PLAN) as running:
        yield running


@pytest.fixture(scope="module")
def report(service: Service) -> dict[str, Any]:
    """Run Schemathesis once; return its report, and `answers`: how often an operation had which status."""
    service.run("account", "set-plan", "owner@localhost", "open")
    admin = service.run("key", "create", "--account", "owner@localhost", "--admin").stdout
    own = re.findall(r"key_\w{20}", service.run("key", "list").stdout)
    own_things = asyncio.run(_furnish(service, service.ask("account", "show", "owner@localhost")["id"]))
    config = service.folder / "schemathesis.toml"
    found = re.search(r"ts_admin_\w+", admin)
    assert found is not None
    config.write_text(f'[auth.openapi]\nkey.bearer = "{service.key}"\nadminKey.bearer = "{found[0]}"\n')
    paths = {name: service.folder / f"report.{name}" for name in ("json", "har")}
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("st"), "--config-file", config, "--no-color", "run"),
            f"http://127.0.0.1:{service.port}/openapi.json",
            *("--seed", _SEED, "--max-examples", f"{_EXAMPLES}", "--continue-on-failure"),
            *("--exclude-checks", _LEFT_OUT),
            # What made-up requests of an operator would do: switch off what the others ask for.
            *("--exclude-path-regex", "^/api/v1/operate"),
            *("--suppress-health-check", "all", "--generation-database", "none", "--report", "json,har"),
            *("--report-json-path", paths["json"], "--report-har-path", paths["har"]),
        ],
        cwd=service.folder,
        env=service.environment
        | {"SCHEMATHESIS_HOOKS": "cases", "PYTHONPATH": f"{SHARED}", "OWN_KEYS": " ".join(own)}
        | own_things,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    print(done.stdout[-20_000:], done.stderr[-2000:])
    written: dict[str, Any] = json.loads(paths["json"].read_bytes())
    entries = json.loads(paths["har"].read_bytes())["log"]["entries"]
    return {**written, "answers": Counter(_name_answer(entry) for entry in entries)}


async def _furnish(service: Service, account: str) -> dict[str, str]:
    """Give an account what can be asked for: a document, members, top-up codes, a request; return them by name."""
    codes = service.ask("code", "create", "1", "--count", "20")
    asked = service.chat({"model": "tiny"})[2]["x-request-id"]
    lines = (Line("a model", 10**9, 1, 2, 3), Line("a correction", -5))
    draft = Draft(
        *("invoice", account, "owner@localhost", "2026-10", 1_793_500_000, Party("S"), Party("B"), lines, 10**9 - 5)
    )
    members = [f"usr_{number:020}" for number in range(20)]
    store = await open_store(service.folder / "data" / "techstone.db")
    try:
        with acting("invoice.issue", "2026-10", account):
            issued = await store.invoices.issue(draft)
        for member in members:
            link = Link(member.encode(), "invite", f"{member}@example.com", 0, 2**40, account, "viewer")
            seat = Membership(account, member, "viewer", 0)
            with acting("person.join", member, account):
                await store.identity.add_link(link)
                await store.identity.admit(link, Person(member, link.email, "", 0), None, seat)
    finally:
        await store.close()
    return {
        "OWN_INVOICE": issued.number,
        "OWN_MEMBERS": " ".join(members),
        "OWN_CODES": " ".join(code["code"] for code in codes),
        "OWN_REQUEST": asked,
    }


def _name_answer(entry: dict[str, Any]) -> tuple[str, int]:
    path = re.sub(r"^https?://[^/]+|\?.*$", "", entry["request"]["url"])
    path = re.sub(r"(?<=/api/v1/projects/)[^/]+", "{project_id}", path)
    path = re.sub(r"(?<=/api/v1/invoices/)[^/]+", "{number}", path)
    path = re.sub(r"(?<=/api/v1/members/)[^/]+", "{person}", path)
    path = re.sub(r"(?<=/api/v1/requests/)[^/]+", "{request_id}", path)
    path = re.sub(r"(?<=/api/v1/keys/)[^/]+", "{key_id}", re.sub(r"(?<=/v1/models/).+", "{model}", path))
    return f"{entry['request']['method']} {path}", entry["response"]["status"]


def test_document_is_valid(service: Service) -> None:
    """It is OpenAPI 3.1, by the official schema of that version."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/openapi.json") as answer:
        OpenAPIV31SpecValidator(json.load(answer)).validate()


def test_no_answer_is_undocumented(report: dict[str, Any]) -> None:
    """No 5xx, and no status, type, header or body that the document does not have; nothing wrong is taken for right."""
    cases = report["test_cases"]
    print(json.dumps({"seed": _SEED, "cases": cases["generated"], "failures": cases["unique_failures"]}))
    assert report["failures"] == []
    assert report["errors"] == []
    assert report["exit_code"] == 0
    assert {name: phase["status"] for name, phase in report["phases"].items()} == dict.fromkeys(
        ("examples", "coverage", "fuzzing", "stateful"), "success"
    )
    assert cases["generated"] >= CASES


def test_every_operation_was_reached(service: Service, report: dict[str, Any]) -> None:
    """Each gave what it is for, and refused: the cases are no knocks at a closed door."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    for path, operations in paths.items():
        if path.startswith("/api/v1/operate"):
            continue
        for method in operations:
            statuses = {status for (name, status) in report["answers"] if name == f"{method.upper()} {path}"}
            assert statuses & {200, 201}, f"{method} {path}: {statuses}"
            assert 401 in statuses, f"{method} {path}: {statuses}"
