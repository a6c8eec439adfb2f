"""What people and upstreams write stays text: no payload that is stored anywhere runs in any page (row W-2)."""

from __future__ import annotations

import html
import re
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from forms import PASSWORD, Browser, claim
from service import Service, serving, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import Dialog
    from visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Out of an element, an attribute of either quote, a script, a style, a URL, a template (PortSwigger's cheat sheet).
PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "' autofocus onfocus='alert(4)",
    "</title></script><script>alert(5)</script>",
    "javascript:alert(6)",
    "{{7*7}}${alert(7)}<%= alert(7) %>",
    "</textarea><style>@import'//x'</style>",
    "<iframe srcdoc='&lt;script&gt;alert(8)&lt;/script&gt;'>",
    '<a href="javascript:alert(9)">x</a>',
]
# What an address may hold at most (RFC 5322, 3.2.3): quotes that end an attribute, and a template.
OWNER = "x'onfocus='{{7*7}}`@example.com"
_LINK = re.compile(r'href="(/console[^"#]*)"')


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("injection"), "[console]\nsign_up = true\n") as running:
        yield running


@pytest.fixture(scope="module")
def owner(service: Service) -> Browser:
    """Somebody whose every word is a payload: address, device, names, whom they invite, what they ask for."""
    person = claim(service, OWNER)
    for number, payload in enumerate(PAYLOADS):
        made = person.submit("/console/keys/new", name=payload)
        assert made.status == 200, made.text
        assert person.submit("/console/projects", name=payload).status == 303
        buyer = {"name": payload, "address": payload, "tax_id": f"{number}"}
        assert person.submit("/console/billing/buyer", page="/console/billing", **buyer).status == 303
        refused = person.submit("/console/people", email=f"{payload}@example.com", role="viewer").text
        assert f"{payload}@" not in refused or "<" not in payload, payload
        other = Browser(service)
        other.send("GET", "/console/log-in", User_Agent=payload)
        token = re.search(r'name="csrf" value="(\w+)"', other.open("/console/log-in").text)
        assert token is not None
        form = urllib.parse.urlencode({"csrf": token[1], "email": OWNER, "password": PASSWORD})
        assert other.send("POST", "/console/log-in", form, User_Agent=payload).status == 303
        service.chat({"model": payload, "messages": [{"role": "user", "content": payload}]})
    wait_until(lambda: service.chat()[0] == 200)
    wait_until(lambda: "req_" in person.open("/console/logs").text)
    return person


def find_pages(owner: Browser) -> list[str]:
    """Return every address that the pages lead to, one of each kind of id."""
    kinds, waiting = {"/console": "/console"}, ["/console"]
    while waiting:
        for link in _LINK.findall(owner.open(waiting.pop()).text):
            address = html.unescape(link)
            kind = re.sub(r"_[0-9a-f]{8,}|=[^&]*", "", address)
            if kind not in kinds and not address.endswith(".csv") and ".csv?" not in address:
                kinds[kind] = address
                waiting.append(address)
    return sorted(kinds.values())


async def test_no_payload_runs_in_any_page(visitor: Visitor, owner: Browser) -> None:
    """Every page in Chromium: no dialog, no element out of a payload, nothing that the policy had to stop."""
    page = await visitor.open("/console/log-in")
    heard: list[str] = []

    async def hear(dialog: Dialog) -> None:
        heard.append(dialog.message)
        await dialog.dismiss()

    page.on("dialog", hear)
    await page.fill("#email", OWNER)
    await page.evaluate("document.querySelector('#email').type = 'text'")
    await page.fill("#password", PASSWORD)
    await page.click("button[type=submit]")
    await page.wait_for_url("**/console")
    addresses = find_pages(owner)
    for payload in PAYLOADS:
        search = re.sub(r"[&#%+]", "", payload)
        addresses += [f"/console/logs?model={search}", f"/console/audit?actor={search}", f"/console/logs/{search[:9]}"]
    for address in addresses:
        await page.goto(address)
        found = await page.evaluate(
            "[...document.querySelectorAll('[onerror], [onload], [onfocus], [srcdoc], [href^=\"javascript:\"]')]"
            ".map(one => one.outerHTML)"
        )
        assert found == [], address
    assert heard == []
    visitor.problems = [one for one in visitor.problems if not re.search(r": 40[04]$|status of 40[04]", one)]
    print(f"{len(addresses)} pages, {len(PAYLOADS)} payloads in every field that is kept")


async def test_payloads_are_shown_as_they_were_written(owner: Browser) -> None:
    """Else the test above would look at pages that hold none."""
    listed = owner.open("/console/keys").text
    for payload in PAYLOADS:
        assert str(html.escape(payload)).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in listed, payload
    me = owner.open("/console/me").text
    assert "alert(3)" in me
    assert "<svg onload" not in me
