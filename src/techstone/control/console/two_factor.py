"""Two-factor of oneself: set it up by a code of the app, see recovery codes once, switch it off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, get, post
from markupsafe import Markup

from techstone.control.console.pages import visitor_of
from techstone.control.console.session import PageRequest, read_form
from techstone.control.console.shell import go
from techstone.core.errors import ApiError

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from techstone.control.console.pages import Pages
    from techstone.control.identity.factors import Draft

ShowOwn = Callable[[PageRequest, ApiError | None, str], Awaitable[Response[str]]]


class SetUp(msgspec.Struct, forbid_unknown_fields=True):
    """A code of the app that was set up, what it was set up with, as we sealed it, and the password."""

    sealed: str = ""
    code: str = ""
    proof: str = ""


class Proof(msgspec.Struct, forbid_unknown_fields=True):
    """A password or a code."""

    proof: str = ""


def list_two_factor(pages: Pages, show_own: ShowOwn) -> list[HTTPRouteHandler]:
    """Return the routes under /console/me/two-factor."""
    identity, factors, shell = pages.identity, pages.identity.factors, pages.shell

    def show_set_up(request: PageRequest, draft: Draft, problem: ApiError | None = None) -> Response[str]:
        return shell.show(
            request, "people/two-factor.html", visitor_of(request), draft=draft, qr=draw(draft.uri), problem=problem
        )

    def show_codes(request: PageRequest, codes: tuple[str, ...], *, fresh: bool) -> Response[str]:
        return shell.show(request, "people/recovery-codes.html", visitor_of(request), codes=codes, fresh=fresh)

    @get("/me/two-factor")
    async def begin(request: PageRequest) -> Response[Any]:
        visitor = visitor_of(request)
        if await factors.has(visitor.person.id):
            return go("/console/me")
        return show_set_up(request, factors.draft(visitor))

    @post("/me/two-factor")
    async def confirm(request: PageRequest) -> Response[str]:
        visitor, form = visitor_of(request), await read_form(request, SetUp)
        draft = factors.resume(visitor, form.sealed)
        try:
            # Whoever finds a session open must not lock its owner out, nor make a code that proves them to be it.
            await identity.prove(visitor, form.proof)
            codes = await factors.confirm(visitor, draft, form.code)
        except ApiError as problem:
            return show_set_up(request, draft, problem)
        return show_codes(request, codes, fresh=True)

    @post("/me/two-factor/codes")
    async def renew_codes(request: PageRequest) -> Response[str]:
        visitor, proof = visitor_of(request), (await read_form(request, Proof)).proof
        try:
            await identity.prove(visitor, proof)
            codes = await factors.renew_codes(visitor)
        except ApiError as problem:
            return await show_own(request, problem, "")
        return show_codes(request, codes, fresh=False)

    @post("/me/two-factor/off")
    async def disable(request: PageRequest) -> Response[str]:
        visitor, proof = visitor_of(request), (await read_form(request, Proof)).proof
        try:
            await identity.prove(visitor, proof)
            await factors.disable(visitor)
        except ApiError as problem:
            return await show_own(request, problem, "")
        return await show_own(request, None, "Two-factor is off. The password alone logs you in.")

    return [begin, confirm, renew_codes, disable]


def draw(uri: str) -> Markup:
    """Return a QR code as SVG markup: it stands in the page itself, so that the secret is in no address and no cache.

    Always dark on light, with its margin of four: so cameras find it (ISO/IEC 18004, 9.1).
    """
    import segno  # noqa: PLC0415 - for this page alone

    code = segno.make(uri, error="m", micro=False)
    return Markup(code.svg_inline(border=4, dark="#000", light="#fff", svgclass=None, lineclass=None, omitsize=True))  # noqa: S704 - segno's own
