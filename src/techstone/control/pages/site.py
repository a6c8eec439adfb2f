"""The documentation over HTTP: pages, their Markdown, the search index, style and script, and the API reference.

What takes longer than a moment (Markdown to HTML, files) is done on a thread, once.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Request, Response, Router, route
from litestar.response import Redirect

from techstone.control.pages import assets
from techstone.control.pages.documentation import HOME, Documentation, locate
from techstone.core.errors import UrlNotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from litestar.handlers import HTTPRouteHandler
    from litestar.types import Method

    from techstone.control.pages.markdown import Page
    from techstone.control.pages.openapi import Reference

    Look = Callable[[Request[Any, Any, Any]], Awaitable["Reading"]]

_METHODS: list[Method] = ["GET", "HEAD"]
_YEAR = "public, max-age=31536000, immutable"
REFERENCE = "reference"
# Everything comes from here, and no style or script stands in a page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class Reading(msgspec.Struct, frozen=True):
    """What a page says to its reader alone: the hint of an own key, and the model that answers questions about this."""

    hint: str | None = None
    guide: str | None = None


async def _see_nobody(_: Request[Any, Any, Any]) -> Reading:
    """Say that the reader is anybody."""
    return Reading()


# A key in a snippet; examples of answers, which show the end of one, stay.
_KEY = re.compile(r"ts_live_\.\.\.(?!\w)")
# In `base.html`, of the search.
_GUIDE = 'data-guide=""'


class Site:
    """Renders each page once, when it is asked for first. `look` sees what is for a reader alone."""

    def __init__(self, documentation: Documentation, reference: Reference, look: Look = _see_nobody) -> None:
        self.look = look
        self.documentation = documentation
        self.reference = reference
        self._pages: dict[str, str] = {}
        self._environment = Environment(
            loader=FileSystemLoader([Path(__file__).parent / "templates", assets.FOLDER]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )

    def renew(self, documentation: Documentation) -> None:
        """Show another documentation from now on."""
        self.documentation = documentation
        self._pages = {}

    def show(self, name: str) -> str | None:
        """Return a page as HTML, the interactive reference too; None where there is none of that name."""
        shown = self._pages.get(name)
        if shown is None:
            if name == REFERENCE:
                shown = self._pages[name] = self._render("reference.html")
            elif name in self.documentation.sources:
                shown = self._pages[name] = self._render_page(name)
        return shown

    def _render_page(self, name: str) -> str:
        pages = self.documentation.pages
        names = list(pages)
        place = names.index(name)
        return self._render(
            "page.html",
            page=pages[name],
            before=pages[names[place - 1]] if place else None,
            after=pages[names[place + 1]] if place + 1 < len(names) else None,
        )

    def _render(self, template: str, **more: Page | None) -> str:
        documentation = self.documentation
        return self._environment.get_template(template).render(
            pages=documentation.pages, groups=documentation.groups, locate=locate, asset=assets.locate, **more
        )


def route_site(site: Site) -> Router:
    """Return the routes of the documentation."""

    @route("/", http_method=_METHODS)
    async def begin() -> Redirect:
        return Redirect("/console")

    @route(["/docs", "/docs/{name:str}"], http_method=_METHODS)
    async def show(request: Request[Any, Any, Any], name: str = HOME) -> Response[str]:
        if name.endswith(".md"):
            sources = await asyncio.to_thread(lambda: site.documentation.sources)
            source = sources.get(name.removesuffix(".md"))
            if source is not None:
                return _answer(source, "text/markdown")
        else:
            page = await asyncio.to_thread(site.show, name)
            if page is not None:
                return _answer(_address(page, await site.look(request)), MediaType.HTML, _POLICY)
        raise UrlNotFound(request.method, request.url.path)

    return Router("/", route_handlers=[begin, show, *_list_files(site)])


def _list_files(site: Site) -> list[HTTPRouteHandler]:
    """Return the routes of what is no page."""

    @route("/docs/search.json", http_method=_METHODS)
    async def find() -> Response[bytes]:
        return _answer(await asyncio.to_thread(lambda: site.documentation.search), "application/json")

    @route("/docs/assets/{path:path}", http_method=_METHODS)
    async def fetch(request: Request[Any, Any, Any], path: str) -> Response[bytes]:
        asset = await asyncio.to_thread(assets.read, path.lstrip("/"))
        if asset is None:
            raise UrlNotFound(request.method, request.url.path)
        return Response(asset.data, media_type=asset.media_type, headers={"cache-control": _YEAR})

    @route("/llms.txt", http_method=_METHODS)
    async def digest() -> Response[str]:
        return _answer(await asyncio.to_thread(lambda: site.documentation.digest), "text/plain")

    @route("/openapi.json", http_method=_METHODS)
    async def describe() -> Response[bytes]:
        return _answer(site.reference.document, "application/json")

    return [find, fetch, digest, describe]


def _address(page: str, reading: Reading) -> str:
    """Return a page as its reader sees it."""
    if reading.guide:
        page = page.replace(_GUIDE, f'data-guide="{reading.guide}"')
    return _KEY.sub(reading.hint, page) if reading.hint else page


def _answer(content: Any, media_type: str, policy: str | None = None) -> Response[Any]:  # noqa: ANN401 - text or bytes
    headers = {"cache-control": "no-cache"}
    if policy is not None:
        headers["content-security-policy"] = policy
    return Response(content, media_type=media_type, headers=headers)
