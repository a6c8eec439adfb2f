"""The Console as a customer and an operator meet it: from the claim link to the first request and what it cost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from screens import INSIDE, answer, come_in, look

if TYPE_CHECKING:
    from playwright.async_api import Page
    from service import Service
    from visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOORS = ["/log-in", "/sign-up", "/reset", "/link/none"]


@pytest_asyncio.fixture(loop_scope="session")
async def page(visitor: Visitor, service: Service) -> Page:
    opened = await visitor.open("/console/log-in", permissions=("clipboard-read", "clipboard-write"), width=1280)
    await come_in(opened, service)
    return opened


async def test_key_works_as_it_is_copied_and_is_seen_at_work(page: Page, service: Service) -> None:
    """Made with a name alone; the snippet runs as it stands; the page sees the request arrive; then logs and usage."""
    await page.click("text=New key")
    await page.fill("#name", "a name that is as long as names may be, or nearly so: production, Frankfurt, blue")
    await page.click("text=Create key")
    assert await look(page, "key-created") == []
    await page.get_by_role("button", name="Copy key").click()
    await page.get_by_role("button", name="Copied").wait_for()
    key = await page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"ts_live_\w{46}", key)
    for name, words in (("Python", "from openai import OpenAI"), ("Node", "import OpenAI"), ("cURL", "curl ")):
        await page.get_by_role("tab", name=name).click()
        shown = await page.get_by_role("tabpanel").inner_text()
        assert words in shown
        assert key in shown
        assert f"{service.url}/v1" in shown
    await page.get_by_text("Waiting for the first request").wait_for()
    assert service.chat(key=key)[0] == 200
    await page.get_by_text("The first request arrived").wait_for()
    assert await look(page, "key-arrived") == []
    await page.get_by_text("See it in the logs").click()
    await page.locator(".rows tbody a").first.click()
    await page.get_by_text("settled").wait_for()
    assert await look(page, "request") == []
    await page.goto("/console/usage")
    assert await page.locator("dd").first.inner_text() == "0.00"


async def test_key_of_a_project_is_bound_disabled_and_enabled(visitor: Visitor, page: Page, service: Service) -> None:
    """Project, key in it with bounds, its page; what is wrong stands at its field; disabling asks once; usage by it."""
    await page.goto("/console/projects")
    await page.fill("#name", "a project whose name is long: website, Frankfurt and all of its neighbours")
    await page.click("text=Create project")
    await page.get_by_role("row", name="a project").wait_for()
    await page.goto("/console/keys/new")
    await page.fill("#name", "bound")
    await page.select_option("#project", index=1)
    await page.click("summary:has-text('uses and addresses')")
    await page.get_by_label("Chat").check()
    await page.fill("#ips", "127.0.0.1, ::1")
    assert await look(page, "key-bounds") == []
    await page.click("text=Create key")
    key = (await page.locator("#key").inner_text()).strip()
    await page.get_by_text("Waiting for the first request").wait_for()
    assert service.chat(key=key)[0] == 200
    await page.get_by_text("The first request arrived").wait_for()
    assert service.get("/v1/models", key)[0] == 403
    await page.goto("/console/keys")
    await page.get_by_role("link", name="bound", exact=True).click()
    assert await page.get_by_label("Chat").is_checked()
    assert await page.input_value("#ips") == "127.0.0.1, ::1"
    assert await look(page, "key-page") == []
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.fill("#ips", "127.0.0.1, nowhere")
    await page.click("text=Save")
    await page.get_by_text("`nowhere` is neither").wait_for()
    assert await page.locator("#ips").get_attribute("aria-invalid") == "true"
    assert await page.input_value("#ips") == "127.0.0.1, nowhere"
    visitor.problems = [problem for problem in visitor.problems if "400" not in problem]
    await page.fill("#ips", "")
    await page.get_by_label("Models", exact=True).last.check()
    await page.click("text=Save")
    await page.get_by_text("See its requests").wait_for()
    await page.get_by_role("button", name="Disable").click()
    asked = await answer(page, "Disable")
    await page.get_by_role("button", name="Enable").wait_for()
    assert "until it is enabled again" in asked
    assert await look(page, "key-disabled") == []
    await page.get_by_role("button", name="Enable").click()
    await page.get_by_role("button", name="Disable").wait_for()
    await page.goto("/console/usage?by=project")
    await page.get_by_role("rowheader", name="a project").wait_for()
    assert await look(page, "usage-by-project") == []
    await page.goto("/console/projects")
    assert await look(page, "projects-some") == []
    await page.goto("/console/logs")
    assert await look(page, "logs-projects") == []


async def test_project_keeps_prompts_and_is_archived(visitor: Visitor, page: Page) -> None:
    """On its own page: for how many days, its name, and its end, which is asked once."""
    await page.goto("/console/projects")
    await page.fill("#name", "kept")
    await page.click("text=Create project")
    await page.get_by_role("link", name="kept").click()
    await page.select_option("#days", "30")
    await page.click("text=Save")
    await page.wait_for_load_state()
    assert await page.input_value("#days") == "30"
    assert await look(page, "project-page") == []
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.get_by_role("button", name="Archive").click()
    assert "takes no more keys" in await answer(page, "Archive")
    await page.get_by_role("row", name="kept archived").wait_for()
    assert visitor.problems == []


@pytest.mark.parametrize("path", INSIDE)
async def test_page_inside_has_no_barriers(visitor: Visitor, page: Page, path: str) -> None:
    """In light and dark, on a desk and a phone; also what is empty, and what is not there."""
    await page.goto(f"/console{path}")
    assert await look(page, re.sub(r"\W+", "-", path.strip("/")) or "overview") == []
    if path == "/x":
        visitor.problems = [problem for problem in visitor.problems if "404" not in problem]


@pytest.mark.parametrize("path", DOORS)
async def test_door_has_no_barriers(visitor: Visitor, path: str) -> None:
    """Those of who is not logged in, and a link that is not good."""
    page = await visitor.open(f"/console{path}")
    assert await look(page, re.sub(r"\W+", "-", path.strip("/"))) == []
    if path == "/link/none":
        visitor.problems = [problem for problem in visitor.problems if "400" not in problem]


async def test_what_was_wrong_is_told_at_the_field(visitor: Visitor, page: Page) -> None:
    """In red, tied to it; what was typed stands there still."""
    await page.goto("/console/keys/new")
    await page.fill("#name", "kept")
    await page.click("summary:has-text('Models, limits')")
    await page.fill("#daily_cap", "much")
    await page.click("text=Create key")
    await page.get_by_text("an amount in USD is digits").wait_for()
    assert await page.locator("#daily_cap").get_attribute("aria-invalid") == "true"
    assert await page.input_value("#name") == "kept"
    assert await look(page, "key-wrong") == []
    visitor.problems = [problem for problem in visitor.problems if "400" not in problem]


async def test_revoking_asks_once(page: Page) -> None:
    """A no changes nothing; a yes ends the key."""
    await page.goto("/console/keys/new")
    await page.fill("#name", "to end")
    await page.click("text=Create key")
    await page.goto("/console/keys")
    row = page.get_by_role("row", name="to end")
    dialog = page.get_by_role("dialog")
    for yes in (False, True):
        await row.get_by_role("button", name="Revoke").click()
        await dialog.get_by_text("cannot be undone").wait_for()
        if not yes:
            assert await look(page, "ask") == []
            await page.set_viewport_size({"width": 1280, "height": 900})
        await dialog.get_by_role("button", name="Revoke" if yes else "Cancel").click()
        await row.get_by_text("revoked" if yes else "active").wait_for()
        assert await dialog.count() == 0


async def test_log_out_leads_to_the_door(page: Page) -> None:
    """And the way back is closed."""
    await page.click("details.me summary")
    assert await look(page, "menu") == []
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/console/log-in")
    await page.goto("/console")
    assert page.url.endswith("/console/log-in")
