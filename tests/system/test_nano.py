"""The default of a fresh clone: no configuration, no provider, the built-in model, and what it knows."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from service import Service, serving

sys.path.insert(0, str(Path(__file__).parents[2] / "models" / "nano"))

from asking import Server
from evaluate import evaluate
from speed import measure

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


def test_built_in_model_knows_the_product_and_what_it_does_not_know(service: Service) -> None:
    """Questions in words that it was not trained on: 80 % right, 90 % of all others refused, no circles."""
    found = evaluate(Server(f"{service.url}/v1", service.key, "gpt-4o"))
    print(json.dumps({"id": "nano", **{name: told for name, told in asdict(found).items() if name != "wrong"}}))
    assert found.good, [str(found), *found.wrong]


def test_eight_streams_at_a_time_are_served_in_200_megabytes(service: Service) -> None:
    """None waits for another's end: each has the engine's time in turn. The figures are the machine's."""
    found = measure(Server(f"{service.url}/v1", service.key))
    status = Path(f"/proc/{service.children()['engine']}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) * 1024
    print(json.dumps({"id": "nano", **asdict(found), "engine MB": resident // 10**6}))
    assert resident <= _RESIDENT
