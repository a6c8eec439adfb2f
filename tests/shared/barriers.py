"""What shuts people out of a page, by axe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.async_api import Page

_AXE = (Path(__file__).parents[1] / "node" / "node_modules" / "axe-core" / "axe.min.js").read_text()
# Every rule, those for best practices and the experimental ones, too. Left out is AAA's contrast of 7:1: our palette
# keeps AA's 4.5:1. Style sheets are not preloaded: axe would apply them inline, against the page's policy. Selectors
# take a third of the time.
_RUN = """axe.run(document, {
  preload: false,
  resultTypes: ["violations"],
  selectors: false,
  rules: Object.fromEntries(
    axe.getRules().map(({ ruleId }) => [ruleId, { enabled: ruleId !== "color-contrast-enhanced" }]),
  ),
}).then(({ violations }) => violations.flatMap(
  ({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`),
))"""


# A change of theme reaches the page with its next frame, and what fades has its colours only at the end.
_SETTLE = """() => new Promise((settle) => requestAnimationFrame(() => requestAnimationFrame(settle))).then(
  () => Promise.allSettled(document.getAnimations().filter(
    (animation) => animation.effect.getComputedTiming().endTime !== Infinity,
  ).map(({ finished }) => finished)),
).then(() => null)"""


async def find_barriers(page: Page) -> list[str]:
    """Return what axe has against a page once it has come to rest."""
    await page.evaluate(_SETTLE)
    await page.evaluate(_AXE)
    found: list[str] = await page.evaluate(_RUN)
    return found
