"""What Schemathesis is told beside the document: keys that must live on, and what is there to be asked for."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import schemathesis

if TYPE_CHECKING:
    from schemathesis import Case, HookContext

_NUMBERS = itertools.count()
_OWN = frozenset(os.environ["OWN_KEYS"].split())
_MEMBERS = os.environ["OWN_MEMBERS"].split()
_LEAVING = itertools.cycle(_MEMBERS[1:])
_CODES = itertools.cycle(os.environ["OWN_CODES"].split())


@schemathesis.hook
def filter_case(_: HookContext, case: Case[Any]) -> bool:
    """Leave out what would end the keys of the test itself: it finds them in the list of keys."""
    return (case.path_parameters or {}).get("key_id") not in _OWN


@schemathesis.hook
def before_call(_: HookContext, case: Case[Any], __: dict[str, Any]) -> None:
    """Come from another address each time: after twenty wrong keys in a minute one is refused with 429, not 401."""
    number = next(_NUMBERS)
    case.headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@schemathesis.hook
def map_path_parameters(context: HookContext, path_parameters: Any) -> Any:  # noqa: ANN401 - any JSON object
    """Ask every second time for an invoice, a request or a member that there is; each member is removed once."""
    if not path_parameters or next(_NUMBERS) % 2:
        return path_parameters
    there = {"number": os.environ["OWN_INVOICE"], "request_id": os.environ["OWN_REQUEST"], "person": _MEMBERS[0]}
    if context.operation is not None and context.operation.method == "delete":
        there["person"] = next(_LEAVING)
    return {name: there.get(name, value) for name, value in path_parameters.items()}


@schemathesis.hook
def map_body(_: HookContext, body: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Ask every second time for a model that there is; none that was left empty to see it refused."""
    if isinstance(body, dict) and isinstance(body.get("model"), str) and body["model"] and len(body) % 2:
        return body | {"model": "tiny"}
    if isinstance(body, dict) and isinstance(body.get("code"), str) and len(body["code"]) % 2:
        return body | {"code": next(_CODES)}
    return body
