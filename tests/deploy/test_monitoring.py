"""Dashboard and alerts: their language by promtool, and every metric that they name by a service that runs."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from service import Service
from upstream import providing

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
_NAME = re.compile(r"\b(?:techstone|gen_ai|process)_[a-z_]+\b")
# Prometheus' own, and labels of ours.
_LABELS = {"gen_ai_request_model", "gen_ai_provider_name", "gen_ai_token_type"}
# Only an engine's checks tell these (docs/metrics.md); their names stand in the code.
_OF_ENGINES = {f"techstone_replica_{name}" for name in ("state", "in_flight", "running", "waiting", "cache_usage")}


# By what the conventions of OpenTelemetry call it.
_FIRST_TOKEN = "gen_ai_server_time_to_first_token_seconds_bucket"


def _list_rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
    return rules


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what /metrics of a gateway says after one request."""
    with providing() as (url, _):
        service = Service(
            tmp_path_factory.mktemp("service"),
            f"[engine]\nenabled = false\n[[providers]]\nname = 'up'\nbase_url = '{url}'\n"
            "[[models]]\nname = 'gpt-4o'\nroutes = [{provider = 'up', model = 'up'}]\nprice = {input='1',output='2'}\n",
        )
        service.start()
        try:
            assert service.chat()[0] == 200
            return service.get("/metrics")[1]
        finally:
            service.stop()


def _list_expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        yield str(variable.get("definition", ""))
    for rule in _list_rules():
        yield rule["expr"]


def test_prometheus_takes_the_rules() -> None:
    """`promtool check rules`, and `promtool test rules`: each fires where it must, and is silent where all is well."""
    for words in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run(["promtool", *words], check=False, capture_output=True, text=True, cwd=FOLDER)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_tested_to_fire() -> None:
    """No alert without a case in which it fires, and each says what it means."""
    cases = (FOLDER / "alerts_test.yaml").read_text()
    for rule in _list_rules():
        assert f'alertname="{rule["alert"]}"' in cases
        assert {"summary", "description"} == set(rule["annotations"])


def test_prometheus_takes_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    """As rules, with Grafana's variables filled in."""
    rules = []
    for place, expression in enumerate(_list_expressions()):
        if expression and not expression.startswith("label_values"):
            filled = expression.replace("$__rate_interval", "5m").replace("$job", "techstone")
            rules.append({"record": f"panel:{place}", "expr": re.sub(r"\$(instance|model)", ".*", filled)})
    assert len(rules) > 40
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    command = ["promtool", "check", "rules", str(tmp_path / "rules.yaml")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_alert_is_about_our_gateways_alone() -> None:
    """Every series is asked for by the job, which another installation's gateways do not have."""
    for rule in _list_rules():
        for found in _NAME.finditer(rule["expr"]):
            if found[0] not in _LABELS:
                assert re.match(r'\{job="techstone"[,}]', rule["expr"][found.end() :]), (rule["alert"], found[0])


def test_slow_answers_can_be_told(metrics: str) -> None:
    """The histogram goes on above the alert's bound, else no quantile exceeds it; cases have the gateway's buckets."""
    shown = re.findall(rf'^{_FIRST_TOKEN}.*\ble="([^"]+)"', metrics, re.MULTILINE)
    bound = next(float(rule["expr"].rpartition(">")[2]) for rule in _list_rules() if _FIRST_TOKEN in rule["expr"])
    assert max(float(text) for text in shown if text != "+Inf") > bound
    cases = re.findall(rf'{_FIRST_TOKEN}.*\ble="([^"]+)"', (FOLDER / "alerts_test.yaml").read_text())
    assert cases
    assert set(cases) == set(shown)


def test_every_metric_is_shown_by_a_running_service(metrics: str) -> None:
    """Names in dashboard and alerts are names of /metrics."""
    shown = set(re.findall(r"^([a-z_]+)", metrics, re.MULTILINE))
    named = {name for expression in _list_expressions() for name in _NAME.findall(expression)} - _LABELS
    assert len(named) > 25
    assert named - _OF_ENGINES <= shown, named - _OF_ENGINES - shown
    for name in named & _OF_ENGINES:
        assert f"`{name}`" in (FOLDER.parents[1] / "docs" / "metrics.md").read_text()


def test_dashboard_is_whole() -> None:
    """Panels have numbers of their own, do not lie on each other, and ask the data source that the reader chooses."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken
        assert all(x < 24 for x, _ in cells)
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
