"""Two-factor and a provider as people meet them: the code is read off the page, the issuer has its own log-in page."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pyotp
import pytest
import pytest_asyncio
from forms import PASSWORD, join, letters
from issuer import SECRET, Issuer, issuing
from screens import answer, look
from service import Service, free_port, serving, wait_until
from visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import playwright.async_api
    from playwright.async_api import Page, Route

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def issuer_and_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Issuer, Service]]:
    port = free_port()
    with issuing(f"http://127.0.0.1:{port}/console/oidc/example-login/back") as issuer:
        configuration = "[console]\nsign_up = true\n" + issuer.configure(
            "Example Login", 'allowed_domains = ["example.com"]', "create = true"
        )
        folder = tmp_path_factory.mktemp("browser-log-in")
        with serving(folder, configuration, {"ISSUER_SECRET": SECRET}, port) as service:
            yield issuer, service


@pytest.fixture(scope="module")
def service(issuer_and_service: tuple[Issuer, Service]) -> Service:
    return issuer_and_service[1]


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(
    browser: playwright.async_api.Browser, issuer_and_service: tuple[Issuer, Service]
) -> AsyncIterator[Visitor]:
    """Whatever goes wrong on our pages fails a test; the issuer's own pages are its own."""
    issuer, service = issuer_and_service
    visitor = Visitor(browser, service.url)
    yield visitor
    await visitor.leave()
    assert [one for one in visitor.problems if issuer.url not in one and "fonts" not in one] == []


async def log_in(page: Page, email: str) -> None:
    await page.fill("#email", email)
    await page.fill("#password", PASSWORD)
    await page.get_by_role("button", name="Log in", exact=True).click()


async def set_up(page: Page) -> pyotp.TOTP:
    """Type the secret into an app, and its code into the page."""
    app = pyotp.TOTP((await page.inner_text("#secret")).replace(" ", ""))
    await page.fill("#code", app.now())
    await page.fill("#proof", PASSWORD)
    await page.get_by_role("button", name="Switch two-factor on").click()
    await page.get_by_text("Two-factor is on").wait_for()
    return app


async def test_two_factor_is_set_up_and_asked_for(visitor: Visitor, service: Service) -> None:
    """Off, scanned, a wrong code told at its field, codes shown once, on; then the second step with its wrong code."""
    join(service, "ann@example.com")
    page = await visitor.open("/console/log-in", permissions=("clipboard-read", "clipboard-write"))
    assert await look(page, "log-in-providers") == []
    await log_in(page, "ann@example.com")
    await page.goto("/console/me")
    assert await look(page, "me-off") == []
    await page.get_by_role("link", name="Set up two-factor").click()
    assert await look(page, "two-factor") == []
    secret = await page.inner_text("#secret")
    await page.fill("#code", "000000")
    await page.fill("#proof", PASSWORD)
    await page.get_by_role("button", name="Switch two-factor on").click()
    await page.get_by_text("not the code of now").wait_for()
    assert await page.inner_text("#secret") == secret
    assert await look(page, "two-factor-wrong") == []
    app = await set_up(page)
    assert await look(page, "recovery-codes") == []
    await page.goto("/console/me")
    await page.get_by_text("10 recovery codes left").wait_for()
    await page.get_by_text("New recovery codes, or switch it off").click()
    assert await look(page, "me-on") == []
    await page.set_viewport_size({"width": 1280, "height": 900})
    other = await visitor.open("/console/log-in")
    await log_in(other, "ann@example.com")
    await other.get_by_text("six digits").wait_for()
    assert await look(other, "code") == []
    await other.fill("#code", "000000")
    await other.get_by_role("button", name="Log in").click()
    await other.get_by_text("is not good, or was used").wait_for()
    assert await look(other, "code-wrong") == []
    await other.fill("#code", app.at(int(time.time()) + 30))
    await other.get_by_role("button", name="Log in").click()
    await other.wait_for_url("**/console")
    visitor.problems = [one for one in visitor.problems if "400" not in one]


async def test_switching_off_asks_once_and_wants_a_proof(visitor: Visitor, service: Service) -> None:
    """A no leaves it on."""
    join(service, "bea@example.com")
    page = await visitor.open("/console/log-in")
    await log_in(page, "bea@example.com")
    await page.goto("/console/me/two-factor")
    await set_up(page)
    await page.goto("/console/me")
    for yes in (False, True):
        await page.get_by_text("New recovery codes, or switch it off").click()
        await page.fill("#proof", PASSWORD)
        await page.get_by_role("button", name="Switch two-factor off").click()
        await answer(page, "Switch two-factor off" if yes else None)
        if not yes:
            await page.reload()
            await page.get_by_text("10 recovery codes left").wait_for()
    await page.get_by_text("Two-factor is off").wait_for()


async def test_member_is_led_to_the_set_up(visitor: Visitor, service: Service) -> None:
    """As soon as the owner asks for it, and nowhere else."""
    join(service, "cid@example.com")
    page = await visitor.open("/console/log-in")
    await log_in(page, "cid@example.com")
    await page.goto("/console/me/two-factor")
    await set_up(page)
    await page.goto("/console/people")
    await page.get_by_role("button", name="Require two-factor").click()
    await answer(page, "Require two-factor")
    await page.get_by_text("All members must have two-factor").wait_for()
    assert await look(page, "people-two-factor") == []
    service.ask("account", "reset-two-factor", "cid@example.com")
    held = await visitor.open("/console/log-in")
    await log_in(held, "cid@example.com")
    await held.wait_for_url("**/console/me/two-factor")
    assert await look(held, "two-factor-held") == []
    await held.set_viewport_size({"width": 1280, "height": 900})
    await set_up(held)
    await held.get_by_role("link", name="I have kept them").click()
    await held.wait_for_url("**/console/me")


async def pass_issuer(page: Page, login: str) -> None:
    """Go through the issuer's own pages: who, and whether."""
    await page.fill("input[name=login]", login)
    await page.fill("input[name=password]", "any")
    await page.click("button[type=submit]")
    await page.get_by_role("button", name="Continue").click()


async def stay_here(route: Route) -> None:
    """Answer for the fonts of the issuer's pages: no test asks another machine."""
    await route.fulfill(content_type="text/css", body="")


async def test_button_of_a_provider_logs_in(visitor: Visitor, service: Service) -> None:
    """Who is new gets an account; who is known comes in; who is not let in is told on the log-in page."""
    join(service, "deb@example.com")
    for login, inside in (("newcomer", True), ("deb", True), ("eve@elsewhere.example", False)):
        page = await visitor.open("/console/log-in")
        await page.context.route("**/fonts.googleapis.com/**", stay_here)
        await page.get_by_role("link", name="Log in with Example Login").click()
        await pass_issuer(page, login)
        if inside:
            await page.wait_for_url("**/console")
            await page.get_by_text(f"{login}@example.com").first.wait_for()
        else:
            await page.get_by_text("only addresses of example.com").wait_for()
            assert await look(page, "provider-refused") == []
        if login == "newcomer":
            await page.goto("/console/me")
            assert await look(page, "me-without-password") == []
    visitor.problems = [one for one in visitor.problems if "400" not in one]


async def test_provider_is_connected_by_who_is_logged_in(visitor: Visitor, service: Service) -> None:
    """With a proof, by a page that says what it means, and back on the page of oneself."""
    join(service, "fin@example.com")
    page = await visitor.open("/console/log-in")
    await page.context.route("**/fonts.googleapis.com/**", stay_here)
    await log_in(page, "fin@example.com")
    await page.goto("/console/me")
    await page.get_by_text("Connect Example Login").first.click()
    await page.fill("#proof-example-login", PASSWORD)
    await page.get_by_role("button", name="Connect Example Login").click()
    await page.get_by_text("Continue at Example Login").wait_for()
    assert await look(page, "connect") == []
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.get_by_text("Continue at Example Login").click()
    await pass_issuer(page, "someone.else@example.com")
    await page.get_by_text("someone.else@example.com, since").wait_for()
    assert await look(page, "me-connected") == []


async def test_invitation_waits_for_a_log_in_or_is_withdrawn(visitor: Visitor, service: Service) -> None:
    """Listed with role and end; a no leaves it, a yes ends it; who has a log-in is led to it, and back to Join."""
    join(service, "gil@example.com")
    owner = join(service, "hera@example.com")
    page = await visitor.open("/console/log-in")
    await log_in(page, "hera@example.com")
    await page.wait_for_url("**/console")
    await page.goto("/console/people")
    assert await look(page, "people-no-invitations") == []
    for email, role in (("gil@example.com", "admin"), ("a.rather.long.address@department.example.com", "viewer")):
        await page.fill("#email", email)
        await page.select_option("#role", role)
        await page.get_by_role("button", name="Send the invitation").click()
        await page.get_by_text(f"We have written to {email}").wait_for()
    wait_until(lambda: any("as admin" in letter for letter in letters(service)[-2:]))
    invited = next(letter for letter in reversed(letters(service)) if "as admin" in letter)
    path = re.search(r"/console/link/[\w-]+", invited)
    assert path is not None
    assert await look(page, "people-invitations") == []
    await page.set_viewport_size({"width": 1280, "height": 900})
    name = "Withdraw the invitation of a.rather.long.address@department.example.com"
    for yes in (False, True):
        await page.get_by_role("button", name=name).click()
        await answer(page, "Withdraw" if yes else None)
        if not yes:
            await page.reload()
    await page.get_by_role("button", name=name).wait_for(state="detached")
    await page.goto(path[0])
    await page.get_by_text("You are logged in as hera@example.com").wait_for()
    assert await look(page, "link-of-another") == []
    other = await visitor.open(path[0])
    assert await look(other, "link-known") == []
    await other.set_viewport_size({"width": 1280, "height": 900})
    await other.get_by_role("link", name="Log in", exact=True).click()
    await log_in(other, "gil@example.com")
    await other.get_by_role("button", name="Join").wait_for()
    assert await look(other, "link-own") == []
    await other.set_viewport_size({"width": 1280, "height": 900})
    await other.get_by_role("button", name="Join").click()
    await other.wait_for_url("**/console")
    assert "No invitation is waiting" in owner.open("/console/people").text
