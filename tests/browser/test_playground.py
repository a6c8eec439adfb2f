"""The playground and the command palette, as somebody uses them; and what every page of the Console costs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from barriers import find_barriers
from playwright.async_api import expect
from screens import INSIDE, SCREENS, come_in, look

if TYPE_CHECKING:
    from playwright.async_api import Page, Response, Route
    from service import Service
    from visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

_MOST_SCRIPT = 100 * 1024
# Layout shifts since the page began, those after input included.
_SHIFTS = """new Promise((done) => {
  const moves = [];
  const tell = ({ node, previousRect: was, currentRect: is }) =>
    `${(node?.outerHTML ?? String(node?.nodeValue)).slice(0, 80)}: ${[was.x, was.y, is.x, is.y].map(Math.round)}`;
  new PerformanceObserver((list) => list.getEntries().forEach((one) => moves.push(one.value, ...one.sources.map(tell))))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(moves), 300);
})"""
_MOTION = """[...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]).flatMap(
  (rule) => rule.conditionText?.includes("no-preference") ? [] : [rule.cssText]
).filter((text) => /\\b(transition|animation)[^:]*:/.test(text))"""


@pytest_asyncio.fixture(loop_scope="session")
async def page(visitor: Visitor, service: Service) -> Page:
    opened = await visitor.open("/console/log-in", permissions=("clipboard-read", "clipboard-write"), width=1280)
    await come_in(opened, service)
    return opened


async def say(page: Page, text: str) -> None:
    await page.fill("#say", text)
    await page.keyboard.press("Enter")


async def test_two_models_answer_side_by_side(page: Page, service: Service) -> None:
    """Each with its times, tokens, cost and headers; the conversation goes on; what is sent is what the code says."""
    await page.goto("/console/playground?model=gpt-4o&beside=gpt-4o-mini")
    assert await look(page, "playground-empty") == []
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.fill("#max_tokens", "7")
    await say(page, "Hello")
    answers = page.locator(".turn.answer")
    for place, model in enumerate(("gpt-4o", "gpt-4o-mini")):
        await expect(answers.nth(place).locator(".foot")).to_contain_text(
            re.compile(r"First token \d+ ms.*Total .*Tokens \d+ \+ \d+.*Cost 0\.00 USD.*Headers")
        )
        await expect(answers.nth(place)).to_contain_text(model)
    bodies = []
    page.on("request", lambda request: bodies.append(request.post_data_json) if "/v1/" in request.url else None)
    await page.fill("#system", "Be short.")
    await page.get_by_role("button", name="View code").click()
    await page.get_by_role("tab", name="cURL").click()
    await page.get_by_role("dialog").get_by_role("button", name="Copy").click()
    assert await look(page, "playground-code") == []
    await page.set_viewport_size({"width": 1280, "height": 900})
    command = await page.evaluate("navigator.clipboard.readText()")
    assert f"{service.url}/v1/chat/completions" in command
    said = json.loads(command.split(" -d '", 1)[1].rstrip("'").replace("'\\''", "'"))
    assert [message["role"] for message in said["messages"]] == ["system", "user", "assistant"]
    await page.keyboard.press("Escape")
    await say(page, "And again")
    await expect(answers.nth(3).locator(".foot")).to_contain_text("Headers")
    assert sorted(body["model"] for body in bodies) == ["gpt-4o", "gpt-4o-mini"]
    mine = next(body for body in bodies if body["model"] == "gpt-4o")
    assert mine == {**said, "messages": [*said["messages"], {"role": "user", "content": "And again"}]}
    await answers.first.get_by_role("button", name="Headers").click()
    for name in ("x-request-id", "x-techstone-served-by", "x-ratelimit-remaining"):
        await page.get_by_role("dialog").get_by_text(name, exact=True).wait_for()
    assert await look(page, "playground-headers") == []


async def test_key_of_the_playground_stays_in_its_tab(page: Page, service: Service) -> None:
    """One key for many messages; no other tab has it; it is gone with the session."""
    before = len(service.ask("key", "list"))
    await page.goto("/console/playground")
    for text in ("One", "Two"):
        await say(page, text)
        await expect(page.locator(".turn.answer").last.locator(".foot")).to_contain_text("Headers")
    assert len(service.ask("key", "list")) == before + 1
    kept = "JSON.stringify([localStorage, sessionStorage]).match(/ts_live_/g)?.length ?? 0"
    assert await page.evaluate(kept) == 1
    other = await page.context.new_page()
    await other.goto("/console/playground")
    assert await other.evaluate(kept) == 0
    await page.click("details.me summary")
    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/console/log-in")
    assert await page.evaluate(kept) == 0


async def test_stop_ends_the_streams_and_keeps_what_came(page: Page) -> None:
    """And what is asked next goes on from there."""
    await page.goto("/console/playground?model=gpt-4o&beside=gpt-4o-mini")

    async def hold(route: Route) -> None:
        pass  # it never answers

    await page.route("**/v1/chat/completions", hold)
    await say(page, "Hello")
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator(".turn.answer .badge.idle")).to_have_count(2)
    await page.unroute("**/v1/chat/completions")
    await say(page, "Hello again")
    await expect(page.locator(".turn.answer").last.locator(".foot")).to_contain_text("Headers")
    await expect(page.locator(".turn.answer .badge.idle")).to_have_count(2)


async def test_what_goes_wrong_is_told_in_words(visitor: Visitor, page: Page) -> None:
    """What the API says, with its code; a connection that breaks; an answer that breaks off. Then once more."""
    await page.goto("/console/playground")
    await page.fill("#max_tokens", "1000000000000")
    await say(page, "Too many")
    await expect(page.get_by_role("alert")).to_contain_text("lower max_tokens")
    await expect(page.get_by_role("alert")).to_contain_text("rate_limit_exceeded")
    assert await look(page, "playground-wrong") == []
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.fill("#max_tokens", "5")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".turn.answer").last.locator(".foot")).to_contain_text("Cost")

    async def fail(route: Route) -> None:
        await route.abort()

    async def break_off(route: Route) -> None:
        chunk = {"choices": [{"index": 0, "delta": {"content": "Half"}, "finish_reason": None}]}
        await route.fulfill(content_type="text/event-stream", body=f"data: {json.dumps(chunk)}\n\n")

    for handler, words in ((fail, "cannot be reached"), (break_off, "broke off")):
        await page.route("**/v1/chat/completions", handler)
        await say(page, "Once more")
        await expect(page.get_by_role("alert").last).to_contain_text(words)
        await page.unroute("**/v1/chat/completions")
    await expect(page.locator(".turn.answer").last).to_contain_text("Half")
    provoked = re.compile("429|completions|ERR_FAILED")
    visitor.problems = [problem for problem in visitor.problems if not provoked.search(problem)]


async def test_palette_is_used_by_keyboard_alone(page: Page) -> None:
    """Opened, searched, walked through, closed; its choice is told to a screen reader; it has no barriers."""
    await page.goto("/console")
    await page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Search")
    await expect(box).to_be_focused()
    assert await look(page, "palette") == []
    await page.set_viewport_size({"width": 1280, "height": 900})
    await page.keyboard.type("usage")
    await expect(page.get_by_role("option")).to_have_count(2)
    told = await box.get_attribute("aria-activedescendant")
    assert told == await page.get_by_role("option").first.get_attribute("id")
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("dialog").get_by_role("option", selected=True)).to_have_text("Export usage as CSV")
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("dialog").get_by_role("option", selected=True)).to_have_text("Usage")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/console/usage")
    await page.keyboard.press("Control+k")
    await box.fill("no such thing")
    await page.get_by_text("Nothing of that name").wait_for()
    assert await find_barriers(page) == []
    await page.keyboard.press("Escape")
    await expect(box).to_be_hidden()
    await page.get_by_role("button", name="Search").click()
    await box.fill("log out")
    chosen = page.get_by_role("dialog").get_by_role("option", selected=True)
    while await chosen.inner_text() != "Log out":  # after keys of such a name
        await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/console/log-in")


async def test_chart_shows_its_table(page: Page, service: Service) -> None:
    """Drawn in both themes; a tooltip with exact values; the table behind it is reached by keyboard."""
    assert service.chat()[0] == 200
    await page.goto("/console/usage")
    await page.locator(".chart canvas").first.wait_for()
    await page.locator(".chart .u-over").first.hover()
    await expect(page.locator(".chart .tip").first).to_contain_text(":00")
    await page.locator(".chart summary").first.press("Enter")
    shown = await page.locator(".chart").first.get_by_role("table").inner_text()
    assert "gpt-4o" in shown
    assert await look(page, "usage-chart") == []
    assert await page.locator(".chart canvas").count() == 2
    assert (SCREENS / "usage-chart-dark-390.png").exists()


async def test_pages_are_light_and_stand_still(visitor: Visitor, page: Page) -> None:
    """No layout jump while they load, at most 100 KB of script, no motion for who wants none."""
    sizes: dict[str, int] = {}

    async def weigh(answer: Response) -> None:
        if answer.request.resource_type == "script":
            sizes[answer.url] = int(answer.headers["content-length"])

    page.on("response", weigh)
    moved: dict[str, list[float | str]] = {}
    for path in INSIDE:
        sizes.clear()
        for width in (1280, 800, 390):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.goto(f"/console{path}")
            if moves := await page.evaluate(_SHIFTS):
                moved[f"{path} at {width}"] = moves
        assert 0 < sum(sizes.values()) <= _MOST_SCRIPT, path
        assert await page.evaluate(_MOTION) == []
    assert moved == {}
    visitor.problems = [problem for problem in visitor.problems if "404" not in problem]
