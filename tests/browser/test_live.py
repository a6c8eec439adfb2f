"""What moves by itself in the Console: limits, the newest requests, the first request that fails, system health."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from haste import within
from screens import SCREENS, come_in, look

if TYPE_CHECKING:
    from playwright.async_api import Page
    from service import Service
    from visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def page(visitor: Visitor, service: Service) -> Page:
    opened = await visitor.open("/console/log-in", width=1280)
    await come_in(opened, service)
    return opened


async def make_key(page: Page, name: str, **limits: str) -> str:
    await page.goto("/console/keys/new")
    await page.fill("#name", name)
    if limits:
        await page.click("summary:has-text('Models, limits')")
    for field, value in limits.items():
        await page.fill(f"#{field}", value)
    await page.click("text=Create key")
    return await page.locator("#key").inner_text()


async def test_first_request_that_fails_is_seen_with_its_remedy(page: Page, service: Service) -> None:
    """An unknown model, then a body that is wrong, then one that goes well; each within seconds, without a reload."""
    key = await make_key(page, "watched")
    assert service.chat({"model": "gpt-5-turbo"}, key)[0] == 404
    await page.get_by_text("There is no model gpt-5-turbo here.").wait_for(timeout=within(3000))
    assert await look(page, "first-failed") == []
    assert service.chat({"temperature": 7}, key)[0] == 400
    await page.get_by_text("field temperature is at fault").wait_for(timeout=within(3000))
    assert service.chat(key=key)[0] == 200
    await page.get_by_text("The first request arrived").wait_for(timeout=within(3000))


async def test_limits_are_live_and_tell_why_a_request_was_refused(page: Page, service: Service) -> None:
    """The key's own limit is full; the page and the list of keys show it, and the reason in words."""
    key = await make_key(page, "narrow", rpm="2", concurrent="1", daily_cap="5")
    await page.goto("/console/limits")
    await page.get_by_text("renewed every 2 s").wait_for()
    statuses = [service.chat(key=key)[0] for _ in range(3)]
    assert statuses == [200, 200, 429]
    narrow = page.locator("h2:has-text('narrow') + .meters .gauge").first
    await narrow.get_by_text("full").wait_for()
    assert await narrow.locator("svg").get_attribute("aria-valuenow") == "2"
    await page.get_by_text("All requests a minute of the key are used.").first.wait_for()
    assert await look(page, "limits") == []
    await page.goto("/console/keys")
    row = page.get_by_role("row", name="narrow")
    await row.get_by_text("2 of 2").wait_for()
    assert await look(page, "keys-limits") == []


async def test_limits_without_script_are_the_last_known(visitor: Visitor, page: Page) -> None:
    """And the page says so."""
    plain = await visitor.open("/console/log-in", script=False)
    await plain.context.add_cookies(await page.context.cookies())  # type: ignore[arg-type]  # what one gives the other takes
    await plain.goto("/console/limits")
    await plain.get_by_text("Last known numbers").wait_for()
    assert await plain.locator(".gauge").count() > 2
    await plain.screenshot(path=SCREENS / "limits-plain.png")


async def test_button_of_a_script_has_its_place_before_the_script(visitor: Visitor, page: Page) -> None:
    """Nothing moves when it comes, however late: on a slow machine the page was painted without it first."""
    plain = await visitor.open("/console/log-in", script=False, width=390)
    await plain.context.add_cookies(await page.context.cookies())  # type: ignore[arg-type]  # what one gives the other takes
    await page.set_viewport_size({"width": 390, "height": 900})
    places = []
    for one in (plain, page):
        await one.goto("/console/logs")
        places.append(await one.locator(".filters").bounding_box())
    await page.set_viewport_size({"width": 1440, "height": 900})
    assert places[0] == places[1]


async def test_newest_requests_come_by_themselves_and_wait_for_a_reader(page: Page, service: Service) -> None:
    """On top, refusals among them; not while the mouse is on the rows, and with the filters as they were."""
    key = await make_key(page, "tailed")
    service.chat(key=key)
    await page.goto("/console/logs?span=1h")
    await page.locator("#rows tr").first.wait_for()
    await page.get_by_role("button", name="Live").click()
    first = page.locator("#rows tr").first
    service.chat({"model": "no-such-model"}, key)
    await first.get_by_text("no-such-model").wait_for(timeout=within(6000))
    assert "model_not_found" in await first.inner_text()
    assert await look(page, "logs-live") == []
    await page.locator("#rows tr").nth(1).hover()
    await page.get_by_text("Paused while you read").wait_for(timeout=within(6000))
    service.chat({"model": "another-model"}, key)
    assert "another-model" not in await page.locator("#rows").inner_text()
    await page.mouse.move(5, 5)
    await first.get_by_text("another-model").wait_for(timeout=within(6000))
    await first.locator("a").click()
    await page.get_by_text("nothing: it was not admitted").wait_for()
    assert await look(page, "refusal") == []
    await page.goto("/console/logs?status=refused")
    await page.get_by_role("button", name="Live", pressed=True).click()
    assert await page.locator("#rows tr.refused").count() == await page.locator("#rows tr").count() > 0


async def test_health_tells_of_gateways_and_routes(page: Page, service: Service) -> None:
    """All well, with words and signs."""
    service.chat()
    await page.goto("/console/operate/health")
    async with asyncio.timeout(within(5)):  # gateways report once a second
        while not await page.get_by_role("row", name="closed").count():
            await page.reload()
    await page.get_by_text("Everything that was looked at is well.").wait_for()
    assert await page.get_by_role("row", name="Snapshot").count() == 1
    assert await look(page, "health") == []
