"""The clients: openai's, which find TechStone by its own settings, repeat safely, and know keys, usage and cost."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import openai

from . import _settings
from ._completion import bill
from ._errors import MissingAPIKeyError
from ._stream import meter
from ._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2
    from openai import AsyncStream, NotGiven, Stream
    from openai._models import FinalRequestOptions
    from openai._types import Headers
    from typing_extensions import Self, Unpack

    from ._balance import AsyncBalances, Balances
    from ._chat import AsyncChat, Chat, ChatRequest
    from ._estimate import Estimate
    from ._keys import AsyncKeys, Keys
    from ._limits import Limits
    from ._options import APIKey, AsyncAPIKey, ClientOptions, CopyOptions
    from ._projects import AsyncProjects, Projects
    from ._usage import AsyncUsage, Usage

_Answer = TypeVar("_Answer")


class _Identity:
    """Who a client is: what both have in common."""

    admin_api_key: str | None
    organization: str | None
    project: str | None
    _custom_headers: Mapping[str, str]
    _ambient_authorizations: frozenset[str]
    _idempotency_header: str | None

    @property
    def admin_key(self) -> str | None:
        """The key for `keys`, `projects`, `usage` and `balance`; openai's `admin_api_key`."""
        return self.admin_api_key

    @admin_key.setter
    def admin_key(self, key: str | None) -> None:
        self.admin_api_key = key

    @property
    def user_agent(self) -> str:
        """What the client calls itself to the service."""
        return f"{type(self).__name__}/Python {__version__}"

    def _settle(
        self,
        admin_key: str | None,
        options: ClientOptions[httpx2.Client] | ClientOptions[httpx2.AsyncClient],
    ) -> None:
        """Set what openai's constructor takes no argument for, and undo what it read from OPENAI_... variables.

        An organisation, a project or headers (with Authorization, perhaps) meant for OpenAI are not TechStone's to see.
        """
        self.admin_api_key = admin_key
        self.organization = options.get("organization")
        self.project = options.get("project")
        self._custom_headers = options.get("default_headers") or {}
        self._ambient_authorizations = frozenset()
        # openai makes a key for each call and keeps it over retries, but sends it only where a header is named (3.54).
        self._idempotency_header = "Idempotency-Key"


class TechStoneAI(_Identity, openai.OpenAI):
    """A client of TechStone AI Cloud. What `openai.OpenAI` does, it does the same.

    Arguments that are not given come from the environment: `api_key` from TECHSTONE_API_KEY, `base_url` from
    TECHSTONE_BASE_URL or API_BASE_URL, `admin_key` (for `keys`, `projects`, `usage` and `balance`) from
    TECHSTONE_ADMIN_KEY. `admin_api_key` is openai's name of `admin_key`. The other options are openai's, but not its
    OPENAI_... variables.
    """

    def __init__(
        self,
        *,
        api_key: APIKey | None = None,
        base_url: str | httpx2.URL | NotGiven | None = None,
        admin_key: str | None = None,
        admin_api_key: str | None = None,
        **options: Unpack[ClientOptions[httpx2.Client]],
    ) -> None:
        api_key = _settings.read_api_key() if api_key is None else api_key
        admin_key = admin_key or admin_api_key or _settings.read_admin_key()
        _settings.require_key(api_key or admin_key, options)
        base_url = _settings.resolve_base_url(base_url)
        # An empty key is none, but at None openai would look for its own in the environment.
        super().__init__(api_key=api_key or "", admin_api_key="", base_url=base_url, **options)
        self._settle(admin_key, options)

    @cached_property
    def chat(self) -> Chat:  # pyright: ignore[reportIncompatibleMethodOverride] # it is one in openai too, at run time
        """The chat, whose answers have `cost` and `rate_limit`."""
        return cast("Chat", super().chat)

    def estimate(self, **request: Unpack[ChatRequest]) -> Estimate:
        """Say what a chat request would take, and whether it would be admitted, without sending it to a model.

        It takes what `chat.completions.create` takes.
        """
        from ._estimate import Estimates

        return Estimates(self).ask(request)

    def limits(self) -> Limits:
        """Say what is left of the limits, and who was refused lately; this counts against none of them."""
        from ._limits import PATH, Limits

        return self.get(PATH, cast_to=Limits)

    @cached_property
    def keys(self) -> Keys:
        """The account's keys."""
        from ._keys import Keys

        return Keys(self)

    @cached_property
    def projects(self) -> Projects:
        """The account's projects."""
        from ._projects import Projects

        return Projects(self)

    @cached_property
    def usage(self) -> Usage:
        """What the account used."""
        from ._usage import Usage

        return Usage(self)

    @cached_property
    def balance(self) -> Balances:
        """What the account has left."""
        from ._balance import Balances

        return Balances(self)

    def copy(
        self,
        *,
        admin_key: str | None = None,
        admin_api_key: str | None = None,
        **options: Unpack[CopyOptions[APIKey, httpx2.Client]],
    ) -> Self:
        """Return a client with the same options but those that are given here."""
        return super().copy(admin_api_key=admin_key or admin_api_key, **options)

    with_options = copy

    def _validate_headers(self, headers: Headers, custom_headers: Headers) -> None:
        try:
            super()._validate_headers(headers, custom_headers)
        except TypeError:
            raise MissingAPIKeyError from None

    def _process_response(
        self,
        *,
        cast_to: type[_Answer],
        options: FinalRequestOptions,
        response: httpx2.Response,
        stream: bool,
        stream_cls: type[Stream[Any] | AsyncStream[Any]] | None,
        retries_taken: int = 0,
    ) -> _Answer:
        return super()._process_response(
            cast_to=cast_to,
            options=bill(options, cast_to, response),
            response=response,
            stream=stream,
            stream_cls=meter(stream_cls),
            retries_taken=retries_taken,
        )


class AsyncTechStoneAI(_Identity, openai.AsyncOpenAI):
    """The async client of TechStone AI Cloud. What `openai.AsyncOpenAI` does, it does the same; see TechStoneAI."""

    def __init__(
        self,
        *,
        api_key: AsyncAPIKey | None = None,
        base_url: str | httpx2.URL | NotGiven | None = None,
        admin_key: str | None = None,
        admin_api_key: str | None = None,
        **options: Unpack[ClientOptions[httpx2.AsyncClient]],
    ) -> None:
        api_key = _settings.read_api_key() if api_key is None else api_key
        admin_key = admin_key or admin_api_key or _settings.read_admin_key()
        _settings.require_key(api_key or admin_key, options)
        base_url = _settings.resolve_base_url(base_url)
        super().__init__(api_key=api_key or "", admin_api_key="", base_url=base_url, **options)
        self._settle(admin_key, options)

    @cached_property
    def chat(self) -> AsyncChat:  # pyright: ignore[reportIncompatibleMethodOverride] # it is one in openai too, at run time
        """The chat, whose answers have `cost` and `rate_limit`."""
        return cast("AsyncChat", super().chat)

    async def estimate(self, **request: Unpack[ChatRequest]) -> Estimate:
        """Say what a chat request would take, and whether it would be admitted, without sending it to a model.

        It takes what `chat.completions.create` takes.
        """
        from ._estimate import AsyncEstimates

        return await AsyncEstimates(self).ask(request)

    async def limits(self) -> Limits:
        """Say what is left of the limits, and who was refused lately; this counts against none of them."""
        from ._limits import PATH, Limits

        return await self.get(PATH, cast_to=Limits)

    @cached_property
    def keys(self) -> AsyncKeys:
        """The account's keys."""
        from ._keys import AsyncKeys

        return AsyncKeys(self)

    @cached_property
    def projects(self) -> AsyncProjects:
        """The account's projects."""
        from ._projects import AsyncProjects

        return AsyncProjects(self)

    @cached_property
    def usage(self) -> AsyncUsage:
        """What the account used."""
        from ._usage import AsyncUsage

        return AsyncUsage(self)

    @cached_property
    def balance(self) -> AsyncBalances:
        """What the account has left."""
        from ._balance import AsyncBalances

        return AsyncBalances(self)

    def copy(
        self,
        *,
        admin_key: str | None = None,
        admin_api_key: str | None = None,
        **options: Unpack[CopyOptions[AsyncAPIKey, httpx2.AsyncClient]],
    ) -> Self:
        """Return a client with the same options but those that are given here."""
        return super().copy(admin_api_key=admin_key or admin_api_key, **options)

    with_options = copy

    def _validate_headers(self, headers: Headers, custom_headers: Headers) -> None:
        try:
            super()._validate_headers(headers, custom_headers)
        except TypeError:
            raise MissingAPIKeyError from None

    async def _process_response(
        self,
        *,
        cast_to: type[_Answer],
        options: FinalRequestOptions,
        response: httpx2.Response,
        stream: bool,
        stream_cls: type[Stream[Any] | AsyncStream[Any]] | None,
        retries_taken: int = 0,
    ) -> _Answer:
        return await super()._process_response(
            cast_to=cast_to,
            options=bill(options, cast_to, response),
            response=response,
            stream=stream,
            stream_cls=meter(stream_cls),
            retries_taken=retries_taken,
        )
