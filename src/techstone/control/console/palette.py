"""The command palette: pages, keys, models, one request by its id, and what can be done; as far as the role goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from litestar import Response, Router, get

from techstone.control.console.pages import Pages, visitor_of
from techstone.control.console.playground import PLAYGROUND
from techstone.control.console.session import PageRequest
from techstone.core.roles import may

if TYPE_CHECKING:
    from collections.abc import Iterable

    from techstone.control.console.shell import Shell
    from techstone.control.identity.records import Visitor
    from techstone.core.roles import Permission

# So many of a kind: who wants another types another letter.
_MOST = 8
_LONGEST = 100
_REQUEST = "req_"


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What can be chosen: a link, or a form of every page by its action, or a button of it by its attribute."""

    group: str
    label: str
    hint: str = ""
    href: str = ""
    form: str = ""
    press: str = ""


_PAGES: tuple[tuple[str, str, Permission | None], ...] = (
    ("Overview", "/console", None),
    ("Keys", "/console/keys", "keys.read"),
    ("Projects", "/console/projects", "usage.read"),
    ("Usage", "/console/usage", "usage.read"),
    ("Limits", "/console/limits", "usage.read"),
    ("Logs", "/console/logs", "logs.read"),
    ("Playground", PLAYGROUND, None),
    ("Models", "/console/models", "usage.read"),
    ("Billing", "/console/billing", "billing.read"),
    ("Statements", "/console/billing/statements", "billing.read"),
    ("People", "/console/people", "usage.read"),
    ("Audit log", "/console/audit", "audit.read"),
    ("Log-in and sessions", "/console/me", None),
)
_OPERATOR = (
    ("Accounts", "/console/operate/accounts"),
    ("Payments", "/console/operate/payments"),
    ("Invoices", "/console/operate/invoices"),
    ("Top-up codes", "/console/operate/codes"),
    ("Providers", "/console/operate/providers"),
    ("Models on offer", "/console/operate/models"),
    ("Prices", "/console/operate/prices"),
    ("Plans", "/console/operate/plans"),
    ("Switches", "/console/operate/switches"),
    ("Operator keys", "/console/operate/keys"),
    ("Health", "/console/operate/health"),
    ("Audit of all", "/console/operate/audit"),
    ("Parts", "/console/parts"),
)
_ACTIONS: tuple[tuple[Entry, Permission | None], ...] = (
    (Entry("Actions", "Create a key", href="/console/keys/new"), "keys.write"),
    (Entry("Actions", "Redeem a code", href="/console/billing#code"), "billing.write"),
    (Entry("Actions", "Invite someone", href="/console/people#email"), "team.write"),
    (Entry("Actions", "Export usage as CSV", href="/console/usage/usage.csv"), "usage.read"),
    (Entry("Actions", "Read the documentation", href="/docs"), None),
    (Entry("Actions", "Switch between light and dark", press="theme-switch"), None),
    (Entry("Actions", "Log out", form="/console/log-out"), None),
)


def route_palette(pages: Pages) -> Router:
    """Return the route of /console/palette."""

    @get("/console/palette")
    async def find(request: PageRequest, find: str = "") -> Response[list[Entry]]:
        visitor = visitor_of(request)
        words = find.strip()[:_LONGEST]
        found = [*_find_request(visitor, words), *_match(words, _list_pages(pages.shell, visitor))]
        if words:
            found += await _find_things(pages, visitor, words)
        found += _match(words, (entry for entry, needs in _ACTIONS if _holds(visitor, needs)))
        return Response(found, headers={"cache-control": "no-store"})

    return Router("/", route_handlers=[find])


def _list_pages(shell: Shell, visitor: Visitor) -> Iterable[Entry]:
    for label, href, needs in _PAGES:
        if shell.may_play(visitor) if href == PLAYGROUND else _holds(visitor, needs):
            yield Entry("Pages", label, href=href)
    if visitor.person.operator:
        yield from (Entry("Operate", label, href=href) for label, href in _OPERATOR)


def _find_request(visitor: Visitor, words: str) -> Iterable[Entry]:
    if words.startswith(_REQUEST) and words.replace("_", "").isalnum() and _holds(visitor, "logs.read"):
        yield Entry("Requests", words, "Open in the logs", href=f"/console/logs/{words}")


async def _find_things(pages: Pages, visitor: Visitor, words: str) -> list[Entry]:
    """Return the account's keys and the models of that name."""
    found: list[Entry] = []
    if visitor.seat and _holds(visitor, "keys.read"):
        keys = await pages.services.keys.list(visitor.seat.account)
        of = "/console/logs?key=" if _holds(visitor, "logs.read") else "/console/keys?key="
        found += _match(words, (Entry("Keys", key.name, key.hint, href=f"{of}{key.id}") for key in keys[::-1]))
    if visitor.seat and _holds(visitor, "usage.read"):
        models = await pages.services.catalog.list_models()
        entries = (
            Entry("Models", model.name, ", then ".join(model.served_by), href=f"/console/models#{model.name}")
            for model in models
        )
        found += _match(words, entries)
    return found


def _match(words: str, entries: Iterable[Entry]) -> list[Entry]:
    """Return the first of those whose label or hint holds all words; those that begin with them first."""
    wanted = words.lower().split()
    held = [entry for entry in entries if all(word in f"{entry.label} {entry.hint}".lower() for word in wanted)]
    held.sort(key=lambda entry: not entry.label.lower().startswith(words.lower()))
    return held[:_MOST] if words else held


def _holds(visitor: Visitor, needs: Permission | None) -> bool:
    return needs is None or (visitor.seat is not None and may(visitor.seat.role, needs))
