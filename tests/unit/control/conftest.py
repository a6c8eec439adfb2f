"""The services of the control plane over a store in memory, and an account."""

from __future__ import annotations

import pytest
from people import People
from rooms import House

from techstone.control.accounts.records import NewAccount


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def ann(house: House) -> str:
    return (await house.accounts.create(NewAccount("ann@example.com"))).email


@pytest.fixture
def people() -> People:
    return People()
