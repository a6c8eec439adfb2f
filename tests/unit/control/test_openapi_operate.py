"""The operators' part of /openapi.json is what the service has, operation by operation, and its examples are read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from techstone.control import asgi
from techstone.control.pages.openapi import Reference
from techstone.control.pages.openapi_operate import OPERATIONS, PREFIX, Asked

if TYPE_CHECKING:
    from rooms import House


def test_every_operation_is_there_and_none_is_left_out(house: House) -> None:
    """Method, path and status of each."""
    application = asgi._build(list(asgi._list_operated(house.services)))
    served = {
        (method.lower(), route.path, handler.status_code)
        for route in application.routes
        for handler in getattr(route, "route_handlers", ())
        for method in handler.http_methods
        if method != "OPTIONS"
    }
    told = {(one.method, PREFIX + one.path, 200 if one.body is None else one.status) for one in OPERATIONS}
    assert told == served
    document = json.loads(Reference("http://x", "0").document)
    assert {
        (method, path) for path, found in document["paths"].items() if path.startswith(PREFIX) for method in found
    } == {(method, path) for method, path, _ in served}


@pytest.mark.parametrize("asked", [one for one in OPERATIONS if one.body is not None], ids=lambda one: one.name)
def test_example_of_a_body_is_one(asked: Asked) -> None:
    """It is read as the service reads it."""
    assert asked.body is not None
    msgspec.json.decode(json.dumps(asked.example), type=asked.body)
