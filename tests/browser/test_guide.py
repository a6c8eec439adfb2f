"""The built-in model as the help: asked from the search of the documentation, and from the playground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect
from screens import come_in, look
from service import Service, serving
from visitor import Visitor

from techstone.control.console.playground import GUIDE
from techstone.engine.options import BUILT_IN, name_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("guided"), "[engine]\n") as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, guided: Service) -> AsyncIterator[Page]:
    visitor = Visitor(browser, guided.url)
    opened = await visitor.open("/console/log-in")
    await come_in(opened, guided)
    yield opened
    await visitor.leave()
    assert visitor.problems == []


async def test_question_to_the_search_is_answered_by_the_model(page: Page) -> None:
    """What was typed is carried to the playground, is sent by its reader, and is answered from what the docs say."""
    await page.goto("/docs/quickstart")
    await page.keyboard.press("/")
    await page.keyboard.type("How many requests a minute does Pro allow?")
    offer = page.locator(".finder .guide a")
    await expect(offer).to_contain_text(f"Ask {GUIDE}")
    assert await look(page, "docs-ask") == []
    await offer.click()
    await expect(page.locator("#say")).to_have_value("How many requests a minute does Pro allow?")
    await expect(page.locator(".turn")).to_have_count(0)
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.locator(".turn.answer .text")).to_contain_text("500 requests")


async def test_newcomer_is_invited_to_ask(page: Page) -> None:
    """Another model's playground leads to the guide, whose first questions are asked by a click."""
    await page.goto("/console/playground?model=gpt-4o")
    await expect(page.locator(".lane .buttons")).to_have_count(0)
    await page.get_by_role("link", name=GUIDE).click()
    assert await look(page, "playground-guide") == []
    await page.get_by_role("button", name="Which plans are there?").click()
    await expect(page.locator(".turn.answer .text")).to_contain_text("Pay As You Go")
    await expect(page.locator(".turn.answer .foot")).to_contain_text("Headers")


async def test_stranger_is_not_sent_where_nobody_answers(guided: Service, browser: Browser) -> None:
    """Who is not logged in may not use the playground, and the search does not offer it."""
    visitor = Visitor(browser, guided.url)
    opened = await visitor.open("/docs")
    await opened.keyboard.press("/")
    await opened.keyboard.type("xylophone")
    await expect(opened.locator(".finder li")).to_contain_text("Nothing found")
    await expect(opened.locator(".finder .guide")).to_be_hidden()
    await visitor.leave()
    assert visitor.problems == []


async def test_guide_is_the_model_that_is_shipped() -> None:
    assert name_model(BUILT_IN) == GUIDE
