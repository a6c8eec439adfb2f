"""What a person sees: Chromium on a service that runs. One of each for all tests here, and a visitor for every test.

Nothing that goes wrong in a page goes unnoticed: a test fails on an error in the console or in a script, on a request
that fails and on one that leaves the service, whatever else it looks at.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright
from service import Service, serving
from visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser

_FLAGS = (
    "--headless",
    "--no-sandbox",  # Chromium has none for root, whom a build machine often is
    "--disable-gpu",
    "--disable-quic",
    # Nothing of its own over the network.
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("browser"), "[console]\nprivate_providers = true\n") as service:
        yield service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        program = shutil.which("chromium")
        assert program is not None, "there is no chromium; tools/setup.py --test installs it"
        browser = await playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Browser, service: Service) -> AsyncIterator[Visitor]:
    visitor = Visitor(browser, service.url)
    yield visitor
    await visitor.leave()
    assert visitor.problems == []
