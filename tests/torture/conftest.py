"""The upstream of the rows of limits and money: one to a file, so that its counts are that file's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from puppet import performing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from puppet import Puppet


@pytest.fixture(scope="module")
def upstream() -> Iterator[Puppet]:
    with performing() as upstream:
        yield upstream
