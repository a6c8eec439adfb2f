"""A client of the control plane's internal API over its Unix socket: what the command line uses while it runs.

Implements `control.operations.Operations`; a refusal comes back as the error that the service raised.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec.structs import asdict

from techstone.adapters import internal_catalog
from techstone.control.accounts.records import AccountShown, CapChange, CreditAdded, NewAccount, PlanChange, Suspension
from techstone.control.audit.records import AuditFilter, EntryShown, Soundness
from techstone.control.audit.service import PAGE as AUDIT_PAGE
from techstone.control.billing.records import (
    AlertShown,
    CodeChosen,
    CodeShown,
    CreatedCode,
    ModelChosen,
    NewCodes,
    NewPrice,
    PriceShown,
    Redeemed,
    Redemption,
)
from techstone.control.catalog.records import ModelShown
from techstone.control.identity.records import Claim, PersonShown
from techstone.control.keys.records import Alteration, CreatedKey, KeyChange, KeyChosen, KeyShown, NewKey, Rotation
from techstone.control.ledger.records import (
    PAGE,
    Applied,
    Following,
    Grouping,
    RatingSpan,
    RequestShown,
    Rerating,
    UsageShown,
    Violation,
)
from techstone.control.operations import Facts
from techstone.control.ports import StoreError
from techstone.control.projects.records import NewProject, ProjectChange, ProjectShown
from techstone.core.errors import (
    AccountNotFound,
    ApiError,
    InvalidRequest,
    KeyNotFound,
    NotFound,
    ProjectNotFound,
    ServerError,
)
from techstone.wire.error import ErrorBody

_T = TypeVar("_T")

_SECONDS = 10.0
# What reads every request of a period: 5 minutes for the whole check of 10 million requests.
_LONG_SECONDS = 3600.0
_BY_CODE: dict[str | None, type[ApiError]] = {
    kind.code: kind for kind in (AccountNotFound, KeyNotFound, ProjectNotFound)
}
_BY_STATUS: dict[int, type[ApiError]] = {400: InvalidRequest, 404: NotFound}


def answers(path: str) -> bool:
    """Say whether a control plane listens on the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("control", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Caller:
    """Sends one request and reads its answer."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def call(
        self,
        method: str,
        url: str,
        shape: type[_T],
        body: msgspec.Struct | bytes | None = None,
        *,
        seconds: float = _SECONDS,
    ) -> _T:
        """Return the answer; raise ApiError as the service did, or StoreError where control does not answer in time."""
        return await asyncio.to_thread(self._call, method, url, shape, body, seconds)

    def _call(self, method: str, url: str, shape: type[_T], body: msgspec.Struct | bytes | None, seconds: float) -> _T:
        connection = _Connection(self._path, seconds)
        try:
            data = msgspec.json.encode(body) if isinstance(body, msgspec.Struct) else body
            media = "application/octet-stream" if isinstance(body, bytes) else "application/json"
            connection.request(method, "/internal" + url, data, {"content-type": media})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise StoreError(f"the control plane does not answer: {error}") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise _read_error(response.status, answer)
        return msgspec.json.decode(answer, type=shape)


def _read_error(status: int, answer: bytes) -> ApiError:
    """Return the error that the service raised: of the same class where scripts can tell, with its own words."""
    try:
        detail = msgspec.json.decode(answer, type=ErrorBody).error
    except msgspec.MsgspecError as error:
        raise StoreError("the control plane answered nonsense") from error
    kind = _BY_CODE.get(detail.code) or _BY_STATUS.get(status, ServerError)
    # The classes compose their message from facts; here it is there already.
    told = kind.__new__(kind)
    ApiError.__init__(told, detail.message)
    told.code = detail.code
    told.param = detail.param
    return told


class InternalClient:
    """Everything that an operator can do, done by the running control plane."""

    def __init__(self, path: str) -> None:
        caller = _Caller(path)
        self._caller = caller
        self.accounts = _Accounts(caller)
        self.keys = _Keys(caller)
        self.projects = _Projects(caller)
        self.catalog = _Catalog(caller)
        self.providers = internal_catalog.Providers(caller)
        self.models = internal_catalog.Models(caller)
        self.plans = internal_catalog.Plans(caller)
        self.switches = internal_catalog.Switches(caller)
        self.ledger = _Ledger(caller)
        self.prices = _Prices(caller)
        self.codes = _Codes(caller)
        self.alerts = _Alerts(caller)
        self.claims = _Claims(caller)
        self.people = _People(caller)
        self.audit = _Audit(caller)

    async def doctor(self) -> Facts:
        """Return facts for `doctor`."""
        return await self._caller.call("GET", "/doctor", Facts)

    async def close(self) -> None:
        """Nothing to give up: each call had its own connection."""


class _Accounts:
    """Accounts; `who` is an email or id."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def create(self, wanted: NewAccount) -> AccountShown:
        return await self._caller.call("POST", "/accounts", AccountShown, wanted)

    async def list(self) -> tuple[AccountShown, ...]:
        return await self._caller.call("GET", "/accounts", tuple[AccountShown, ...])

    async def show(self, who: str) -> AccountShown:
        return await self._caller.call("GET", "/accounts/one?" + urlencode({"who": who}), AccountShown)

    async def set_plan(self, who: str, change: PlanChange) -> AccountShown:
        return await self._change("plan", who, change)

    async def set_cap(self, who: str, usd: str) -> AccountShown:
        return await self._change("cap", who, CapChange(usd))

    async def add_credit(self, who: str, usd: str) -> AccountShown:
        return await self._change("credit", who, CreditAdded(usd))

    async def suspend(self, who: str, *, suspended: bool = True) -> AccountShown:
        return await self._change("suspension", who, Suspension(suspended))

    async def _change(self, what: str, who: str, body: msgspec.Struct) -> AccountShown:
        return await self._caller.call("POST", f"/accounts/{what}?" + urlencode({"who": who}), AccountShown, body)


class _Keys:
    """Keys; `which` is a key's id or the key itself, and travels in the body."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def create(self, wanted: NewKey) -> CreatedKey:
        return await self._caller.call("POST", "/keys", CreatedKey, wanted)

    async def list(self, account: str | None = None) -> tuple[KeyShown, ...]:
        query = "" if account is None else "?" + urlencode({"account": account})
        return await self._caller.call("GET", "/keys" + query, tuple[KeyShown, ...])

    async def change(self, which: str, change: KeyChange) -> KeyShown:
        return await self._caller.call("POST", "/keys/change", KeyShown, Alteration(which, change))

    async def disable(self, which: str) -> KeyShown:
        return await self._caller.call("POST", "/keys/disable", KeyShown, KeyChosen(which))

    async def enable(self, which: str) -> KeyShown:
        return await self._caller.call("POST", "/keys/enable", KeyShown, KeyChosen(which))

    async def revoke(self, which: str) -> KeyShown:
        return await self._caller.call("POST", "/keys/revoke", KeyShown, KeyChosen(which))

    async def rotate(self, which: str, overlap: int = 0) -> CreatedKey:
        return await self._caller.call("POST", "/keys/rotate", CreatedKey, Rotation(which, overlap))


class _Projects:
    """Projects by id."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def create(self, wanted: NewProject) -> ProjectShown:
        return await self._caller.call("POST", "/projects", ProjectShown, wanted)

    async def list(self, account: str | None = None) -> tuple[ProjectShown, ...]:
        query = "" if account is None else "?" + urlencode({"account": account})
        return await self._caller.call("GET", "/projects" + query, tuple[ProjectShown, ...])

    async def change(self, project_id: str, change: ProjectChange) -> ProjectShown:
        url = "/projects/one?" + urlencode({"project": project_id})
        return await self._caller.call("POST", url, ProjectShown, change)


class _Catalog:
    """What is on offer."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def list_models(self) -> tuple[ModelShown, ...]:
        return await self._caller.call("GET", "/models", tuple[ModelShown, ...])


class _Prices:
    """Prices of the models on offer."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def list(self, model: str | None = None) -> tuple[PriceShown, ...]:
        query = "" if model is None else "?" + urlencode({"model": model})
        return await self._caller.call("GET", "/prices" + query, tuple[PriceShown, ...])

    async def set(self, wanted: NewPrice) -> tuple[PriceShown, ...]:
        return await self._caller.call("POST", "/prices", tuple[PriceShown, ...], wanted)

    async def reset(self, model: str) -> tuple[PriceShown, ...]:
        return await self._caller.call("POST", "/prices/reset", tuple[PriceShown, ...], ModelChosen(model))


class _Codes:
    """Top-up codes; a code travels in the body."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def create(self, wanted: NewCodes) -> tuple[CreatedCode, ...]:
        return await self._caller.call("POST", "/codes", tuple[CreatedCode, ...], wanted)

    async def redeem(self, wanted: Redemption) -> Redeemed:
        return await self._caller.call("POST", "/codes/redeem", Redeemed, wanted)

    async def list(self) -> tuple[CodeShown, ...]:
        return await self._caller.call("GET", "/codes", tuple[CodeShown, ...])

    async def revoke(self, code_id: str) -> CodeShown:
        return await self._caller.call("POST", "/codes/revoke", CodeShown, CodeChosen(code_id))


class _Alerts:
    """Alerts before money runs out."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def list(self, account: str | None = None) -> tuple[AlertShown, ...]:
        query = "" if account is None else "?" + urlencode({"account": account})
        return await self._caller.call("GET", "/alerts" + query, tuple[AlertShown, ...])


class _Claims:
    """Claims of the cloud."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def make(self, account: str) -> Claim:
        return await self._caller.call("POST", "/claims?" + urlencode({"who": account}), Claim)


class _People:
    """People who can log in."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def reset_two_factor(self, who: str) -> PersonShown:
        return await self._caller.call("POST", "/people/reset-two-factor?" + urlencode({"who": who}), PersonShown)


class _Audit:
    """Who changed what."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def list(
        self, filters: AuditFilter | None = None, before: int | None = None, limit: int = AUDIT_PAGE
    ) -> tuple[EntryShown, ...]:
        wanted = {**(asdict(filters) if filters else {}), "before": before, "limit": limit}
        query = urlencode({name: value for name, value in wanted.items() if value is not None})
        return await self._caller.call("GET", f"/audit?{query}", tuple[EntryShown, ...])

    async def check(self) -> Soundness:
        return await self._caller.call("GET", "/audit/check", Soundness, seconds=_LONG_SECONDS)


class _Ledger:
    """Usage and the ledger's soundness."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def book(self, journal: str, first: int, body: bytes) -> Applied:
        url = "/journal?" + urlencode({"journal": journal, "first": first})
        return await self._caller.call("POST", url, Applied, body, seconds=_LONG_SECONDS)

    async def find_journal(self, journal: str) -> Following:
        return await self._caller.call("GET", f"/ledger/journals/{quote(journal, safe='')}", Following)

    async def list_requests(self, account: str | None, since: int) -> tuple[RequestShown, ...]:
        found: list[RequestShown] = []
        while True:
            after = {"after": found[-1].request_id} if found else {}
            url = _query("/usage/requests", account, since, **after)
            page = await self._caller.call("GET", url, tuple[RequestShown, ...])
            found += page
            if len(page) < PAGE:
                return tuple(found)

    async def sum_usage(
        self, account: str | None, since: int, by: Grouping, project: str | None = None
    ) -> tuple[UsageShown, ...]:
        of = {} if project is None else {"project": project}
        return await self._caller.call("GET", _query("/usage", account, since, by=by, **of), tuple[UsageShown, ...])

    async def check(self) -> tuple[Violation, ...]:
        shape = tuple[Violation, ...]
        return await self._caller.call("GET", "/ledger/violations", shape, seconds=_LONG_SECONDS)

    async def rerate(self, span: RatingSpan) -> Rerating:
        return await self._caller.call("POST", "/ledger/ratings", Rerating, span, seconds=_LONG_SECONDS)


def _query(path: str, account: str | None, since: int, **more: str) -> str:
    named = {} if account is None else {"account": account}
    return f"{path}?" + urlencode({"since": since, **named, **more})
