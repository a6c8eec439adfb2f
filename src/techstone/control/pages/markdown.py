"""Markdown to HTML for the documentation: anchors on headings, fences as code blocks, neighbouring ones as tabs.

CommonMark with tables by markdown-it-py, colours by Pygments (classes only, so that light and dark are the style
sheet's). What is written in a page is ours, so raw HTML is shown as text: nothing needs it.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

import msgspec
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from markdown_it.token import Token

_FRONT = re.compile(r"---\ntitle: (.+)\nsummary: (.+)\n---\n")
_DROPPED = re.compile(r"[^\w\- ]")
# By the first word of a fence: what the reader is told, and Pygments' name.
_LANGUAGES = {
    "bash": ("cURL", "bash"),
    "python": ("Python", "python"),
    "javascript": ("Node.js", "javascript"),
    "json": ("JSON", "json"),
    "toml": ("TOML", "toml"),
    "http": ("HTTP", "http"),
    "sse": ("Events", "text"),
    "console": ("Terminal", "console"),
    "text": ("Text", "text"),
}
_PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")
_FORMATTER: HtmlFormatter[str] = HtmlFormatter(nowrap=True, classprefix="s-")


class PageError(ValueError):
    """A page cannot be shown: which, and why."""


class Section(msgspec.Struct, frozen=True):
    """A heading of a page and the plain text below it. `level` is 1 for the page itself."""

    anchor: str
    title: str
    level: int
    text: str


class Page(msgspec.Struct, frozen=True):
    """A page: its name in the URL, what it is called, and its body."""

    name: str
    title: str
    summary: str
    html: str
    sections: tuple[Section, ...]


def render(name: str, source: str, resolve: Callable[[str], str]) -> Page:
    """Return a page; `resolve` turns a link into the URL that it leads to. Raise PageError."""
    front = _FRONT.match(source)
    if front is None:
        raise PageError(f"{name}: a page begins with its title and summary between two lines of ---")
    tokens = _PARSER.parse(source[front.end() :])
    sections = tuple(_number_headings(tokens, front[1]))
    return Page(name, front[1], front[2], _write(tokens, resolve), sections)


def make_anchor(title: str) -> str:
    """Return the anchor of a heading, as GitHub makes them."""
    return _DROPPED.sub("", title.strip().lower()).replace(" ", "-")


def _number_headings(tokens: Sequence[Token], title: str) -> Iterator[Section]:
    """Give every heading its anchor, and yield the page's sections with their text."""
    taken: dict[str, int] = {}
    current = Section("", title, 1, "")
    texts: list[str] = []
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            yield msgspec.structs.replace(current, text=" ".join(texts))
            heading = _plain(tokens[place + 1])
            anchor = make_anchor(heading)
            taken[anchor] = taken.get(anchor, -1) + 1
            if taken[anchor]:
                anchor = f"{anchor}-{taken[anchor]}"
            token.attrSet("id", anchor)
            current, texts = Section(anchor, heading, int(token.tag[1]), ""), []
        elif token.type == "inline" and not (place and tokens[place - 1].type == "heading_open"):
            texts.append(_plain(token))
    yield msgspec.structs.replace(current, text=" ".join(texts))


def _plain(token: Token) -> str:
    children = token.children or []
    return "".join(" " if child.type in {"softbreak", "hardbreak"} else child.content for child in children)


def _write(tokens: list[Token], resolve: Callable[[str], str]) -> str:
    for token in tokens:
        for child in token.children or ():
            if child.type == "link_open":
                child.attrSet("href", resolve(str(child.attrGet("href"))))
    out: list[str] = []
    rest: list[Token] = []
    fences: list[Token] = []

    def flush(*, fence: bool) -> None:
        if fences and not fence:
            out.append(_write_fences(fences))
            fences.clear()
        if rest and fence:
            out.append(_PARSER.renderer.render(rest, _PARSER.options, {}))
            rest.clear()

    for token in tokens:
        is_fence = token.type == "fence"
        flush(fence=is_fence)
        (fences if is_fence else rest).append(token)
    flush(fence=True)
    flush(fence=False)
    return _frame_tables(_link_headings("".join(out)))


def _write_fences(fences: Sequence[Token]) -> str:
    """Return neighbouring code blocks: one by itself, several of different languages as tabs."""
    blocks = [_write_fence(fence) for fence in fences]
    if len({fence.info.split()[0] for fence in fences if fence.info}) < len(fences) or len(fences) == 1:
        return "".join(blocks)
    return f'<div class="tabs">{"".join(blocks)}</div>\n'


def _write_fence(fence: Token) -> str:
    language = fence.info.split()[0] if fence.info else "text"
    if language not in _LANGUAGES:
        raise PageError(f"a fence of `{language}`, which is none of {', '.join(_LANGUAGES)}")
    label, lexer = _LANGUAGES[language]
    code = highlight(fence.content, get_lexer_by_name(lexer, stripnl=False), _FORMATTER)
    return (
        f'<figure class="code" data-language="{language}"><figcaption>{escape(label)}</figcaption>'
        f'<pre tabindex="0"><code>{code}</code></pre></figure>\n'
    )


def _link_headings(html: str) -> str:
    """Put a link to itself behind every heading's text."""
    return re.sub(
        r'<(h[2-4]) id="([^"]+)">(.*?)</\1>',
        r'<\1 id="\2">\3 <a class="anchor" href="#\2" aria-label="Link to this section">#</a></\1>',
        html,
    )


def _frame_tables(html: str) -> str:
    """Let a wide table scroll by itself, by keyboard too; numbers by class: inline styles are forbidden.

    A section, since what can be focused and is no control must be one of those; without a name it is no landmark.
    """
    html = html.replace(' style="text-align:right"', ' class="number"')
    framed = html.replace("<table>", '<section class="scroll" tabindex="0"><table>')
    return framed.replace("</table>", "</table></section>")
