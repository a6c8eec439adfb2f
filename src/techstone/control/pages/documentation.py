"""The documentation as it is served: the Markdown of `docs/api`, rendered once, with its contents and search index.

A page is for whoever reads it here: `https://api.example.com` in it is this service's own address, `{{ models }}` and
`{{ plans }}` are tables of what is on offer here.
"""

from __future__ import annotations

import tomllib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from techstone.control.pages import markdown
from techstone.control.pages.markdown import Page, PageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from techstone.control.catalog.records import ModelShown
    from techstone.core.snapshot import Plan

# In a wheel beside the code, in a checkout where people edit it.
_PACKAGED = Path(__file__).parent / "docs"
_CHECKED_OUT = Path(__file__).parents[4] / "docs" / "api"
FOLDER = _PACKAGED if _PACKAGED.exists() else _CHECKED_OUT
HOME = "index"
_HOST = "https://api.example.com"


class Group(msgspec.Struct, frozen=True):
    """Pages under one heading of the contents."""

    title: str
    pages: tuple[str, ...]


class _Contents(msgspec.Struct, frozen=True):
    group: tuple[Group, ...]


class Found(msgspec.Struct, frozen=True):
    """What the search looks through: a section of a page."""

    id: int
    url: str
    page: str
    title: str
    text: str


class Documentation:
    """All pages. `public_url` is without a path; nothing is read before it is asked for."""

    def __init__(
        self, public_url: str, models: Sequence[ModelShown], plans: Sequence[Plan], folder: Path = FOLDER
    ) -> None:
        self._said = {
            _HOST: public_url,
            "{{ models }}": _tabulate_models(models),
            "{{ plans }}": _tabulate_plans(plans),
        }
        self._public_url = public_url
        self._folder = folder

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The contents, in their order."""
        text = (self._folder / "contents.toml").read_text(encoding="utf-8")
        return msgspec.convert(tomllib.loads(text), _Contents).group

    @cached_property
    def sources(self) -> dict[str, str]:
        """Every page's Markdown by its name, in the order of the contents."""
        return {name: self._read(name) for group in self.groups for name in group.pages}

    @cached_property
    def pages(self) -> dict[str, Page]:
        """Every page by its name, in the order of the contents; raise PageError."""
        return {name: markdown.render(name, text, self._resolve) for name, text in self.sources.items()}

    @cached_property
    def search(self) -> bytes:
        """What the search in the browser looks through, as JSON."""
        return msgspec.json.encode(
            [Found(number, *found) for number, found in enumerate(_list_sections(self.pages.values()))]
        )

    @cached_property
    def digest(self) -> str:
        """The list of pages for language models (llmstxt.org)."""
        lines = ["# TechStone AI Cloud", "", f"> {self.pages[HOME].summary}", ""]
        for group in self.groups:
            lines += [f"## {group.title}", ""]
            for name in group.pages:
                page = self.pages[name]
                lines.append(f"- [{page.title}]({self._public_url}/docs/{name}.md): {page.summary}")
            lines.append("")
        return "\n".join(lines)

    def _read(self, name: str) -> str:
        text = (self._folder / f"{name}.md").read_text(encoding="utf-8")
        for placeholder, said in self._said.items():
            text = text.replace(placeholder, said)
        return text

    def _resolve(self, link: str) -> str:
        """Return where a link leads: another page by its file's name, an anchor of this one, or another site."""
        target, mark, anchor = link.partition("#")
        if not target or "://" in target or target.startswith("/"):
            return link
        name = target.removesuffix(".md")
        if name == target or name not in self.sources:
            raise PageError(f"a link leads to {link}, which is no page")
        return locate(name) + mark + anchor


def locate(name: str) -> str:
    """Return a page's path."""
    return "/docs" if name == HOME else f"/docs/{name}"


def _tabulate_models(models: Sequence[ModelShown]) -> str:
    rows = []
    for model in models:
        name = model.name.replace("|", "\\|")  # else the cell would end there
        numbers = f"{_count(model.context_window)} | {_count(model.max_output_tokens)}"
        rows.append(f"| `{name}` | {', '.join(model.served_by)} | {numbers} |")
    head = "| Model | Served by | Context window, tokens | Longest answer, tokens |"
    return "\n".join([head, "| --- | --- | ---: | ---: |", *rows])


def _tabulate_plans(plans: Sequence[Plan]) -> str:
    rows = [
        f"| `{plan.name}` | {_count(plan.rpm)} | {_count(plan.tpm)} | {_count(plan.concurrent)} | "
        f"{'from credit' if plan.billing == 'prepaid' else 'afterwards'} |"
        for plan in plans
    ]
    head = "| Plan | Requests a minute (RPM) | Tokens a minute (TPM) | At a time | Paid |"
    return "\n".join([head, "| --- | ---: | ---: | ---: | --- |", *rows])


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _list_sections(pages: Iterable[Page]) -> Iterator[tuple[str, str, str, str]]:
    for page in pages:
        for section in page.sections:
            url = locate(page.name) + (f"#{section.anchor}" if section.anchor else "")
            yield url, page.title, section.title, section.text or (page.summary if section.level == 1 else "")
