"""What every test has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from techstone.control.acts import acting

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def act() -> Iterator[None]:
    """Name an act for what a test itself changes: a store takes no change that is nobody's."""
    with acting("test.run", "the store"):
        yield
