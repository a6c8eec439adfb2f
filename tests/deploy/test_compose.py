"""The composition of containers: its schema, and that what its files say fits together."""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from techstone.app import config

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
OURS = ("control", "gateway-1", "gateway-2")


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_file_is_what_compose_reads() -> None:
    """By the schema of the Compose specification."""
    program = Path(sys.executable).parent / "check-jsonschema"
    command = [str(program), "--builtin-schema", "vendor.compose-spec", str(FOLDER / "compose.yaml")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_every_service_is_shut_in(name: str) -> None:
    """Read-only, without capabilities (Caddy has the one for ports below 1024), healthy before others, restarted."""
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "caddy" else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    # The gateways' is the image's own.
    assert "healthcheck" in service or name.startswith("gateway-")
    assert ("ports" in service) == (name == "caddy")


def test_gateways_share_no_journal_and_are_given_time() -> None:
    """A volume each; and longer to stop than their drain, Caddy longer than they."""
    first, second, caddy = (COMPOSE["services"][name] for name in ("gateway-1", "gateway-2", "caddy"))
    assert first["volumes"] != second["volumes"]
    drain = config.read(FOLDER / "gateway.toml").server.drain
    assert drain + 5 <= _seconds(first["stop_grace_period"]) <= _seconds(caddy["stop_grace_period"])


def test_what_is_named_is_there(tmp_path: Path) -> None:
    """Each file of `configs` is here and each secret is made by the script, once; settings name what it made."""
    shutil.copy(FOLDER / "make-secrets.sh", tmp_path)
    made: list[dict[str, bytes]] = []
    for _ in range(2):
        subprocess.run(["sh", tmp_path / "make-secrets.sh"], check=True, capture_output=True)
        made.append({path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()})
    assert made[0] == made[1], "a second run changes nothing"
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    named = {Path(entry["file"]).name for entry in COMPOSE["secrets"].values()}
    named |= {Path(COMPOSE["services"][name]["env_file"]).name for name in OURS}
    assert named | {"secret.key"} == set(made[0]), "the last is in both planes' environments"
    for entry in COMPOSE["configs"].values():
        assert (FOLDER / entry["file"]).exists()
    control, gateway = (config.read(FOLDER / f"{name}.toml") for name in ("control", "gateway"))
    for service, read in (("control", control.control), ("gateway-1", gateway.control)):
        files = {Path(path).name for path in (read.token_file, read.tls_cert, read.tls_key, read.tls_ca) if path}
        assert files == set(COMPOSE["services"][service]["secrets"])


def test_each_plane_is_given_its_own_secrets(tmp_path: Path) -> None:
    """Gateways, which the Internet reaches, have no password of the database; the master key is the same for both."""
    shutil.copy(FOLDER / "make-secrets.sh", tmp_path)
    subprocess.run(["sh", tmp_path / "make-secrets.sh"], check=True, capture_output=True)
    control, first, second = (tmp_path / COMPOSE["services"][name]["env_file"] for name in OURS)
    assert first == second
    books, api = (
        dict(line.split("=", 1) for line in path.read_text().splitlines() if line[0] != "#")
        for path in (control, first)
    )
    assert set(books) == {config.read(FOLDER / "control.toml").data.database_password_env, "TECHSTONE_SECRET_KEY"}
    assert set(api) == {config.read(FOLDER / "gateway.toml").data.limits_password_env, "TECHSTONE_SECRET_KEY"}
    assert set(books.values()) & set(api.values()) == {books["TECHSTONE_SECRET_KEY"]}
    assert books["TECHSTONE_SECRET_KEY"] == (tmp_path / "secrets" / "secret.key").read_text().strip()


def test_addresses_lead_to_services() -> None:
    """Hosts in the settings are names of services, and the trusted proxy is Caddy's address."""
    gateway = tomllib.loads((FOLDER / "gateway.toml").read_text())
    services = COMPOSE["services"]
    assert gateway["control"]["addresses"] == ["https://control:8100"]
    assert gateway["data"]["limits"].split("//")[1].split(":")[0] in services
    assert gateway["server"]["trusted_proxies"] == [services["caddy"]["networks"]["inside"]["ipv4_address"]]
    for target in services["caddy"]["environment"]["GATEWAYS"].split():
        assert target.removesuffix(":8000") in services


def _networks(service: str) -> set[str]:
    return set(COMPOSE["services"][service]["networks"])


@pytest.mark.parametrize("gateway", ["gateway-1", "gateway-2"])
def test_caddy_reaches_a_gateway_from_the_trusted_address_alone(gateway: str) -> None:
    """They share one network: by another, which Docker would prefer to an internal one, it came from any address."""
    assert _networks("caddy") & _networks(gateway) == {"inside"}


def test_nobody_else_is_given_the_trusted_address() -> None:
    """It is in the subnet, and outside of what Docker hands out to who starts before Caddy and of its own address."""
    inside = COMPOSE["networks"]["inside"]["ipam"]["config"][0]
    subnet, handed_out = ipaddress.ip_network(inside["subnet"]), ipaddress.ip_network(inside["ip_range"])
    fixed = [
        ipaddress.ip_address(network["ipv4_address"])
        for service in COMPOSE["services"].values()
        if isinstance(service["networks"], dict)
        for network in service["networks"].values()
        if network
    ]
    assert len(fixed) == 1
    bridge = ipaddress.ip_address(inside["gateway"])
    for address in (*fixed, bridge):
        assert address in subnet
        assert address not in handed_out
    assert bridge not in fixed
    assert set(handed_out) < set(subnet)


def test_networks_are_no_wider_than_they_must() -> None:
    """PostgreSQL is beside the control plane alone; it and Valkey have no way out; Caddy has one of its own."""
    services = COMPOSE["services"]
    assert {name for name in services if _networks(name) & _networks("postgres")} == {"control", "postgres"}
    internal = {name for name, network in COMPOSE["networks"].items() if network and network.get("internal")}
    for name in services:
        assert (_networks(name) <= internal) == (name in {"postgres", "valkey"}), name
    assert _networks("caddy") - internal == {"front"}
    assert [name for name in services if "front" in _networks(name)] == ["caddy"], "its ports are published there"


def test_caddy_takes_its_file(tmp_path: Path) -> None:
    """`caddy validate`, with the variables that the composition gives it, and as `caddy fmt` writes it."""
    given = {"SITE": "localhost", "GATEWAYS": "gateway-1:8000 gateway-2:8000", "XDG_DATA_HOME": str(tmp_path)}
    environment = {**os.environ, **given, "HOME": str(tmp_path)}
    command = ["caddy", "validate", "--adapter", "caddyfile", "--config", str(FOLDER / "Caddyfile")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    formatted = subprocess.run(["caddy", "fmt", FOLDER / "Caddyfile"], check=False, capture_output=True, text=True)
    assert formatted.stdout == (FOLDER / "Caddyfile").read_text()
