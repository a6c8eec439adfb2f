"""The command line as it is typed, on a data folder where nothing runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from techstone import __version__
from techstone.app.cli.root import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Ask = Callable[..., Any]

ANN = "ann@example.com"


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Return what runs a command with --json and gives what it prints, or the line by which it failed."""
    (tmp_path / "techstone.toml").touch()
    monkeypatch.setenv("CONFIG", str(tmp_path / "techstone.toml"))
    monkeypatch.setenv("DATA", str(tmp_path / "data"))

    def run(*words: str) -> Any:  # noqa: ANN401 - whatever JSON the command prints
        status = main([*words, "--json"])
        told = capsys.readouterr()
        return told.err if status else json.loads(told.out)

    return run


@pytest.fixture
def ann(ask: Ask) -> str:
    return str(ask("account", "create", ANN)["id"])


def test_cap_is_set_and_lifted_as_credit_is_added(ask: Ask, ann: str) -> None:
    """The amount stands behind the account, as in the documentation; `none` is no cap."""
    assert ask("account", "set-cap", ANN, "500")["monthly_cap"] == "500.00"
    assert ask("account", "set-cap", ann, "none")["monthly_cap"] is None


def test_cap_is_also_taken_by_the_name_that_it_has_elsewhere(ask: Ask, ann: str) -> None:
    """`account create` and `set-plan` have it as an option; two amounts, or none, are a mistake."""
    assert ask("account", "set-cap", ann, "--monthly-cap", "2.5")["monthly_cap"] == "2.50"
    for words in ((), ("1", "--monthly-cap", "2")):
        assert "an amount, once" in ask("account", "set-cap", ann, *words)
    assert ask("account", "show", ann)["monthly_cap"] == "2.50"


def test_audit_log_of_an_account_is_found_by_email_or_id(ask: Ask, ann: str) -> None:
    """As every other command finds it; one that does not exist is told, not an empty list."""
    ask("account", "create", "ben@example.com")
    for who in (ANN, "Ann@Example.com", ann):
        assert [entry["account"] for entry in ask("audit", "list", "--account", who)] == [ann]
    assert "zoe@example.com" in ask("audit", "list", "--account", "zoe@example.com")


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """On one line, with the name of the command."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"techstone, version {__version__}\n"
