"""Who asks: the session's cookie, and what shows that a change was meant by its own page.

A change needs both an `Origin` (or `Sec-Fetch-Site`) of ours and the session's token in the form (row W-1); a cookie is
`__Host-`, Secure, HttpOnly and SameSite=Lax wherever the page came by HTTPS (row W-3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_origin
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from techstone.control.identity.tokens import is_csrf, show_csrf
from techstone.core.errors import InvalidRequest, PayloadTooLarge

if TYPE_CHECKING:
    from litestar import Response

    from techstone.control.identity.records import Visitor
    from techstone.control.identity.service import Identity

PageRequest = Request[Any, Any, Any]
_S = TypeVar("_S", bound=msgspec.Struct)

_LONGEST_TOKEN = 64
# The largest is a model with all its routes and prices: some kilobytes.
LARGEST_FORM = 64 * 1024
_MOST_FIELDS = 1000
Use = Literal["step", "journey", "invitation"]
# Where a second factor is set up; who must have one finds nothing else.
SET_UP = "/console/me/two-factor"
# In a request's state: who asks, once they are let in.
VISITOR = "visitor"


class LogInFirst(Exception):
    """The page is for who is logged in."""


class SetUpFirst(Exception):
    """An account of who is logged in asks for two-factor, and they have none: there is nothing else to be done."""


class ForeignForm(Exception):
    """The form is not one of ours, or of a session that has ended."""


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """A form without fields."""


class Caller(msgspec.Struct, frozen=True):
    """Where a request came from. `token` is the session's, or empty."""

    token: str
    agent: str
    address: str
    secure: bool

    @property
    def csrf(self) -> str:
        """What a form of this session must hold."""
        return show_csrf(self.token)


def identify(request: PageRequest) -> Caller:
    """Return where the request came from; the gateway writes the forwarded headers itself."""
    secure = request.headers.get("x-forwarded-proto") == "https"
    token = request.cookies.get(_name(secure=secure), "")
    return Caller(
        token if len(token) <= _LONGEST_TOKEN else "",
        request.headers.get("user-agent", ""),
        request.headers.get("x-forwarded-for", ""),
        secure,
    )


async def recognise(identity: Identity, request: PageRequest) -> Visitor | None:
    """Return who is logged in."""
    caller = identify(request)
    return await identity.recognise(caller.token) if caller.token else None


async def read_form(request: PageRequest, shape: type[_S]) -> _S:
    """Return a form's fields; raise ForeignForm, or InvalidRequest by field."""
    check_origin(request)
    if request.content_type[0] != RequestEncodingType.URL_ENCODED:
        raise ForeignForm
    # What may come several times comes as a list, with its empty places: rows of a table stay together.
    lists = {field.name for field in msgspec.structs.fields(shape) if get_origin(field.type) is tuple}
    sent: dict[str, Any] = {}
    for name, value in await _parse(request):
        if name in lists:
            sent.setdefault(name, []).append(value)
        else:
            sent[name] = value
    if not is_csrf(identify(request).token, str(sent.pop("csrf", ""))):
        raise ForeignForm
    # An empty field is one that was left out.
    filled = {name: value for name, value in sent.items() if value != ""}
    try:
        return msgspec.convert(filled, shape, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{error}.") from error


async def _parse(request: PageRequest) -> list[tuple[str, str]]:
    """Return a form's fields; raise InvalidRequest or PayloadTooLarge.

    Not by the framework: it remembers the last 1,024 forms by their bodies, passwords among them, of any size.
    """
    try:
        body = (await request.body()).decode("latin-1")
        return parse_qsl(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except RequestEntityTooLarge as error:
        raise PayloadTooLarge(LARGEST_FORM) from error
    except ValueError as error:
        raise InvalidRequest(f"A form has at most {_MOST_FIELDS} fields.") from error


def read_query(request: PageRequest, shape: type[_S]) -> _S:
    """Return what is looked for in the URL; raise InvalidRequest by field."""
    sent = {name: value.strip() for name, value in request.query_params.multi_items() if value.strip()}
    try:
        return msgspec.convert(sent, shape, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The address holds what cannot be read: {error}.") from error


def check_origin(request: PageRequest) -> None:
    """Raise ForeignForm for what another site sent."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site != "same-origin":
            raise ForeignForm
        return
    own = f"{request.headers.get('x-forwarded-proto', 'http')}://{request.headers.get('host', '')}"
    if request.headers.get("origin") != own:
        raise ForeignForm


def remember(response: Response[Any], request: PageRequest, token: str) -> None:
    """Give the browser its session, until it is closed."""
    _set(response, request, "", token)


def forget(response: Response[Any], request: PageRequest) -> None:
    """Take the session from the browser."""
    _set(response, request, "", "", 0)


def keep(response: Response[Any], request: PageRequest, use: Use, value: str, seconds: int) -> None:
    """Give the browser what it has to bring back soon: no session, under a name of its own."""
    _set(response, request, use, value, seconds)


def bring(request: PageRequest, use: Use) -> str:
    """Return what the browser was given to bring back, or nothing."""
    return request.cookies.get(_name(use, secure=identify(request).secure), "")


def drop(response: Response[Any], request: PageRequest, use: Use) -> None:
    """Take it from the browser."""
    _set(response, request, use, "", 0)


def _set(response: Response[Any], request: PageRequest, use: str, value: str, seconds: int | None = None) -> None:
    secure = identify(request).secure
    name = _name(use, secure=secure)
    response.set_cookie(
        Cookie(key=name, value=value, path="/", max_age=seconds, secure=secure, httponly=True, samesite="lax")
    )


def _name(use: str = "", *, secure: bool) -> str:
    return ("__Host-techstone" if secure else "techstone") + (f"-{use}" if use else "")
