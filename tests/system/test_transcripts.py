"""Prompts and answers are kept where a project says so: through the real gateway, for whole answers and streams."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING

import pytest
from forms import Browser, claim
from service import Service, serving, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "the harbour master's parrot"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("transcripts")) as running:
        yield running


@pytest.fixture(scope="module")
def owner(service: Service) -> Browser:
    return claim(service, "ann@example.com")


def ask(service: Service, key: str, **more: object) -> str:
    """Ask the model; return the request's id."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 5, **more}
    answered = service.chat(body, key)
    assert answered[0] == 200
    return str(answered[2]["x-request-id"])


def page_of(owner: Browser, request_id: str) -> str:
    path = f"/console/logs/{request_id}"
    wait_until(lambda: owner.open(path).status == 200)
    return html.unescape(owner.open(path).text)


def test_only_what_a_project_keeps_is_kept(service: Service, owner: Browser) -> None:
    """Whole answers and streams; a request's page shows both, its command asks the same; off again, no more is kept."""
    project = service.ask("project", "create", "web", "--account", "owner@localhost")["id"]
    inside = service.ask("key", "create", "--account", "owner@localhost", "--name", "in", "--project", project)["key"]
    outside = service.ask("key", "create", "--account", "owner@localhost", "--name", "out")["key"]
    path = f"/console/projects/{project}"
    assert owner.submit(path, page=path, name="web", days="30").status == 303
    assert service.ask("project", "list", "--account", "owner@localhost")[0]["kept_days"] == 30
    wait_until(lambda: SECRET in page_of(owner, ask(service, inside)), 10, 0.3)
    whole, stream = ask(service, inside), ask(service, inside, stream=True)
    wait_until(lambda: SECRET in page_of(owner, whole) and SECRET in page_of(owner, stream))
    text = page_of(owner, whole)
    assert '"role": "assistant"' in text
    assert re.search(r"curl [^\n]+\\\n", text)
    assert "data: [DONE]" in page_of(owner, stream)
    assert SECRET not in page_of(owner, ask(service, outside))
    assert owner.submit(path, page=path, name="web").status == 303
    wait_until(lambda: SECRET not in page_of(owner, ask(service, inside)), 10, 0.3)
    assert SECRET in page_of(owner, whole)
    assert owner.submit(f"{path}/erase", page=path).status == 303
    assert SECRET not in page_of(owner, whole)
    acts = [entry["action"] for entry in service.ask("audit", "list", "--action", "project")]
    assert acts[0] == "project.erase_transcripts"
    assert acts.count("project.keep_transcripts") == 2


def test_nothing_of_a_prompt_lies_in_the_clear(service: Service, owner: Browser) -> None:
    """Not in the database, the journal, a log or the audit log."""
    project = service.ask("project", "create", "sealed", "--account", "owner@localhost")["id"]
    service.ask("project", "keep", project, "7")
    made = service.ask("key", "create", "--account", "owner@localhost", "--name", "s", "--project", project)
    wait_until(lambda: SECRET in page_of(owner, ask(service, made["key"])), 10, 0.3)
    for path in service.folder.rglob("*"):
        if path.is_file() and not path.is_socket():
            assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in json.dumps(service.ask("audit", "list"))


def test_wrong_number_of_days_is_refused(service: Service) -> None:
    """On the command line, by its name."""
    project = service.ask("project", "create", "wrong", "--account", "owner@localhost")["id"]
    for days, words in (("0", "kept_days"), ("366", "kept_days"), ("x", "DAYS")):
        done = service.run("project", "keep", project, days)
        assert done.returncode != 0
        assert words in done.stderr
