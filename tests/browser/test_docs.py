"""The documentation as a person meets it: for everybody, by keyboard too, searchable, in both themes and on a phone."""

from __future__ import annotations

import asyncio
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from barriers import find_barriers

from techstone.control.pages.documentation import FOLDER

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page
    from service import Service
    from visitor import Scheme, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFERENCE = "/docs/reference"
_GROUPS = tomllib.loads((FOLDER / "contents.toml").read_text())["group"]
_NAMES = [name for group in _GROUPS for name in group["pages"] if name != "index"]
PAGES = ["/docs", *(f"/docs/{name}" for name in _NAMES), REFERENCE]
CHAT = "#operations-Chat-createChatCompletion"


async def _go(page: Page, path: str) -> None:
    """Go to a page of the documentation, and wait for what a script draws there."""
    await page.goto(path)
    if path == REFERENCE:
        await page.locator(".opblock").first.wait_for()


async def test_pages_have_no_barriers(visitor: Visitor) -> None:
    """In light on a desk, in dark on a phone; both at a time, since axe takes long."""

    async def tour(scheme: Scheme, width: int) -> dict[str, list[str]]:
        page = await visitor.open("/docs", scheme=scheme, width=width)
        found = {}
        for path in PAGES:
            await _go(page, path)
            found[path] = await find_barriers(page)
        return {path: barriers for path, barriers in found.items() if barriers}

    on_desk, on_phone = await asyncio.gather(tour("light", 1440), tour("dark", 390))
    assert on_desk == {}
    assert on_phone == {}


async def test_no_page_scrolls_sideways_on_a_phone(visitor: Visitor) -> None:
    """Of 360 px; what is wider scrolls by itself."""
    page = await visitor.open("/docs", width=360)
    wider = []
    for path in PAGES:
        await _go(page, path)
        if await page.evaluate("document.scrollingElement.scrollWidth > innerWidth"):
            wider.append(path)
    assert wider == []


async def _search(page: Page, words: str) -> Locator:
    """Open the search by its key, type, and return the results."""
    await page.keyboard.press("/")
    await page.keyboard.type(words)
    return page.locator(".finder li")


@pytest.mark.parametrize(
    ("words", "title", "address"),
    [
        ("idempotency", "Idempotency", "/docs/idempotency"),
        ("rate_limit_exceeded", "Errors \u203a rate_limit_exceeded", "/docs/errors#rate_limit_exceeded"),
        ("probability mass", "Chat completions \u203a Sampling", "/docs/chat-completions#sampling"),
    ],
)
async def test_search_finds(visitor: Visitor, words: str, title: str, address: str) -> None:
    """A page by its title, a section by its title, a section by a word of its text: the best is the first."""
    page = await visitor.open("/docs")
    first = (await _search(page, words)).first.locator("a")
    await first.wait_for()
    assert await first.locator("strong").inner_text() == title
    assert await first.get_attribute("href") == address


async def test_search_says_when_it_finds_nothing(visitor: Visitor) -> None:
    """With the words, and what to try instead."""
    page = await visitor.open("/docs")
    await (await _search(page, "xylophone")).get_by_text("Nothing found for “xylophone”.").wait_for()


async def test_enter_opens_the_best_result(visitor: Visitor) -> None:
    """From the field, without the arrows."""
    page = await visitor.open("/docs/quickstart")
    await (await _search(page, "idempotency")).first.wait_for()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/docs/idempotency")


async def test_arrows_move_through_the_results(visitor: Visitor) -> None:
    """Down into them and up to the field again; Enter opens the one that has the focus."""
    page = await visitor.open("/docs")
    results = await _search(page, "idempotency")
    await results.nth(1).wait_for()
    focused = "document.activeElement.getAttribute('href')"
    addresses = [await results.nth(place).locator("a").get_attribute("href") for place in (0, 1)]
    for key, address in (
        ("ArrowDown", addresses[0]),
        ("ArrowDown", addresses[1]),
        ("ArrowUp", addresses[0]),
        ("ArrowUp", None),
        ("ArrowDown", addresses[0]),
        ("ArrowDown", addresses[1]),
    ):
        await page.keyboard.press(key)
        assert await page.evaluate(focused) == address
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**{addresses[1]}")


async def test_escape_closes_the_search(visitor: Visitor) -> None:
    """And the next search begins with the old words selected, to be typed over."""
    page = await visitor.open("/docs")
    await (await _search(page, "errors")).first.wait_for()
    await page.keyboard.press("Escape")
    await page.locator(".finder").wait_for(state="hidden")
    await _search(page, "prices")
    assert await page.locator(".finder input").input_value() == "prices"


async def test_slash_in_a_field_is_a_slash(visitor: Visitor) -> None:
    """Whoever types a key into the reference is not thrown into the search."""
    page = await visitor.open(REFERENCE)
    await page.get_by_label("API key").click()  # it is hidden until the reference is there
    await page.get_by_label("API key").press_sequentially("a/b")
    assert await page.get_by_label("API key").input_value() == "a/b"
    assert not await page.locator(".finder").is_visible()


async def _list_languages(page: Page) -> set[str | None]:
    """Return the languages that the tabs of a page show."""
    shown = await page.locator(".tabs .code:visible").all()
    return {await block.get_attribute("data-language") for block in shown}


async def test_language_is_switched_everywhere_and_remembered(visitor: Visitor) -> None:
    """In all blocks of the page, and on the next page."""
    page = await visitor.open("/docs/quickstart")
    assert await _list_languages(page) == {"bash"}
    await page.get_by_role("tab", name="Python").last.click()
    assert await _list_languages(page) == {"python"}
    await page.goto("/docs/streaming")
    assert await page.locator("[role=tab][data-language=python]").first.get_attribute("aria-selected") == "true"
    assert "bash" not in await _list_languages(page)


async def test_arrows_switch_the_language(visitor: Visitor) -> None:
    """Right and left, round at the ends; one tab of a group is a stop of the Tab key."""
    page = await visitor.open("/docs/quickstart")
    group = page.locator(".tabs").first
    await group.get_by_role("tab", name="cURL").focus()
    for key, language in (("ArrowRight", "Python"), ("ArrowLeft", "cURL"), ("ArrowLeft", "Node.js")):
        await page.keyboard.press(key)
        assert await page.evaluate("document.activeElement.textContent") == language
    assert await group.locator("[role=tab][tabindex='0']").count() == 1


async def test_switching_keeps_what_is_read_in_place(visitor: Visitor) -> None:
    """Blocks above that become longer or shorter do not move the tabs from under the pointer."""
    page = await visitor.open("/docs/quickstart", width=1000)
    tab = page.locator(".tabs").last.get_by_role("tab", name="Node.js")
    await tab.scroll_into_view_if_needed()
    before = await tab.bounding_box()
    await tab.click()
    after = await tab.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) < 1


async def test_copy_button_copies_the_block_as_it_was_written(visitor: Visitor) -> None:
    """Without prompts, line numbers or a line's end that would run it; and says so."""
    page = await visitor.open("/docs/quickstart", permissions=["clipboard-read", "clipboard-write"])
    source = (FOLDER / "quickstart.md").read_text()
    for language in ("console", "bash", "python", "json"):
        written = re.findall(rf"^```{language}\n(.*?)\n```$", source, re.MULTILINE | re.DOTALL)[0]
        if language == "python":
            await page.get_by_role("tab", name="Python").first.click()
        button = page.locator(f".code[data-language={language}]").first.get_by_role("button")
        await button.click()
        await button.get_by_text("Copied").wait_for()
        assert await page.evaluate("navigator.clipboard.readText()") == written


async def test_examples_are_about_this_service(visitor: Visitor) -> None:
    """Its own address stands in them, and nowhere the one of the sources."""
    page = await visitor.open("/docs")
    assert f'export API_BASE_URL="{visitor.origin}"' in await page.locator(".code").nth(1).inner_text()
    for path in PAGES:
        assert "api.example.com" not in await (await page.request.get(path)).text(), path


async def _read_ground(page: Page) -> str:
    """Return the colour of the page's ground."""
    ground: str = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    return ground


async def test_print_has_the_text_alone(visitor: Visitor) -> None:
    """No navigation and no buttons; every language, since paper has no tabs."""
    page = await visitor.open("/docs/quickstart")
    await page.emulate_media(media="print")
    for unprinted in (".bar", ".contents", ".copy", ".tablist", "main > footer"):
        assert not await page.locator(unprinted).first.is_visible(), unprinted
    assert await _list_languages(page) == {"bash", "python", "javascript"}


async def test_print_is_dark_on_white(visitor: Visitor) -> None:
    """Also for whoever reads in the dark."""
    page = await visitor.open("/docs")
    light = await _read_ground(page)
    await page.emulate_media(media="print", color_scheme="dark")
    assert await _read_ground(page) == light


async def test_contents_are_folded_on_a_phone(visitor: Visitor) -> None:
    """And one press away."""
    page = await visitor.open("/docs/quickstart", width=390)
    entry = page.locator(".contents a[aria-current=page]")
    assert not await entry.is_visible()
    await page.get_by_text("Contents", exact=True).click()
    assert await entry.inner_text() == "Quickstart"


async def test_theme_is_the_systems_until_it_is_switched(visitor: Visitor) -> None:
    """Then it is the chosen one, in the reference, too."""
    page = await visitor.open("/docs")
    light = await _read_ground(page)
    await page.emulate_media(color_scheme="dark")
    dark = await _read_ground(page)
    assert dark != light
    await page.get_by_role("button", name="Switch between light and dark").click()
    assert await _read_ground(page) == light
    for path in ("/docs/errors", REFERENCE):
        await page.goto(path)
        assert await _read_ground(page) == light


async def test_only_what_scrolls_is_a_stop(visitor: Visitor) -> None:
    """The Tab key passes tables and blocks that are seen whole."""
    page = await visitor.open("/docs/chat-completions")
    stops = await page.locator(":is(.scroll, pre)[tabindex]").all()
    assert 0 < len(stops) < await page.locator(".scroll, pre").count()
    assert all([await stop.evaluate("(frame) => frame.scrollWidth > frame.clientWidth") for stop in stops])


async def test_policy_lets_nothing_inline_through(visitor: Visitor) -> None:
    """Neither scripts nor styles, on any page; everything comes from this service."""
    page = await visitor.open("/docs")
    for path in PAGES:
        policy = (await page.request.get(path)).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; "), path
        assert "unsafe" not in policy, path


async def test_skip_link_is_the_first_stop(visitor: Visitor) -> None:
    """It leads past the contents to the text."""
    page = await visitor.open("/docs/errors")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the text"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "text"


async def test_list_for_language_models_leads_to_every_page(visitor: Visitor) -> None:
    """As Markdown, at this service's address."""
    page = await visitor.open("/docs")
    listed = await (await page.request.get("/llms.txt")).text()
    links = re.findall(r"\]\((.+?)\)", listed)
    assert links == [f"{visitor.origin}/docs/{name}.md" for name in ("index", *_NAMES)]
    for link in links:
        assert (await (await page.request.get(link)).text()).startswith("---\ntitle: "), link


async def _open_operation(page: Page, operation: str = CHAT) -> Locator:
    """Unfold an operation of the reference and return it."""
    found = page.locator(operation)
    await found.get_by_role("heading", level=3).get_by_role("button").click()
    await found.locator(".responses-table").first.wait_for()
    return found


async def test_reference_shows_every_operation(visitor: Visitor) -> None:
    """Of the document that it is made of, each by method and path."""
    page = await visitor.open("/docs")
    await _go(page, REFERENCE)
    document: dict[str, Any] = await (await page.request.get("/openapi.json")).json()
    wanted = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    heads = await page.locator(".opblock-summary").all()
    shown = [(await head.locator(".method").inner_text(), await head.locator(".path").inner_text()) for head in heads]
    assert (len(shown), set(shown)) == (len(wanted), wanted)


async def test_operation_of_the_reference_has_no_barriers(visitor: Visitor) -> None:
    """Unfolded and about to be tried, a schema beside it; in the other theme on a phone, too."""
    page = await visitor.open(REFERENCE)
    operation = await _open_operation(page)
    await operation.get_by_role("button", name="Try it out").click()
    await page.locator(".models").get_by_role("button", name="ChatBody").click()
    assert await find_barriers(page) == []
    await page.set_viewport_size({"width": 360, "height": 844})
    await page.emulate_media(color_scheme="dark")
    assert await find_barriers(page) == []
    assert await page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


async def test_reference_is_dark_where_the_documentation_is(visitor: Visitor) -> None:
    """Down to its fields and code: nothing stays on a light ground."""
    page = await visitor.open(REFERENCE, scheme="dark")
    await _open_operation(page)
    light = await page.evaluate("""() => {
      const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
      return [...document.querySelectorAll("body, body *")].filter((element) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = getComputedStyle(element).backgroundColor;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue, opacity] = canvas.getImageData(0, 0, 1, 1).data;
        return opacity > 127 && red + green + blue > 384;
      }).map((element) => element.outerHTML.slice(0, 120));
    }""")
    assert light == []


async def test_request_is_tried_with_the_key_that_was_given(visitor: Visitor, service: Service) -> None:
    """And its answer is shown with its status."""
    page = await visitor.open(REFERENCE)
    await page.get_by_label("API key").fill(service.key)
    operation = await _open_operation(page, "#operations-Models-listModels")
    await operation.get_by_role("button", name="Try it out").click()
    await operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table")
    await answer.wait_for()
    assert await answer.locator("tbody .response-col_status").inner_text() == "200"
    assert '"object": "list"' in await answer.inner_text()


async def test_key_is_forgotten_with_the_page(visitor: Visitor, service: Service) -> None:
    """It is written nowhere."""
    page = await visitor.open(REFERENCE)
    await page.get_by_label("API key").fill(service.key)
    assert service.key not in await page.evaluate(
        "JSON.stringify({ ...localStorage, ...sessionStorage }) + document.cookie"
    )
    await page.reload()
    assert await page.get_by_label("API key").input_value() == ""
