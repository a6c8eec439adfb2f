"""The default of a fresh clone: no configuration, no provider, the built-in model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asking import Server
from evaluate import SPEC, is_circle, is_right
from service import Service, serving
from speed import measure

from techstone.control.console.playground import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterator

_RESIDENT = 200_000_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("nano"), "[engine]\n") as service:
        yield service


def test_built_in_model_answers_under_any_name(service: Service) -> None:
    """`gpt-4o`, as in the product spec's examples, and the header says who answered."""
    _, body, headers = service.chat({"max_tokens": 100})
    assert headers["x-techstone-served-by"] == "engine/techstone-nano"
    assert body["choices"][0]["finish_reason"] == "stop"
    print(f"start to first words: {service.started_in:.2f} s")


def test_built_in_model_answers_the_first_question(service: Service) -> None:
    """The product spec's, which the start prints to be pasted: right at temperature 0, and an end."""
    answer, reason = Server(f"{service.url}/v1", service.key, "gpt-4o").ask([("user", SPEC.text)])
    assert is_right(SPEC, answer), answer
    assert not is_circle(answer, reason)


@pytest.mark.parametrize(
    ("question", "told"),
    list(zip(FIRST, (SPEC.expect[0][0], "Pay As You Go", "new key", "a limit is reached"), strict=True)),
)
def test_questions_that_are_offered_to_newcomers_are_answered(service: Service, question: str, told: str) -> None:
    """Those of the playground, with the temperature that the file asks for."""
    server = Server(f"{service.url}/v1", service.key)
    answers = [server.ask([("user", question)], None)[0] for _ in range(5)]
    assert [answer for answer in answers if told.lower() not in answer.lower()] == []


def test_eight_streams_at_a_time_are_served_in_200_megabytes(service: Service) -> None:
    """None waits for another's end: each has the engine's time in turn. The figures are the machine's."""
    found = measure(Server(f"{service.url}/v1", service.key))
    status = Path(f"/proc/{service.children()['engine']}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) * 1024
    print(json.dumps({"id": "nano", **asdict(found), "engine MB": resident // 10**6}))
    assert resident <= _RESIDENT
