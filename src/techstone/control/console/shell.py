"""How a page of the Console is made: its frame, its headers, its errors."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Response
from litestar.exceptions import HTTPException, NotFoundException
from litestar.response import Redirect

from techstone.control.console import devices
from techstone.control.console.playground import may_play
from techstone.control.console.session import SET_UP, VISITOR, ForeignForm, LogInFirst, SetUpFirst, identify
from techstone.control.invoicing.documents import group
from techstone.control.pages import assets
from techstone.core.errors import ApiError
from techstone.core.keys import conceal
from techstone.core.roles import may, may_change_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from techstone.control.console.session import PageRequest
    from techstone.control.identity.records import Visitor
    from techstone.control.switches.records import SwitchName

# Everything comes from here, and nothing stands in the page itself (row W-2).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",
}
_LOG = logging.getLogger("techstone.control")
LOG_IN = "/console/log-in"


class Shell:
    """Renders templates. `public_url` is without a path; `is_on` says whether a feature is on now."""

    def __init__(self, public_url: str, is_on: Callable[[SwitchName], bool]) -> None:
        self.public_url = public_url
        self.is_on = is_on
        self._environment = Environment(
            loader=FileSystemLoader([Path(__file__).parent / "templates", assets.FOLDER]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "asset": assets.locate,
            "may": may,
            "may_change_key": may_change_key,
            "may_play": self.may_play,
        }
        self._environment.globals |= {"public_url": public_url}
        self._environment.filters |= {
            "day": _write_day,
            "device": devices.describe,
            "moment": _write_moment,
            "minute": _write_minute,
            "act": _write_act,
            "second": _write_second,
            "thousands": "{:,}".format,
            "grouped": group,
        }

    @property
    def sign_up(self) -> bool:
        """Whether strangers may open an account now."""
        return self.is_on("sign_up")

    def may_play(self, visitor: Visitor) -> bool:
        """Say whether a visitor finds the playground."""
        return self.is_on("playground") and may_play(visitor)

    def show(
        self,
        request: PageRequest,
        template: str,
        visitor: Visitor | None = None,
        *,
        status: int = 200,
        problem: ApiError | None = None,
        form_to: str = "",
        **values: object,
    ) -> Response[str]:
        """Return a page for a visitor; `problem` is what was wrong with their form, and says the status.

        `form_to` is the one other origin that a form of the page may lead to.
        """
        page = self._environment.get_template(template).render(
            csrf=identify(request).csrf,
            visitor=visitor,
            path=request.url.path,
            problem=problem,
            sign_up=self.sign_up,
            **values,
        )
        headers = _HEADERS
        if form_to:
            policy = _POLICY.replace("form-action 'self'", f"form-action 'self' {form_to}")
            headers = {**_HEADERS, "content-security-policy": policy}
        return Response(
            page, status_code=problem.status if problem else status, media_type=MediaType.HTML, headers=headers
        )

    def refuse(self, request: PageRequest, error: Exception) -> Response[Any]:
        """Return what becomes of a failure that no page caught."""
        if isinstance(error, (LogInFirst, SetUpFirst)):
            return go(LOG_IN if isinstance(error, LogInFirst) else SET_UP)
        if isinstance(error, ForeignForm):
            return self._tell(request, 403, "This form has expired", "Go back, reload the page, and try again.")
        if isinstance(error, ApiError):
            return self._tell(request, error.status, "That did not work", error.message)
        if isinstance(error, NotFoundException):
            return self._tell(
                request, 404, "There is no such page", "The address may be mistyped, or the page is gone."
            )
        if isinstance(error, HTTPException) and error.status_code < 500:
            return self._tell(request, error.status_code, "That did not work", "The address holds what cannot be read.")
        _LOG.error("%s %s failed", request.method, conceal(request.url.path), exc_info=error)
        return self._tell(request, 500, "Something went wrong here", "It is written in the log. Please try again.")

    def _tell(self, request: PageRequest, status: int, title: str, text: str) -> Response[str]:
        visitor = request.scope["state"].get(VISITOR)
        if visitor is None or status >= 500:
            return self.show(request, "refused.html", status=status, title=title, text=text)
        return self.show(request, "lost.html", visitor, status=status, title=title, text=text)


def go(path: str) -> Redirect:
    """Return the way to another page, after a change."""
    return Redirect(path, status_code=303, headers=_HEADERS)


def _write_act(action: str) -> str:
    """Return an act in words: `account.add_credit` as "account: add credit"."""
    return action.replace(".", ": ").replace("_", " ")


def _write_day(seconds: int) -> str:
    return time.strftime("%-d %b %Y", time.gmtime(seconds))


def _write_minute(seconds: float) -> str:
    return time.strftime("%-d %b %H:%M", time.gmtime(seconds))


def _write_second(seconds: float) -> str:
    return time.strftime("%-d %b %H:%M:%S", time.gmtime(seconds))


def _write_moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
