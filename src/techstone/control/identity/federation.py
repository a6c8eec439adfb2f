"""The way to a provider of log-ins and back, by OpenID Connect's authorization code flow with PKCE.

What binds both ends is sealed in a cookie of the browser that left, so an answer that comes to another browser, or that
nobody asked for, is refused (RFC 6749, 10.12; RFC 9700, 4.7). Where to come back to is ours alone, never a parameter.
"""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING

import msgspec

from techstone.control.identity.ports import Journey, ProviderError, Terms
from techstone.control.identity.records import Identified
from techstone.control.identity.tokens import TOKEN_BYTES, compose
from techstone.core.errors import InvalidRequest, NotFound, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techstone.control.identity.ports import Provider
    from techstone.control.identity.seals import Seals
    from techstone.control.ports import Randomness

_LOG = logging.getLogger("techstone.control")
_JOURNEY = "oidc journey"
LASTS = 600


class _Departure(msgspec.Struct, frozen=True):
    """What the cookie holds. `person` is who wants to connect the provider to their log-in; None: who logs in."""

    slug: str
    journey: Journey
    person: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a provider sends a browser back with."""

    code: str = ""
    state: str = ""
    error: str = ""
    issuer: str = ""


class Arrival(msgspec.Struct, frozen=True):
    """Who came back, by which terms. `person` is as it was at the departure."""

    terms: Terms
    found: Identified
    person: str | None


class Federation:
    """Send people to the configured providers, and meet who comes back. `public_url` is without a path."""

    def __init__(self, providers: Sequence[Provider], seals: Seals, randomness: Randomness, public_url: str) -> None:
        self._providers = {provider.terms.slug: provider for provider in providers}
        self._seals = seals
        self._randomness = randomness
        self._public_url = public_url

    @property
    def terms(self) -> tuple[Terms, ...]:
        """Those of all providers, as they were configured."""
        return tuple(provider.terms for provider in self._providers.values())

    async def depart(self, slug: str, person: str | None = None) -> tuple[str, str]:
        """Return the URL to log in at, and what the browser has to bring back; raise NotFound or ServiceUnavailable."""
        provider = self._find(slug)
        journey = Journey(*(compose(self._randomness(TOKEN_BYTES)) for _ in range(3)))
        try:
            url = await provider.locate(journey, self._back(slug))
        except ProviderError as error:
            raise _fail(provider.terms, error) from error
        return url, self._seals.seal(_JOURNEY, _Departure(slug, journey, person), LASTS)

    async def arrive(self, slug: str, sealed: str, answer: Answer) -> Arrival:
        """Return who came back; raise NotFound, InvalidRequest or ServiceUnavailable, in words for who reads it."""
        provider = self._find(slug)
        terms = provider.terms
        left = self._seals.open(_JOURNEY, sealed, _Departure)
        # Of another browser, of another log-in, or too late. An answer that names its issuer must name this one
        # (RFC 9207, 2.4).
        # Bytes, since text is compared in constant time only where it is ASCII.
        same = left is not None and hmac.compare_digest(left.journey.state.encode(), answer.state.encode())
        if left is None or left.slug != slug or not same:
            raise InvalidRequest(f"This log-in with {terms.name} has ended, or was begun elsewhere. Begin again.")
        if answer.issuer and answer.issuer != terms.issuer:
            raise InvalidRequest(f"This answer is not from {terms.name}. Begin again.")
        if answer.error or not answer.code:
            _LOG.warning("oidc %s: came back with error %.64r", terms.slug, answer.error)
            raise InvalidRequest(f"{terms.name} did not log you in. Try again, or ask who runs {terms.name}.")
        try:
            found = await provider.identify(left.journey, answer.code, self._back(slug))
        except ProviderError as error:
            raise _fail(terms, error) from error
        return Arrival(terms, found, left.person)

    def _find(self, slug: str) -> Provider:
        provider = self._providers.get(slug)
        if provider is None:
            raise NotFound("There is no such provider of log-ins.")
        return provider

    def _back(self, slug: str) -> str:
        return f"{self._public_url}/console/oidc/{slug}/back"


def _fail(terms: Terms, error: ProviderError) -> ServiceUnavailable:
    _LOG.error("oidc %s: %s", terms.slug, error)
    return ServiceUnavailable(
        f"{terms.name} did not answer as it should, so nobody was logged in. Try again; if it stays so, tell who runs "
        "this cloud: the log says what was wrong."
    )
