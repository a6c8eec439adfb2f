"""Our side of OpenID Connect against a real, certified issuer, and against tokens that it would never send."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from issuer import CLIENT, SECRET, Issuer, issuing, pass_through
from msgspec.structs import replace

from techstone.adapters.oidc import OidcProvider, is_safe
from techstone.control.identity.ports import Journey, ProviderError, Terms
from techstone.control.identity.records import Identified

if TYPE_CHECKING:
    from collections.abc import Iterator

BACK = "http://127.0.0.1:1/console/oidc/id/back"
JOURNEY = Journey("s" * 43, "n" * 43, "v" * 43)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing(BACK) as running:
        yield running


@pytest.fixture
def provider(issuer: Issuer) -> Iterator[OidcProvider]:
    yield connect(issuer.url)
    issuer.spoil()


def connect(url: str, secret: str = SECRET) -> OidcProvider:
    return OidcProvider(Terms("Id", "id", url), CLIENT, secret)


async def go_there(issuer: Issuer, provider: OidcProvider, login: str = "ann") -> str:
    """Log in at the issuer and return the code that it sends back."""
    came = pass_through(issuer, await provider.locate(JOURNEY, BACK), login)
    given = parse_qs(urlsplit(came).query)
    assert came.startswith(BACK)
    assert (given["state"], given["iss"]) == ([JOURNEY.state], [issuer.url])
    return given["code"][0]


async def test_who_logs_in_there_is_identified(issuer: Issuer, provider: OidcProvider) -> None:
    """By subject and confirmed address, with PKCE, state and nonce; a code is good once."""
    asked = parse_qs(urlsplit(await provider.locate(JOURNEY, BACK)).query)
    assert (asked["code_challenge_method"], asked["response_type"]) == (["S256"], ["code"])
    assert JOURNEY.verifier not in str(asked)
    code = await go_there(issuer, provider)
    found = await provider.identify(JOURNEY, code, BACK)
    assert found == Identified(issuer.url, "ann", "ann@example.com", verified=True)
    with pytest.raises(ProviderError, match="refused: OAuthError: invalid_grant"):
        await provider.identify(JOURNEY, code, BACK)


async def test_address_in_the_id_token_is_enough() -> None:
    """As most issuers send it; an unconfirmed one is told as that."""
    with issuing(BACK, in_token=True) as issuer:
        provider = connect(issuer.url)
        issuer.spoil(email="of@the.token", userinfo="somebody else")
        found = await provider.identify(JOURNEY, await go_there(issuer, provider, "unverified"), BACK)
    assert found == Identified(issuer.url, "unverified", "of@the.token", verified=False)


async def test_issuer_that_breaks_off_is_told() -> None:
    """In the middle of its discovery document: as any other failure of it, and no error of the library's."""

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        writer.close()

    async with await asyncio.start_server(break_off, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProviderError, match="well-known/openid-configuration"):
            await connect(f"http://127.0.0.1:{port}").locate(JOURNEY, BACK)


BROKEN: dict[str, dict[str, object]] = {
    "another audience": {"aud": "another"},
    "one of several audiences, for another party": {"aud": [CLIENT, "another"], "azp": "another"},
    "no audience": {"aud": None},
    "another issuer": {"iss": "https://other.example"},
    "expired": {"exp": int(time.time()) - 120},
    "without an end": {"exp": None},
    "from the future": {"iat": int(time.time()) + 3600},
    "not yet good": {"nbf": int(time.time()) + 3600},
    "another nonce": {"nonce": "x" * 43},
    "no nonce": {"nonce": None},
    "no subject": {"sub": None},
    "of another access token": {"at_hash": "x" * 22},
    "unsigned": {"alg": "none"},
    "signed with the client's secret": {"alg": "HS256"},
    "signed by another key of the same name": {"key": "foreign"},
    "signed by a key that is not published": {"key": "unknown"},
    "a broken signature": {"cut": True},
    "another subject at userinfo": {"userinfo": "somebody else"},
}


@pytest.mark.parametrize("how", BROKEN)
async def test_token_that_does_not_hold_identifies_nobody(issuer: Issuer, provider: OidcProvider, how: str) -> None:
    """Each check of OpenID Connect Core 1.0, 3.1.3.7, and the algorithms of RFC 8725; nothing of it in the message."""
    code = await go_there(issuer, provider)
    issuer.spoil(**BROKEN[how])
    with pytest.raises(ProviderError) as refused:
        await provider.identify(JOURNEY, code, BACK)
    assert "ann@example.com" not in str(refused.value)
    assert "eyJ" not in str(refused.value)


@pytest.mark.parametrize("change", [{"verifier": "w" * 43}, {"nonce": "m" * 43}])
async def test_answer_of_another_journey_identifies_nobody(
    issuer: Issuer, provider: OidcProvider, change: dict[str, str]
) -> None:
    """A code that was stolen is good for nothing without what this browser left with."""
    code = await go_there(issuer, provider)
    with pytest.raises(ProviderError):
        await provider.identify(replace(JOURNEY, **change), code, BACK)


async def test_true_must_be_true(issuer: Issuer) -> None:
    """The word "true" is no confirmation of an address."""
    with issuing(BACK, in_token=True) as other:
        provider = connect(other.url)
        other.spoil(email_verified="true")
        found = await provider.identify(JOURNEY, await go_there(other, provider), BACK)
    assert not found.verified
    assert issuer.url != other.url


async def test_what_is_configured_wrong_is_told(issuer: Issuer) -> None:
    """Another issuer's name, nobody there, a wrong secret: a line for the operator, without the secret."""
    for url, told in ((f"{issuer.url}/", "calls itself"), ("http://127.0.0.1:9", "GET http"), (issuer.url, "refused")):
        provider = connect(url, "a wrong secret")
        with pytest.raises(ProviderError, match=told) as refused:
            await provider.identify(JOURNEY, await go_there(issuer, provider), BACK)
        assert "wrong secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://id.example/x", True), ("http://127.0.0.1:80/", True), ("http://[::1]/", True),
        ("http://localhost/", True), ("http://id.example/", False), ("http://127.0.0.1.id.example/", False),
        ("ftp://127.0.0.1/", False), ("file:///etc/passwd", False), ("", False),
    ],
)  # fmt: skip
def test_only_this_machine_goes_without_tls(url: str, *, safe: bool) -> None:
    """What carries codes and secrets is https."""
    assert is_safe(url) == safe
