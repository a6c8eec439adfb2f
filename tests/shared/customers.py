"""Customers of a running service: accounts with a key, what they were billed and what they have left."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from client import ask, post
from puppet import compose
from service import wait_until

from techstone.app.cli.context import perform
from techstone.control.accounts.records import NewAccount
from techstone.control.keys.records import NewKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from service import Service

    from techstone.control.accounts.records import AccountShown
    from techstone.control.ledger.records import RequestShown
    from techstone.control.operations import Operations

_R = TypeVar("_R")


class Customer(NamedTuple):
    """An account with a key."""

    email: str
    key: str


def _operate(service: Service, work: Callable[[Operations], Awaitable[_R]]) -> _R:
    """Do what a command does, without the time that its process takes to start."""
    return perform(str(service.folder / "techstone.toml"), str(service.folder / "data"), work)


def open_account(service: Service, plan: str, credit: str = "1000000") -> Customer:
    """Return a new account with a key, once this is in force."""
    email = f"{os.urandom(4).hex()}@example.com"
    _operate(service, lambda operations: operations.accounts.create(NewAccount(email, plan, credit)))
    return Customer(email, make_key(service, NewKey(email)))


def make_key(service: Service, wanted: NewKey) -> str:
    key = _operate(service, lambda operations: operations.keys.create(wanted)).key
    # Not by trying it, which counts as guessing keys.
    revision = _operate(service, lambda operations: operations.doctor()).revision
    wait_until(lambda: json.loads(service.get("/readyz")[1])["revision"] >= revision)
    return key


def list_bills(service: Service, customer: Customer) -> list[RequestShown]:
    """Return the settled requests of an account, once all are booked."""
    wait_until(lambda: service.gauge("techstone_journal_waiting_bytes") == 0)
    records = _operate(service, lambda operations: operations.ledger.list_requests(customer.email, 0))
    return [record for record in records if record.state == "settled"]


def show_account(service: Service, customer: Customer) -> AccountShown:
    return _operate(service, lambda operations: operations.accounts.show(customer.email))


def read_credit(service: Service, customer: Customer, model: str) -> int:
    """Return what the gateway itself would still let the account spend, in nano-dollars."""
    answer = asyncio.run(ask(service, post(customer.key, compose(model), path="/v1/estimate")))
    return count_nano(json.loads(answer.body)["limits"]["credit"])


def count_nano(usd: str) -> int:
    """Return dollars in nano-dollars."""
    whole, _, part = usd.partition(".")
    return int(whole) * 10**9 + int(part.ljust(9, "0"))
