"""Which proxy an upstream is reached through: the rules of curl."""

from __future__ import annotations

import pytest

from techstone.adapters.upstreams import proxy
from techstone.adapters.upstreams.proxy import Proxy
from techstone.gateway.ports import Origin

HTTPS = Origin("https", "api.example.com", 443)
HTTP = Origin("http", "api.example.com", 80)


def test_proxy_is_chosen_by_scheme() -> None:
    """HTTPS_PROXY for https, HTTP_PROXY for http, ALL_PROXY for what has none of its own."""
    found = proxy.read({"HTTPS_PROXY": "http://a:1", "ALL_PROXY": "b:2"})
    assert found.choose(HTTPS) == Proxy("a", 1)
    assert found.choose(HTTP) == Proxy("b", 2)
    assert proxy.read({}).choose(HTTPS) is None


def test_lower_case_wins_and_credentials_are_decoded() -> None:
    """As curl does; user and password may be percent-encoded."""
    found = proxy.read({"https_proxy": "http://us%40er:p%3Aw@a", "HTTPS_PROXY": "http://b"})
    assert found.choose(HTTPS) == Proxy("a", 8080, "Basic dXNAZXI6cDp3")


@pytest.mark.parametrize(
    ("exempt", "direct"),
    [
        ("api.example.com", True),
        ("example.com", True),
        (".example.com", True),
        ("API.EXAMPLE.COM", True),
        ("other.com, example.com", True),
        ("api.example.com:443", True),
        ("*", True),
        ("ample.com", False),
        ("api.example.com:8443", False),
        ("", False),
    ],
)
def test_no_proxy_names_hosts_and_their_subdomains(exempt: str, *, direct: bool) -> None:
    """A name exempts itself and what is below it, never what merely ends alike."""
    found = proxy.read({"ALL_PROXY": "http://a", "NO_PROXY": exempt})
    assert (found.choose(HTTPS) is None) == direct


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_is_always_direct(host: str) -> None:
    """The engine is never asked through somebody else's proxy."""
    assert proxy.read({"ALL_PROXY": "http://a"}).choose(Origin("http", host, 80)) is None


@pytest.mark.parametrize("value", ["socks5://a:1", "https://a:1", "http://"])
def test_proxy_that_we_cannot_speak_to_is_no_proxy(value: str) -> None:
    """Only plain HTTP proxies are used."""
    assert proxy.read({"ALL_PROXY": value}).choose(HTTPS) is None
