"""The first page: what this is and how to call it, at / and /docs."""

from __future__ import annotations

from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Response, Router, route

from techstone.control.catalog.records import ModelShown
from techstone.core.snapshot import Plan


class Guide(msgspec.Struct, frozen=True):
    """What the page tells; its examples ask for the first model. `public_url` is without a path."""

    public_url: str
    version: str
    models: tuple[ModelShown, ...]
    plans: tuple[Plan, ...]


def render(guide: Guide) -> str:
    """Return the page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    built_in = all(model.served_by == ("engine",) for model in guide.models)
    page = environment.get_template("guide.html")
    return page.render(guide=guide, base=f"{guide.public_url}/v1", model=guide.models[0].name, built_in=built_in)


def route_guide(guide: Guide) -> Router:
    """Return the routes of the page; it is rendered once, since what it tells is configured."""
    page = render(guide)

    @route(["/", "/docs"], http_method=["GET", "HEAD"], media_type=MediaType.HTML, sync_to_thread=False)
    def show() -> Response[str]:
        return Response(page, media_type=MediaType.HTML, headers={"cache-control": "no-cache"})

    return Router("/", route_handlers=[show])
