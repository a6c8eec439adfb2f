"""Prices, codes, caps and alerts as an operator meets them: a real server, a provider, the commands beside it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from service import Service, serving, wait_until
from upstream import providing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The provider says 9 prompt and 2 completion tokens, always.
_CONFIGURATION = """
[[providers]]
name = "up"
base_url = "{url}"
[[models]]
name = "gpt-4o"
routes = [{{ provider = "up", model = "gpt-4o" }}]
price = {{ input = "1", output = "2" }}
[[models]]
name = "dear"
routes = [{{ provider = "up", model = "gpt-4o" }}]
price = {{ input = "1000000000", output = "0" }}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with (
        providing() as (url, _),
        serving(tmp_path_factory.mktemp("prices"), _CONFIGURATION.format(url=url)) as running,
    ):
        yield running


def _cost(service: Service, key: str | None = None) -> str:
    status, body, headers = service.chat(key=key)
    assert status == 200, body
    assert headers["x-techstone-cost"] == body["usage"]["cost"]
    return headers["x-techstone-cost"]


def test_new_price_is_in_force_within_a_second(service: Service) -> None:
    """Set, set for later, reset: every change reaches the running gateway; a later one is shown and not yet charged."""
    assert _cost(service) == "0.000013"
    service.run("price", "set", "gpt-4o", "--input", "10", "--output", "20")
    print(f"price in force after {wait_until(lambda: _cost(service) == '0.00013', 1.0) * 1000:.0f} ms")
    service.run("price", "set", "gpt-4o", "--input", "9", "--output", "9", "--from", "2100-01-01T00:00Z")
    shown = service.ask("price", "list", "gpt-4o")
    assert [(price["input"], price["state"], price["source"]) for price in shown] == [
        ("10.00", "in force", "operator"),
        ("9.00", "future", "operator"),
    ]
    assert _cost(service) == "0.00013"
    service.run("price", "reset", "gpt-4o")
    wait_until(lambda: _cost(service) == "0.000013", 1.0)
    (price,) = service.ask("price", "list", "gpt-4o")
    assert (price["input"], price["source"]) == ("1.00", "config")


def test_operators_own_account_needs_no_credit(service: Service) -> None:
    """The first account is paid for afterwards: what it uses is counted, not refused."""
    shown = service.ask("account", "show", "owner@localhost")
    assert (shown["plan"], shown["granted"]) == ("enterprise", "0.00")
    assert _cost(service)


def test_code_from_standard_input_becomes_credit(service: Service) -> None:
    """A prepaid account without credit is refused; a code makes it whole, and is good once."""
    service.run("account", "create", "late@example.com")
    key = service.ask("key", "create", "--account", "late@example.com")["key"]
    wait_until(lambda: service.chat(key=key)[0] == 429, 1.0)
    (made,) = service.ask("code", "create", "0.5", "--expires", "1d")
    command = [sys.executable, "-m", "techstone", "code", "redeem", "-", "--account", "late@example.com"]
    redeem = [
        subprocess.run(
            command,
            cwd=service.folder,
            env=service.environment,
            input=made["code"],
            capture_output=True,
            text=True,
            check=False,
        )
        for _ in range(2)
    ]
    assert [done.returncode for done in redeem] == [0, 1]
    assert redeem[1].stderr == "techstone: This code is not good: unknown, used, revoked or expired.\n"
    wait_until(lambda: service.chat(key=key)[0] == 200, 1.0)
    assert made["code"] not in service.run("code", "list").stdout + service.complained()
    for file in (service.folder / "data").glob("techstone.db*"):
        assert made["code"].encode() not in file.read_bytes()


def test_alert_comes_at_80_per_cent(service: Service) -> None:
    """One line on the operator's terminal, and one in the list, when four fifths of the credit are used up."""
    service.run("account", "create", "ann@example.com", "--credit", "0.0002")
    key = service.ask("key", "create", "--account", "ann@example.com")["key"]
    wait_until(lambda: service.chat(key=key)[0] == 200, 1.0)
    for _ in range(11):
        _cost(service, key)
    assert service.ask("account", "alerts", "ann@example.com") == []
    _cost(service, key)
    wait_until(lambda: len(service.ask("account", "alerts", "ann@example.com")) == 1, 5.0)
    line = "control: alert: ann@example.com has used 80 % of its credit: 0.000169 of 0.0002 USD"
    assert service.complained().count(line) == 1


def test_cap_of_a_key_ends_its_day(service: Service) -> None:
    """What the cap does not hold is refused; the account's other keys go on."""
    made = service.ask("key", "create", "--account", "owner@localhost", "--daily-cap", "0.00003")
    wait_until(lambda: service.chat(key=made["key"])[0] == 200, 1.0)
    wait_until(lambda: service.chat(key=made["key"])[0] == 429, 5.0)
    assert service.chat()[0] == 200
    assert service.ask("key", "list")[-1]["daily_cap"] == "0.00003"


def test_model_without_a_price_stops_the_start(tmp_path: Path) -> None:
    """One line that names the model, its provider and what to write; several workers are refused alike."""
    text = _CONFIGURATION.format(url="http://127.0.0.1:1/v1").replace("price =", "# price =")
    done = Service(tmp_path, text).run("serve")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "models[0].name: no price is known for `gpt-4o` of provider `up`; write price = { input" in done.stderr
    done = Service(tmp_path).run("serve", "--workers", "2")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "server.workers: limits kept in memory belong to one process" in done.stderr


def test_period_is_rated_anew(service: Service) -> None:
    """A price that should have been in force since January: usage and account say what is due by it."""
    assert [service.chat({"model": "dear"})[0] for _ in range(3)] == [200] * 3
    wait_until(lambda: _spent_on_dear(service) == "27000.00")
    service.run("price", "set", "dear", "--input", "1", "--output", "0", "--from", "2026-01-01T00:00Z")
    done = service.ask("ledger", "rerate", "--since", "2026-01-01T00:00Z", "--model", "dear")
    assert (done["requests"], done["changed"], done["before"], done["after"]) == (3, 3, "27000.00", "0.000027")
    assert _spent_on_dear(service) == "0.000027"
    assert service.ask("account", "list")[0]["credit"].startswith("-0.00")
    refused = service.run("ledger", "rerate", "--since", "yesterday")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "expected a time with its zone, such as 2026-11-01T00:00Z" in refused.stderr


def _spent_on_dear(service: Service) -> str | None:
    return next((row["cost"] for row in service.ask("usage") if row["group"] == "dear"), None)
