"""What the supervisor starts."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from techstone.app.gateway import LISTEN_FD
from techstone.app.place import Place
from techstone.app.sections import (
    Config,
    DataSection,
    EngineSection,
    MailSection,
    OidcEntry,
    PaymentsSection,
    ProviderEntry,
    ServerSection,
)
from techstone.app.serve import _Service
from techstone.control.catalog.records import Catalog

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_CATALOG = Catalog((), (), ())


_PROVIDER = ProviderEntry("up", "https://up.example/v1", api_key_env="UP_KEY")
_OIDC = OidcEntry("Okta", "https://okta.example", "id", "OIDC_SECRET")
_CONFIG = Config(
    data=DataSection(
        database="postgresql://h/d",
        database_password_env="DATABASE_PASSWORD",
        limits="rediss://u@h:1",
        limits_password_env="REDIS_PASSWORD",
    ),
    providers=(_PROVIDER,),
    oidc=(_OIDC,),
    mail=MailSection(password_env="MAIL_PASSWORD"),
    payments=PaymentsSection("STRIPE_KEY", "STRIPE_SECRET"),
)
_SECRETS = {
    "engine": {},
    "control": {
        **dict.fromkeys(("DATABASE_PASSWORD", "PGPASSWORD", "OIDC_SECRET", "MAIL_PASSWORD"), "secret"),
        **dict.fromkeys(("STRIPE_KEY", "STRIPE_SECRET", "TECHSTONE_SECRET_KEY", "TECHSTONE_CONTROL_TOKEN"), "secret"),
        # It tells what is on offer by whether they are there.
        **dict.fromkeys(("UP_KEY", "REDIS_PASSWORD"), "set"),
    },
    "gateway": dict.fromkeys(("UP_KEY", "REDIS_PASSWORD", "TECHSTONE_SECRET_KEY"), "secret"),
}


def test_each_process_gets_the_secrets_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine none, gateways nothing of database, mail and payments, the control plane no provider's key."""
    names = {name for found in _SECRETS.values() for name in found}
    for name in names:
        monkeypatch.setenv(name, "secret")
    with socket.socket() as listening:
        service = _Service(Place(_CONFIG, None, tmp_path), listening, _CATALOG, insecure_http=False)
        for program in service._list_programs():
            told = {name: value for name, value in program.environment.items() if name in names}
            assert told == _SECRETS[program.name], program.name


def test_workers_share_the_listening_socket(tmp_path: Path) -> None:
    """Each is told which of them it is; all inherit the one socket, so that one that restarts loses no connection."""
    config = Config(ServerSection(workers=3), engine=EngineSection(enabled=False))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        service = _Service(Place(config, None, tmp_path), listening, _CATALOG, insecure_http=False)
        programs = [program for program in service._list_programs() if program.name.startswith("gateway")]
        assert [program.name for program in programs] == ["gateway-1", "gateway-2", "gateway-3"]
        assert [program.command[-2:] for program in programs] == [
            ("--worker", "1"),
            ("--worker", "2"),
            ("--worker", "3"),
        ]
        assert {program.environment[LISTEN_FD] for program in programs} == {str(listening.fileno())}
        assert {program.passed for program in programs} == {(listening.fileno(),)}
