"""The catalog as an operator meets it: from a preset to a model that is tried and offered, without a restart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from screens import answer, come_in, look
from upstream import providing

if TYPE_CHECKING:
    from playwright.async_api import Page
    from service import Service
    from visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

_PATH = "/console/operate"
PAGES = [
    "/providers", "/providers/new", "/providers/new?preset=ollama", "/providers/one/engine", "/models", "/models/new",
    "/models/one?name=gpt-4o", "/prices", "/prices/one?model=gpt-4o", "/plans", "/switches", "/keys",
]  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def page(visitor: Visitor, service: Service) -> Page:
    opened = await visitor.open("/console/log-in", permissions=("clipboard-read", "clipboard-write"), width=1280)
    await come_in(opened, service)
    return opened


@pytest.mark.parametrize("path", PAGES)
async def test_page_of_operators_has_no_barriers(page: Page, path: str) -> None:
    """In light and dark, on a desk and a phone."""
    await page.goto(_PATH + path)
    assert await look(page, "operate" + re.sub(r"\W+", "-", path)) == []


async def test_provider_is_added_tried_and_its_models_offered(page: Page, visitor: Visitor) -> None:
    """A preset fills the form; the trial tells models and time; a click offers one; what fails says what to do."""
    with providing() as (url, _):
        await page.goto(f"{_PATH}/providers/new")
        await page.click("text=Any other")
        await page.fill("#name", "a-provider-with-a-rather-long-name.of-frankfurt.blue")
        await page.fill("#replicas", url)
        await page.fill("#secret", "sk-0123456789abcdefWXYZ")
        await page.click("text=Add the provider")
        await page.get_by_text("ends in …WXYZ").first.wait_for()
        await page.get_by_role("button", name="Try").click()
        await page.get_by_text("It answered with 2 models.").wait_for()
        assert await look(page, "operate-provider-tried") == []
        await page.check("text=up-1")
        await page.click("text=Add the chosen models")
        await page.get_by_text("no price is known").first.wait_for()
        assert await look(page, "operate-provider-unpriced") == []
        await page.fill("#input", "0.0004")
        await page.fill("#output", "12.5")
        await page.click("text=Add the chosen models")
        await page.get_by_role("link", name="up-1").click()
        assert await look(page, "operate-model-own") == []
        await page.locator("[name=upstream]").nth(1).fill("no spaces allowed")
        await page.click("text=Save")
        await page.get_by_text("the model's name there").first.wait_for()
        assert await look(page, "operate-model-wrong") == []
    await page.goto(f"{_PATH}/providers/one/a-provider-with-a-rather-long-name.of-frankfurt.blue")
    await page.get_by_role("button", name="Try").click()
    await page.get_by_text("Nothing listens at that host and port").wait_for()
    assert await look(page, "operate-provider-refused") == []
    visitor.problems = [problem for problem in visitor.problems if "400" not in problem]


async def test_cluster_is_added_and_shows_how_its_servers_are(page: Page, visitor: Visitor) -> None:
    """By a preset, one address a line; each is checked and tried; what is wrong is told by its line."""
    with providing() as (one, _), providing() as (other, _):
        await page.goto(f"{_PATH}/providers/new")
        await page.click("text=vLLM")
        assert await page.input_value("#kind") == "vllm"
        await page.fill("#name", "gpu-frankfurt")
        await page.fill("#replicas", f"{one}\n{other} 2\nhttp://169.254.169.254/v1")
        await page.click("text=Add the provider")
        await page.get_by_text("Server 3: addresses of the link itself").wait_for()
        assert await look(page, "operate-cluster-wrong") == []
        await page.fill("#replicas", f"{one}\n{other} 2\nhttp://127.0.0.1:9/v1")
        await page.select_option("#routing", "least-busy")
        await page.click("text=Add the provider")
        await page.get_by_role("row", name="3 http://127.0.0.1:9/v1 down").wait_for()
        await page.get_by_role("row", name="1 http").get_by_text("up", exact=True).wait_for()
        assert await look(page, "operate-cluster") == []
        await page.get_by_role("button", name="Try").click()
        await page.get_by_text("It answered with 2 models.").nth(1).wait_for()
        await page.get_by_text("Nothing listens at that host and port").wait_for()
        assert await look(page, "operate-cluster-tried") == []
        await page.fill("#replicas", f"{one}\n{other} 2")
        await page.click("text=Save")
        await page.get_by_text("127.0.0.1:9/").wait_for(state="detached")
        await page.goto(f"{_PATH}/health")
        await page.get_by_role("link", name="gpu-frankfurt").first.wait_for()
        assert await look(page, "operate-health-cluster") == []
    visitor.problems = [problem for problem in visitor.problems if "400" not in problem]


async def test_removing_a_model_asks_once(page: Page) -> None:
    """Then it is not in the list any more."""
    await page.goto(f"{_PATH}/models/one?name=up-1")
    await page.get_by_role("button", name="Remove the model").click()
    assert "up-1" in await answer(page, "Remove the model")
    await page.wait_for_url(f"**{_PATH}/models")
    assert await page.get_by_role("link", name="up-1").count() == 0


async def test_operator_key_is_shown_once(page: Page) -> None:
    """With what it can do; then by its hint alone."""
    await page.goto(f"{_PATH}/keys")
    await page.fill("#name", "provisioning")
    await page.click("text=Create the key")
    await page.get_by_text("shown only now").wait_for()
    assert await look(page, "operate-key-made") == []
    key = await page.locator("#made").inner_text()
    await page.goto(f"{_PATH}/keys")
    assert key not in await page.content()
