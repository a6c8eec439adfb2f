"""The playground: one or two models asked side by side, from the browser straight to the API with a key of one hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from litestar import Response, Router, get, post

from techstone.control.console.pages import Pages, seat_of, visitor_of
from techstone.control.console.session import Nothing, PageRequest, read_form
from techstone.control.keys.records import NewKey
from techstone.core.errors import NotFound
from techstone.core.roles import may

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techstone.control.catalog.records import ModelShown
    from techstone.control.identity.records import Seat, Visitor
    from techstone.control.keys.records import KeyShown

PLAYGROUND = "/console/playground"
GUIDE = "techstone-nano"
"""The built-in model (engine/options.py), which knows this product."""
FIRST = (
    "What is the Token economy?", "Which plans are there?", "How do I create an API key?", "Why do I get 429?",
)  # fmt: skip
"""What newcomers ask it."""
_LASTS = 3600
_NAME = "Playground ("
_LONGEST_NAME = 100


class PlaygroundKey(msgspec.Struct, frozen=True):
    """A key for the tab that asked for it; `expires_at` in unix seconds."""

    key: str
    expires_at: int


class PlaygroundClosed(NotFound):
    """404: the operator has turned the playground off."""

    def __init__(self) -> None:
        super().__init__("There is no playground on this cloud.")


def may_play(visitor: Visitor) -> bool:
    """Say whether the playground is for a visitor, while it is open: who may make keys."""
    return visitor.seat is not None and may(visitor.seat.role, "keys.write")


def find_guide(models: Sequence[ModelShown]) -> str | None:
    """Return the model to ask about this product; None where it is not on offer."""
    return GUIDE if any(model.name == GUIDE for model in models) else None


def is_passing(key: KeyShown) -> bool:
    """Say whether a key was made by the playground, for one tab and an hour."""
    hour = key.expires_at is not None and key.expires_at - key.created_at <= _LASTS
    return hour and key.name.startswith(_NAME)


def is_over(key: KeyShown) -> bool:
    """Say whether such a key is good no more: nobody looks for it in a list of keys."""
    return is_passing(key) and key.state != "active"


def route_playground(pages: Pages) -> Router:
    """Return the routes under /console/playground."""
    services, shell = pages.services, pages.shell

    @get("/")
    async def show(request: PageRequest) -> Response[str]:
        seat = _enter(pages, request)
        models = await services.catalog.list_models()
        names = [model.name for model in models]
        wanted = [request.query_params.get(field) for field in ("model", "beside")]
        return shell.show(
            request,
            "playground.html",
            visitor_of(request),
            models=models,
            account=seat.account,
            chosen=wanted[0] if wanted[0] in names else names[0] if names else "",
            beside=wanted[1] if wanted[1] in names else "",
            guide=find_guide(models) or "",
            first=FIRST,
            said=request.query_params.get("say", ""),
        )

    @post("/key")
    async def make_key(request: PageRequest) -> Response[PlaygroundKey]:
        seat = _enter(pages, request)
        await read_form(request, Nothing)
        name = f"{_NAME}{visitor_of(request).person.email[: _LONGEST_NAME - len(_NAME) - 1]})"
        made = await services.keys.create(NewKey(seat.account, name=name, expires=f"{_LASTS}s"))
        shown = PlaygroundKey(made.key, made.expires_at or 0)
        return Response(shown, headers={"cache-control": "no-store"})

    return Router(PLAYGROUND, route_handlers=[show, make_key])


def _enter(pages: Pages, request: PageRequest) -> Seat:
    if not pages.is_on("playground"):
        raise PlaygroundClosed
    return seat_of(request, "keys.write")
