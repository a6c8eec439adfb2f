"""Coming into the Console with a browser, and taking pictures of its pages, to be looked at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from barriers import find_barriers

if TYPE_CHECKING:
    from playwright.async_api import Page
    from service import Service

SCREENS = Path(__file__).parents[2] / "build" / "screens"
EMAIL, PASSWORD = "ann@example.com", "correct horse battery"
INSIDE = [
    "",
    "/keys",
    "/keys/new",
    "/projects",
    "/usage",
    "/usage?span=7d&by=day",
    "/limits",
    "/logs",
    "/logs?status=failed",
    "/playground",
    "/models",
    "/billing",
    "/billing/statements",
    "/billing/statements?month=2026-01",
    "/people",
    "/me",
    "/operate/accounts",
    "/operate/codes",
    "/operate/health",
    "/operate/payments",
    "/operate/invoices",
    "/audit",
    "/audit?action=code",
    "/operate/audit",
    "/parts",
    "/x",
]
_LOOKS = (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390))


async def come_in(page: Page, service: Service) -> None:
    """Claim the cloud, or log in where that was done."""
    claim = re.search(r"/console/link/[\w-]+", service.printed())
    assert claim is not None
    await page.goto("/console/log-in")
    if not (service.folder / "claimed").exists():
        (service.folder / "claimed").touch()
        await page.goto(claim[0])
    await page.fill("#email", EMAIL)
    await page.fill("#password", PASSWORD)
    await page.click("button[type=submit]")
    await page.wait_for_url("**/console")


async def look(page: Page, name: str) -> list[str]:
    """Take the page's picture in both themes and two widths; return what shuts people out, or does not fit."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    found = []
    for scheme, width in _LOOKS:
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]  # one of its words
        await page.set_viewport_size({"width": width, "height": 900})
        await page.screenshot(path=SCREENS / f"{name}-{scheme}-{width}.png")
        if await page.evaluate("document.scrollingElement.scrollWidth > innerWidth"):
            found.append(f"scrolls sideways at {width}")
        if (scheme, width) in {_LOOKS[0], _LOOKS[3]}:  # axe takes long
            found += await find_barriers(page)
    return found


async def answer(page: Page, yes: str | None) -> str:
    """Answer the page's own question, by the button of that name or by Cancel; return what was asked."""
    question = page.get_by_role("dialog")
    asked = await question.inner_text()
    await question.get_by_role("button", name=yes or "Cancel").click()
    await question.wait_for(state="detached")
    return asked
