"""The doors: log in and out, sign up, a new password, and the page that one-time links lead to."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from techstone.control.console.session import (
    Nothing,
    PageRequest,
    Use,
    bring,
    drop,
    forget,
    identify,
    keep,
    read_form,
    recognise,
    remember,
)
from techstone.control.console.shell import LOG_IN, Shell, go
from techstone.control.identity.links import Caller
from techstone.control.identity.ports import MailError
from techstone.control.identity.records import Step
from techstone.control.identity.service import STEP_LASTS, check_length
from techstone.core.errors import ApiError, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from litestar.handlers import HTTPRouteHandler

    from techstone.control.identity.links import Links
    from techstone.control.identity.ports import Terms
    from techstone.control.identity.records import Opened
    from techstone.control.identity.service import Identity

_LOG = logging.getLogger("techstone.control")


class LogIn(msgspec.Struct):
    """What the log-in form holds."""

    email: str = ""
    password: str = ""


class Code(msgspec.Struct):
    """A code of an app, or a recovery code."""

    code: str = ""


class Address(msgspec.Struct):
    """An address of e-mail."""

    email: str = ""


class Choice(msgspec.Struct):
    """What is chosen behind a link."""

    email: str = ""
    password: str = ""


class Post:
    """Sends letters after the answer: how long one takes tells nothing of whether it is sent (row A-3)."""

    def __init__(self) -> None:
        self._sending: set[asyncio.Task[None]] = set()

    def send(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it in the background; tell the operator where it fails."""
        task = asyncio.create_task(self._try(work))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _try(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except MailError as error:
            _LOG.error("a letter was not sent: %s", error)


CODE = "/console/log-in/code"
_UNTIL_INSIDE: tuple[Use, ...] = ("step", "invitation")
# For how long an invitation waits for a log-in in the same browser.
_WAITS = 1800
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


async def let_in(identity: Identity, request: PageRequest, outcome: Opened | Step) -> Response[Any]:
    """Return the way in for who has shown who they are, or that to the second step.

    A session that this browser had before ends: nobody goes on in it who thinks that it is the new one (row W-3).
    """
    if isinstance(outcome, Step):
        answer = go(CODE)
        keep(answer, request, "step", outcome.token, STEP_LASTS)
        return answer
    if before := await recognise(identity, request):
        await identity.log_out(before)
    invitation = bring(request, "invitation")
    answer = go(f"/console/link/{invitation}" if _TOKEN.fullmatch(invitation) else "/console")
    remember(answer, request, outcome.token)
    for use in _UNTIL_INSIDE:
        if bring(request, use):
            drop(answer, request, use)
    return answer


def route_doors(shell: Shell, identity: Identity, links: Links, providers: tuple[Terms, ...]) -> Router:
    """Return the routes of who is not logged in."""
    handlers = [
        *_list_log_ins(shell, identity, providers),
        *_list_steps(shell, identity),
        *_list_wishes(shell, links),
        *_list_links(shell, identity, links),
    ]
    return Router("/console", route_handlers=handlers)


def _list_log_ins(shell: Shell, identity: Identity, providers: tuple[Terms, ...]) -> list[HTTPRouteHandler]:
    @get("/log-in")
    async def ask(request: PageRequest) -> Response[Any]:
        if await recognise(identity, request):
            return go("/console")
        return shell.show(request, "doors/log-in.html", email="", providers=providers)

    @post("/log-in")
    async def log_in(request: PageRequest) -> Response[Any]:
        wish = await read_form(request, LogIn)
        caller = identify(request)
        try:
            outcome = await identity.log_in(wish.email, wish.password, caller.agent, caller.address)
        except ApiError as problem:
            return shell.show(request, "doors/log-in.html", email=wish.email, problem=problem, providers=providers)
        return await let_in(identity, request, outcome)

    @post("/log-out")
    async def log_out(request: PageRequest) -> Response[Any]:
        await read_form(request, Nothing)
        if visitor := await recognise(identity, request):
            await identity.log_out(visitor)
        answer = go(LOG_IN)
        forget(answer, request)
        return answer

    return [ask, log_in, log_out]


def _list_steps(shell: Shell, identity: Identity) -> list[HTTPRouteHandler]:
    @get("/log-in/code")
    async def ask_code(request: PageRequest) -> Response[Any]:
        person = await identity.find_half(bring(request, "step"))
        return shell.show(request, "doors/code.html", email=person.email) if person else go(LOG_IN)

    @post("/log-in/code")
    async def finish(request: PageRequest) -> Response[Any]:
        code = (await read_form(request, Code)).code
        caller, step = identify(request), bring(request, "step")
        try:
            opened = await identity.finish(step, code, caller.agent, caller.address)
        except ApiError as problem:
            person = await identity.find_half(step)
            return shell.show(request, "doors/code.html", email=person.email if person else "", problem=problem)
        return await let_in(identity, request, opened) if opened else go(LOG_IN)

    return [ask_code, finish]


def _list_wishes(shell: Shell, links: Links) -> list[HTTPRouteHandler]:
    letters = Post()

    @get("/sign-up")
    async def ask_to_sign_up(request: PageRequest) -> Response[str]:
        return shell.show(request, "doors/sign-up.html", email="", sent=False)

    @post("/sign-up")
    async def sign_up(request: PageRequest) -> Response[str]:
        email = (await read_form(request, Address)).email
        if not shell.sign_up:
            return shell.show(request, "doors/sign-up.html", status=403, email=email, sent=False)
        try:
            links.check_address(email)
        except InvalidRequest as problem:
            return shell.show(request, "doors/sign-up.html", email=email, problem=problem, sent=False)
        letters.send(links.ask_to_sign_up(email, identify(request).address))
        return shell.show(request, "doors/sign-up.html", email=email, sent=True)

    @get("/reset")
    async def ask_to_reset(request: PageRequest) -> Response[str]:
        return shell.show(request, "doors/reset.html", email="", sent=False)

    @post("/reset")
    async def reset(request: PageRequest) -> Response[str]:
        email = (await read_form(request, Address)).email
        try:
            check_length(email)
        except InvalidRequest as problem:
            return shell.show(request, "doors/reset.html", email=email, problem=problem, sent=False)
        letters.send(links.ask_to_reset(email, identify(request).address))
        return shell.show(request, "doors/reset.html", email=email, sent=True)

    return [ask_to_sign_up, sign_up, ask_to_reset, reset]


def _list_links(shell: Shell, identity: Identity, links: Links) -> list[HTTPRouteHandler]:
    async def show(request: PageRequest, token: str, email: str = "", problem: ApiError | None = None) -> Response[str]:
        try:
            link, known = await links.open(token)
        except InvalidRequest as ended:
            return shell.show(
                request, "refused.html", status=400, title="This link is not good any more", text=ended.message
            )
        inside = await recognise(identity, request)
        own = known is not None and inside is not None and inside.person.id == known.id
        answer = shell.show(
            request,
            "doors/link.html",
            link=link,
            known=known is not None,
            own=own,
            inside=inside,
            token=token,
            email=email,
            problem=problem,
        )
        if known is not None and not own:
            keep(answer, request, "invitation", token, _WAITS)
        return answer

    @get("/link/{token:str}")
    async def open_link(request: PageRequest, token: FromPath[str]) -> Response[str]:
        return await show(request, token)

    @post("/link/{token:str}")
    async def follow(request: PageRequest, token: FromPath[str]) -> Response[Any]:
        choice = await read_form(request, Choice)
        inside, came = await recognise(identity, request), identify(request)
        try:
            caller = Caller(came.agent, came.address, inside.person.id if inside else None)
            if (await links.open(token))[1] is not None:
                await links.join(token, caller)
                return go("/console")
            outcome = await links.follow(token, choice.email, choice.password, caller)
        except ApiError as problem:
            return await show(request, token, choice.email, problem)
        return await let_in(identity, request, outcome)

    return [open_link, follow]
