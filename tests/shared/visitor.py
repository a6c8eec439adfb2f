"""Somebody who looks at the service's pages with a browser, and misses nothing that goes wrong there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, WebError

_PATIENCE = 120_000  # milliseconds, for whatever a page is waited for, on a machine that has much else to do
Scheme = Literal["light", "dark"]


class Visitor:
    """Somebody with a fresh profile for every page that they open. `problems` is what went wrong in any of them."""

    def __init__(self, browser: Browser, origin: str) -> None:
        self.origin = origin
        self.problems: list[str] = []
        self._browser = browser
        self._profiles: list[BrowserContext] = []

    async def open(
        self,
        path: str,
        *,
        scheme: Scheme = "light",
        width: int = 1440,
        permissions: Sequence[str] = (),
        script: bool = True,
    ) -> Page:
        """Open a page of the service, in a colour scheme and a width, and wait until it is loaded."""
        profile = await self._browser.new_context(
            base_url=self.origin,
            color_scheme=scheme,
            viewport={"width": width, "height": 900},
            permissions=list(permissions),
            java_script_enabled=script,
        )
        profile.set_default_timeout(_PATIENCE)
        profile.on("console", self._hear)
        profile.on("weberror", self._catch)
        profile.on("request", self._follow)
        profile.on("requestfailed", self._miss)
        profile.on("response", self._receive)
        self._profiles.append(profile)
        page = await profile.new_page()
        await page.goto(path)
        return page

    async def leave(self) -> None:
        """Close everything."""
        for profile in self._profiles:
            await profile.close()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _catch(self, error: WebError) -> None:
        self.problems.append(f"script: {error.error}")

    def _follow(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:")):
            self.problems.append(f"to another host: {request.url}")

    def _miss(self, request: Request) -> None:
        if request.failure == "net::ERR_ABORTED":
            return  # the visitor went on before it came; what the service refuses comes as an answer
        self.problems.append(f"{request.method} {request.url}: {request.failure}")

    def _receive(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.request.method} {response.url}: {response.status}")
