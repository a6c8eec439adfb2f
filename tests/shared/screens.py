"""Pictures of a page as people see it, to be looked at; and what in it shuts somebody out, or does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from barriers import find_barriers

if TYPE_CHECKING:
    from playwright.async_api import Page

SCREENS = Path(__file__).parents[2] / "build" / "screens"
_LOOKS = (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390))


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
