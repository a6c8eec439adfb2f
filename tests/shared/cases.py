"""What Schemathesis is told beside the document: keys that must live on, and a model that is there."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import schemathesis

if TYPE_CHECKING:
    from schemathesis import Case, HookContext

_NUMBERS = itertools.count()
_OWN = frozenset(os.environ["OWN_KEYS"].split())


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
def map_path_parameters(_: HookContext, path_parameters: Any) -> Any:  # noqa: ANN401 - any JSON object
    """Ask every second time for an invoice that there is."""
    if path_parameters and "number" in path_parameters and next(_NUMBERS) % 2:
        return path_parameters | {"number": os.environ["OWN_INVOICE"]}
    return path_parameters


@schemathesis.hook
def map_body(_: HookContext, body: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Ask every second time for a model that there is; none that was left empty to see it refused."""
    if isinstance(body, dict) and isinstance(body.get("model"), str) and body["model"] and len(body) % 2:
        return body | {"model": "tiny"}
    return body
