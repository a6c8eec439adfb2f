"""Acts: who is doing what at the moment. A store notes the act in the transaction that it changes something in.

The doors say who (`act_as`: a guard, the command line), the services say what (`acting`, around the call that
changes the store), and the store refuses a change that is nobody's act: what is not in the audit log did not happen.
Both are context variables, so they belong to the task of one request and to nothing else.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

ActorKind = Literal["person", "admin key", "command line", "system"]


class Actor(msgspec.Struct, frozen=True):
    """Who acts: a person by e-mail, an admin key by its id. `address` is where they came from, as far as is known."""

    kind: ActorKind
    name: str = ""
    address: str = ""


class Act(msgspec.Struct, frozen=True):
    """What is done: `noun.verb`, what it is done to (an id), whose account that is, and what else explains it."""

    action: str
    target: str
    account: str | None = None
    detail: dict[str, str] = {}


class Unnoted(Exception):
    """A change of the store that is nobody's act: a mistake in our code, and the change does not happen."""


_SYSTEM = Actor("system")
_ACTOR: ContextVar[Actor] = ContextVar("actor", default=_SYSTEM)
_ACT: ContextVar[Act | None] = ContextVar("act", default=None)


def act_as(actor: Actor) -> None:
    """Say who acts, from here to the end of the task."""
    _ACTOR.set(actor)


@contextlib.contextmanager
def acting(action: str, target: str, account: str | None = None, **detail: object) -> Iterator[None]:
    """Say what is done within; details that are None are left out."""
    told = {name: str(value) for name, value in detail.items() if value is not None}
    before = _ACT.set(Act(action, target, account, told))
    try:
        yield
    finally:
        _ACT.reset(before)


@contextlib.contextmanager
def acting_alone(action: str, target: str, **detail: object) -> Iterator[None]:
    """Say what the control plane does by itself within, whoever it is busy for."""
    before = _ACTOR.set(_SYSTEM)
    try:
        with acting(action, target, None, **detail):
            yield
    finally:
        _ACTOR.reset(before)


def current() -> tuple[Actor, Act]:
    """Return who is doing what; raise Unnoted."""
    act = _ACT.get()
    if act is None:
        raise Unnoted
    return _ACTOR.get(), act
