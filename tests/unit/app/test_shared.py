"""Where the limits are that gateways share: read from the configuration, and never in clear over a network unasked."""

from __future__ import annotations

import pytest

from techstone.adapters.limits.connection import Address
from techstone.app.config import ConfigError, parse
from techstone.app.shared import read_address


def _read(limits: str, *, insecure_http: bool = False, rest: str = "") -> Address | None:
    data = parse(f"[data]\nlimits = '{limits}'\n{rest}").data
    return read_address(data, {"PASSWORD": "s3cret"}, insecure_http=insecure_http)


@pytest.mark.parametrize("address", ["redis://10.0.0.7", "redis://valkey:6379/0", "redis://0.0.0.0"])
def test_clear_text_over_a_network_is_refused(address: str) -> None:
    """The password and whole answers of customers would travel so; who trusts the network says so."""
    with pytest.raises(ConfigError, match=r"would travel in clear\. .*rediss://.*--insecure-http"):
        _read(address)
    assert _read(address, insecure_http=True) is not None


@pytest.mark.parametrize("address", ["redis://127.0.0.1", "redis://[::1]:7000/2", "redis://localhost", "rediss://x"])
def test_loopback_and_tls_need_no_leave(address: str) -> None:
    """As with the other ways of a gateway."""
    assert _read(address) is not None


def test_all_of_an_address_is_read() -> None:
    """User, password, database."""
    found = _read("rediss://m%40e@valkey.example.com/3", rest="limits_password_env = 'PASSWORD'")
    assert found == Address("valkey.example.com", 6379, None, True, 3, "m@e", "s3cret", None)


def test_limits_in_memory_have_no_address() -> None:
    """Which is the default."""
    assert _read("memory") is None


@pytest.mark.parametrize("rest", ["limits_password_env = 'PASSWORD'", "limits_ca = 'ca.pem'"])
def test_what_is_for_redis_alone_is_refused_without_it(rest: str) -> None:
    """Who gives a password and not the address has made a mistake that costs N plans."""
    with pytest.raises(
        ConfigError, match=f'data.{rest.split(maxsplit=1)[0]}: it is for limits in Redis, and data.limits is "mem'
    ):
        _read("memory", rest=rest)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("limits_password_env = 'NOPE'", "data.limits_password_env: NOPE is not set in the environment"),
        ("limits_ca = '/nowhere/ca.pem'", "data.limits_ca /nowhere/ca.pem: No such file"),
    ],
)
def test_what_is_named_must_be_there(rest: str, message: str) -> None:
    """One line says which key and what."""
    with pytest.raises(ConfigError, match=message):
        _read("rediss://x", rest=rest)
