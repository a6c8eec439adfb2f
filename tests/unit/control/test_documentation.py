"""The documentation that is served: every page can be shown, every link leads somewhere, nothing needs another host."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING

import msgspec
import pytest
from rooms import House

from techstone.app import config
from techstone.control.pages import assets, markdown
from techstone.control.pages.documentation import FOLDER, Documentation
from techstone.control.pages.markdown import PageError
from techstone.control.pages.openapi import Reference
from techstone.control.pages.site import REFERENCE, Site
from techstone.core import errors

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://gate.test"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def documentation() -> Documentation:
    catalog = House().catalog
    return Documentation(URL, [], catalog.plans)


def _render(body: str) -> markdown.Page:
    return markdown.render("p", f"---\ntitle: T\nsummary: S.\n---\n{body}", lambda link: link)


def test_every_file_is_a_page_of_the_contents(documentation: Documentation) -> None:
    """One that the contents do not name is found by nobody."""
    assert {path.stem for path in FOLDER.glob("*.md")} == set(documentation.pages)


def test_every_link_leads_to_a_heading_that_is_there(documentation: Documentation) -> None:
    """Of the same page, of another one, or to a page as a whole; outward links are https."""
    anchors = {
        markdown_page.name: {section.anchor for section in markdown_page.sections}
        for markdown_page in documentation.pages.values()
    }
    for page in documentation.pages.values():
        for link in re.findall(r'href="([^"]+)"', page.html):
            path, _, anchor = link.partition("#")
            if "://" in path:
                assert path.startswith(("https://", URL)), (page.name, link)
            elif path.startswith("/docs") or not path:
                name = path.removeprefix("/docs").removeprefix("/") or ("index" if path else page.name)
                assert name == "reference" or anchor in {"", *anchors[name]}, (page.name, link)


def test_every_error_that_can_be_sent_has_its_row(documentation: Documentation) -> None:
    """By its code; who gets one finds what to do."""
    found, waiting = set(), [errors.ApiError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.code:
            found.add(kind.code)
    anchors = {section.anchor for section in documentation.pages["errors"].sections}
    assert found <= anchors, found - anchors


def test_json_and_configuration_in_the_pages_are_valid(documentation: Documentation) -> None:
    """What can be copied can be used."""
    for name, source in documentation.sources.items():
        for language, text in _FENCE.findall(source):
            if language == "json":
                json.loads(text)
            elif language == "toml":
                tomllib.loads(text)
                config.parse(text)
            assert language in markdown._LANGUAGES, name


def test_no_page_needs_another_host_or_an_inline_script(documentation: Documentation) -> None:
    """The content security policy forbids both; a style attribute, too."""
    site = Site(documentation, Reference(URL, "0"))
    for name in (*documentation.pages, REFERENCE):
        page = site.show(name)
        assert page is not None
        assert not re.search(r'<(script|link|img)[^>]+(src|href)="(https?:)?//', page), name
        assert not re.search(r"<script(?![^>]*src=)|style=|\son\w+=", page), name
        for address in re.findall(r'(?:src|href)="/docs/assets/([^"?]+)', page):
            assert assets.read(address) is not None, address


def test_text_is_this_services_own(documentation: Documentation) -> None:
    """Its address and its plans stand in the pages."""
    everything = "".join(documentation.sources.values())
    assert "api.example.com" not in everything
    assert URL in everything
    assert "| `pro` | 500 | 2,000,000 | 50 | afterwards |" in everything


def test_search_finds_sections(documentation: Documentation) -> None:
    """Each has an address, a title and text without markup."""
    found = msgspec.json.decode(documentation.search)
    assert len(found) > 50
    assert len({entry["url"] for entry in found}) == len(found)
    assert not [entry for entry in found if "<" in entry["title"] or "```" in entry["text"]]


def test_neighbouring_fences_of_different_languages_are_tabs() -> None:
    """Two of the same are two blocks, and one is one."""
    assert '<div class="tabs">' in _render("```bash\na\n```\n\n```python\nb\n```\n").html
    for alone in (
        "```bash\na\n```\n",
        "```bash\na\n```\n\n```bash\nb\n```\n",
        "```bash\na\n```\n\ntext\n\n```python\nb\n```\n",
    ):
        assert "tabs" not in _render(alone).html


def test_headings_have_anchors_of_their_own() -> None:
    """As GitHub makes them, a second one of the same words with a number."""
    page = _render("## A `code` heading\n\ntext\n\n## A code heading\n\n### rate_limit_exceeded\n")
    assert [section.anchor for section in page.sections] == [
        "",
        "a-code-heading",
        "a-code-heading-1",
        "rate_limit_exceeded",
    ]
    assert page.sections[1].text == "text"
    assert 'id="rate_limit_exceeded"' in page.html


def test_what_is_written_is_shown_as_text() -> None:
    """Raw HTML and a fence of an unknown language do not get through."""
    assert "<script>" not in _render("<script>alert(1)</script>\n\n`<b>`").html
    with pytest.raises(PageError, match="cobol"):
        _render("```cobol\nx\n```\n")
    with pytest.raises(PageError, match="title and summary"):
        markdown.render("p", "# T\n", str)


def test_link_to_no_page_is_refused(tmp_path: Path) -> None:
    """With the link, as soon as the pages are read."""
    (tmp_path / "contents.toml").write_text('[[group]]\ntitle = "G"\npages = ["index"]\n')
    (tmp_path / "index.md").write_text("---\ntitle: T\nsummary: S.\n---\n[x](none.md)\n")
    with pytest.raises(PageError, match=r"none\.md"):
        _ = Documentation(URL, [], [], tmp_path).pages


@pytest.mark.parametrize("name", ["../site.py", "vendor", "vendor/README.md", "nothing.css", "/etc/passwd"])
def test_only_assets_are_served(name: str) -> None:
    """No way out of their folder, and nothing in it but styles, scripts and fonts."""
    assert assets.read(name) is None


def test_reference_is_made_of_the_structs() -> None:
    """Every schema that is referred to is there, and every operation says what it can answer."""
    document = msgspec.json.decode(Reference(URL, "1.2.3").document)
    assert (document["openapi"], document["info"]["version"]) == ("3.1.0", "1.2.3")
    text = json.dumps(document)
    for kind, name in re.findall(r"#/components/(\w+)/([\w-]+)", text):
        assert name in document["components"][kind]
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names) > 10
    assert document["components"]["schemas"]["ChatBody"]["required"] == ["model", "messages"]
