"""A provider of log-ins by OpenID Connect; implements `Provider`. Imported only where one is configured (0.5 s).

Nothing that a browser sends decides what is fetched: the issuer is configured, and its discovery document names the
rest, all of it https but on this machine. Authlib speaks OAuth and judges the claims, joserfc the signature.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from urllib3.exceptions import HTTPError

from techstone.control.identity.ports import ProviderError
from techstone.control.identity.records import Identified

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.control.identity.ports import Journey, Terms

_SECONDS = 10.0
_LARGEST = 1_000_000
# How long a discovery document is believed, and how soon keys are asked for again when a token names an unknown one.
_DISCOVERY_LASTS, _KEYS_LAST, _KEYS_PAUSE = 3600.0, 3600.0, 60.0
# RFC 8725, 3.1 and 3.2: signatures by the issuer's own key pair alone; never "none", nor HMAC by what others know.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
# How much clocks may differ (seconds).
_LEEWAY = 60
_SCOPE = "openid email"
_T = TypeVar("_T")


class _Discovery(msgspec.Struct, frozen=True):
    """What is needed of the issuer's metadata (OpenID Connect Discovery 1.0, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Keys(msgspec.Struct, frozen=True):
    keys: tuple[dict[str, Any], ...]  # as RFC 7517 leaves it: each kind has members of its own


class _Claims(msgspec.Struct, frozen=True):
    """What is asked of an id token, or of the userinfo endpoint. Only a true `true` is verified."""

    sub: str
    email: str | None = None
    email_verified: object = None


class Kept:
    """A value that is fetched again when it is old."""

    def __init__(self) -> None:
        self.at = float("-inf")
        self.value: Any = None  # what `_keep` put there, and returns as that


class OidcProvider:
    """One issuer, by the client that the operator registered there."""

    def __init__(self, terms: Terms, client_id: str, client_secret: str) -> None:
        self.terms = terms
        self._client_id = client_id
        self._client_secret = client_secret
        self._discovery, self._keys = Kept(), Kept()

    async def locate(self, journey: Journey, back: str) -> str:
        """Return the URL where somebody logs in; raise ProviderError."""
        return await asyncio.to_thread(self._locate, journey, back)

    async def identify(self, journey: Journey, code: str, back: str) -> Identified:
        """Return who came back with a code; raise ProviderError for whatever does not hold."""
        return await asyncio.to_thread(self._identify, journey, code, back)

    def _locate(self, journey: Journey, back: str) -> str:
        with self._connect(back) as session:
            url, _ = session.create_authorization_url(
                self._discover().authorization_endpoint,
                state=journey.state,
                code_verifier=journey.verifier,
                nonce=journey.nonce,
            )
        return str(url)

    def _identify(self, journey: Journey, code: str, back: str) -> Identified:
        discovery = self._discover()
        with self._connect(back, discovery) as session:
            try:
                token = session.fetch_token(
                    discovery.token_endpoint,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=journey.verifier,
                    allow_redirects=False,
                )
            except (AuthlibBaseError, requests.RequestException, ValueError) as error:
                raise ProviderError(f"the token endpoint refused: {_tell(error)}") from error
            access, id_token = token.get("access_token"), token.get("id_token")
            if not isinstance(id_token, str) or not isinstance(access, str):
                raise ProviderError("the token endpoint answered without an id token")
            claims = self._check(id_token, access, journey.nonce)
            if claims.email is None and discovery.userinfo_endpoint is not None:
                claims = self._ask_userinfo(discovery.userinfo_endpoint, access, claims.sub)
        return Identified(self.terms.issuer, claims.sub, claims.email or "", claims.email_verified is True)

    def _check(self, id_token: str, access: str, nonce: str) -> _Claims:
        """Return the claims of a token whose signature, issuer, audience, times and nonce hold."""
        registry = jws.JWSRegistry(algorithms=_ALGORITHMS)
        if id_token.count(".") != 2:
            raise ProviderError("its id token is encrypted, or is none")
        try:
            read = jwt.decode(id_token, self._find_key, registry=registry)
            wanted = {
                "iss": {"essential": True, "value": self.terms.issuer},
                "aud": {"essential": True, "values": [self._client_id]},
            }
            known = {"nonce": nonce, "client_id": self._client_id, "access_token": access}
            CodeIDToken(read.claims, read.header, wanted, known).validate(leeway=_LEEWAY)
            return msgspec.convert(read.claims, _Claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            # The reason alone: a token, or what it claims, belongs into no log.
            raise ProviderError(f"its id token does not hold: {_tell(error)}") from error

    def _find_key(self, token: Any) -> Any:  # noqa: ANN401 - joserfc's union of eight kinds
        """Return the issuer's key for a token; an unknown one may be new."""
        keys = self._fetch_keys(_KEYS_LAST)
        kid = token.headers().get("kid")
        if kid is not None and all(key.get("kid") != kid for key in keys.keys):
            keys = self._fetch_keys(_KEYS_PAUSE)
        fitting = [key for key in keys.keys if key.get("use", "sig") == "sig" and key.get("kty") in {"RSA", "EC"}]
        named = [key for key in fitting if kid is None or key.get("kid") == kid]
        if len(named) != 1:
            raise ValueError("it is signed by a key that the issuer does not publish")
        return next(iter(KeySet.import_key_set({"keys": named}).keys))

    def _ask_userinfo(self, url: str, access: str, subject: str) -> _Claims:
        """Return what the userinfo endpoint tells of the same subject (OpenID Connect Core 1.0, 5.3.2)."""
        claims = self._fetch(url, _Claims, {"Authorization": f"Bearer {access}"})
        if claims.sub != subject:
            raise ProviderError("its userinfo endpoint tells of another subject than its id token")
        return claims

    def _discover(self) -> _Discovery:
        return _keep(self._discovery, _DISCOVERY_LASTS, self._fetch_discovery)

    def _fetch_discovery(self) -> _Discovery:
        found = self._fetch(self.terms.issuer.rstrip("/") + "/.well-known/openid-configuration", _Discovery)
        if found.issuer != self.terms.issuer:
            raise ProviderError(f"it calls itself {found.issuer!r}: set `issuer` to exactly that, if that is it")
        for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint):
            if url is not None and not is_safe(url):
                raise ProviderError(f"{url!r} is not https")
        return found

    def _fetch_keys(self, lasts: float) -> _Keys:
        return _keep(self._keys, lasts, lambda: self._fetch(self._discover().jwks_uri, _Keys))

    def _fetch(self, url: str, shape: type[_T], headers: dict[str, str] | None = None) -> _T:
        try:
            with (
                self._open() as session,
                session.get(url, headers=headers, timeout=_SECONDS, allow_redirects=False, stream=True) as answer,
            ):
                body = answer.raw.read(_LARGEST, decode_content=True)
                if answer.status_code != requests.codes.ok:
                    raise ProviderError(f"GET {url}: status {answer.status_code}")
            return msgspec.json.decode(body, type=shape)
        except (requests.RequestException, HTTPError, msgspec.MsgspecError) as error:
            # What goes wrong while `raw` is read is urllib3's own.
            raise ProviderError(f"GET {url}: {_tell(error)}") from error

    def _open(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = not is_loopback(self.terms.issuer)  # no proxy leads to this machine
        return session

    def _connect(self, back: str, discovery: _Discovery | None = None) -> Any:  # noqa: ANN401 - Authlib has no types
        methods = discovery.token_endpoint_auth_methods_supported if discovery else ()
        session = OAuth2Session(
            self._client_id,
            self._client_secret,
            token_endpoint_auth_method="client_secret_post"
            if methods and "client_secret_basic" not in methods
            else "client_secret_basic",
            scope=_SCOPE,
            redirect_uri=back,
            code_challenge_method="S256",
            default_timeout=_SECONDS,
        )
        session.trust_env = not is_loopback(self.terms.issuer)
        return session


def is_safe(url: str) -> bool:
    """Say whether what is sent there can be read by nobody else: https, or this machine."""
    return urlsplit(url).scheme == "https" or (urlsplit(url).scheme == "http" and is_loopback(url))


def is_loopback(url: str) -> bool:
    """Say whether the URL is of this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _keep(kept: Kept, lasts: float, fetch: Callable[[], _T]) -> _T:
    now = time.monotonic()
    if kept.at + lasts <= now:
        kept.value, kept.at = fetch(), now
    value: _T = kept.value
    return value


def _tell(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
