"""The script's calling convention: what `admission.lua` is asked, as bytes, and what it answers, as values.

Who asks is written once per principal and generation and then only copied: of the 25 words of a call all but a handful.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from techstone.adapters.limits.connection import bulk
from techstone.core.credit import Spending
from techstone.core.limits import AccountBooks, KeyBooks, Refusal
from techstone.core.snapshot import Account, Key, Limits, Plan, Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from techstone.adapters.limits.connection import Reply
    from techstone.core.credit import Period
    from techstone.wire.figure import Figure

Operation = Literal["admit", "consider", "top_up", "cover", "settle", "renew", "begin", "charge", "adopt", "look"]

# All keys begin with it: a Redis may be shared with others.
PREFIX = "techstone"
DOLLAR = 1_000_000_000
_HERE = Path(__file__).parent
ADMISSION = (_HERE / "admission.lua").read_bytes()
PRESENCE = (_HERE / "presence.lua").read_bytes()
_SHA = hashlib.sha1(ADMISSION).hexdigest().encode()  # noqa: S324 - Redis names scripts so
_HELD = bulk(b"EVALSHA", _SHA)
_WHO = 14
_NO_PLAN = Plan("", 0, 0, 0, "postpaid")


class Caller(msgspec.Struct, gc=False):
    """A principal as the script knows it: its keys and the words that say what limits it. `words` counts both."""

    principal: Principal
    before: bytes
    after: bytes
    words: int


class Standing(msgspec.Struct, gc=False):
    """Where account and key are after a verdict: requests and tokens in the last minute, seconds until all is over."""

    requests: int
    tokens: int
    reset: float
    key_requests: int
    key_tokens: int
    key_reset: float


class Admitted(msgspec.Struct, gc=False):
    """Taken: at which entries of the windows, and the UTC day and month of it."""

    standing: Standing
    entry: int
    key_entry: int
    day: int
    month: int


class Refused(msgspec.Struct, gc=False):
    """Nothing was taken."""

    standing: Standing
    refusal: Refusal


class Look(msgspec.Struct, gc=False):
    """What is counted; `known`: the money is, too."""

    standing: Standing
    account_slots: int
    key_slots: int
    known: bool
    spent: int
    held: int
    month: tuple[int, int]  # which one, and what was spent in it
    key_day: tuple[int, int]
    key_month: tuple[int, int]
    key_held: int


def _write(value: int | None) -> bytes:
    return b"" if value is None else b"%d" % value


def describe(generation: str, principal: Principal, prefix: str = PREFIX) -> Caller:
    """Return a principal for the script."""
    own, account, limits = principal.key, principal.account, principal.limits
    stem = f"{prefix}:{{{account.id}}}"
    names = [stem + end for end in (":s", ":w", ":l", ":m", ":h", ":p")]
    if principal.key_limited:
        names += [f"{stem}:{own.id}{end}" for end in (":s", ":w", ":l")]
    granted = divmod(account.granted, DOLLAR) if principal.plan.billing == "prepaid" else (None, None)
    bounds = (account.monthly_cap, own.daily_cap, own.monthly_cap)
    who = [
        *map(_write, (limits.rpm, limits.tpm, limits.concurrent)),
        *(map(_write, (own.rpm, own.tpm, own.concurrent)) if principal.key_limited else (b"", b"", b"")),
        generation.encode(),
        own.id.encode(),
        *map(_write, granted),
        *map(_write, bounds),
        b"1" if principal.bounded else b"",
    ]
    before = _HELD + bulk(b"%d" % len(names), *(name.encode() for name in names))
    return Caller(principal, before, bulk(*who), 3 + len(names) + _WHO)


def describe_charge(generation: str, account: str, key: str) -> Caller:
    """Return who owes for a request that is over, whatever limits it has by now."""
    nobody = Principal(
        Key(key, "", account, "", ""),
        Account(account, "", ""),
        _NO_PLAN,
        Limits(0, 0, 0),
        key_limited=False,
        bounded=True,
    )
    return describe(generation, nobody)


class Writer:
    """Writes calls. Without a clock (unix seconds) the script has Redis's own; only tests have another."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._operations: dict[str, bytes] = {}

    def write(self, operation: Operation, caller: Caller, *words: bytes) -> bytes:
        """Return a call."""
        head = self._operations.get(operation) or self._begin(operation)
        total = caller.words + 2 + len(words)
        return b"*%d\r\n%b%b%b%b" % (total, caller.before, head, caller.after, bulk(*words))

    def _begin(self, operation: str) -> bytes:
        if self._clock is not None:
            return bulk(operation.encode(), repr(self._clock()).encode())
        head = self._operations[operation] = bulk(operation.encode(), b"")
        return head


def read_standing(reply: Sequence[Reply], start: int) -> Standing:
    """Read where account and key are, from a place in a reply on."""
    requests, tokens, reset, key_requests, key_tokens, key_reset = reply[start : start + 6]
    return Standing(
        _integer(requests),
        _integer(tokens),
        _float(reset),
        _integer(key_requests),
        _integer(key_tokens),
        _float(key_reset),
    )


def _integer(value: Reply) -> int:
    return int(float(value)) if isinstance(value, bytes) else value  # type: ignore[return-value]


def _float(value: Reply) -> float:
    return float(value)  # type: ignore[arg-type]


def read(reply: Sequence[Reply]) -> Admitted | Refused | None:
    """Read the answer to `admit`, `consider` or `top_up`; None: the account's money is not there."""
    verdict = reply[0]
    if verdict == 1:
        if len(reply) == 7:
            return Admitted(read_standing(reply, 1), 0, 0, 0, 0)
        entry, key_entry, day, month = reply[1:5]
        return Admitted(read_standing(reply, 5), _integer(entry), _integer(key_entry), _integer(day), _integer(month))
    if verdict == 2:
        return None
    axis, scope, limit, needed, wait = reply[1:6]
    refusal = Refusal(
        axis.decode(),  # type: ignore[union-attr, arg-type]
        scope.decode(),  # type: ignore[union-attr, arg-type]
        _integer(limit),
        _integer(needed),
        None if wait == b"" else _float(wait),
    )
    return Refused(read_standing(reply, 6), refusal)


def read_amount(reply: Sequence[Reply]) -> int:
    """Read the answer to `cover`."""
    return _integer(reply[1])


def read_look(reply: Sequence[Reply]) -> Look:
    """Read the answer to `look`."""
    slots, key_slots = _integer(reply[7]), _integer(reply[8])
    if len(reply) == 9:
        return Look(read_standing(reply, 1), slots, key_slots, False, 0, 0, (0, 0), (0, 0), (0, 0), 0)
    dollars, nano, since, held, month, in_month, day, in_day, key_month, in_key_month, key_held = map(
        _integer, reply[9:20]
    )
    return Look(
        read_standing(reply, 1),
        slots,
        key_slots,
        True,
        dollars * DOLLAR + nano + since,
        held,
        (month, in_month),
        (day, in_day),
        (key_month, in_key_month),
        key_held,
    )


def copy_books(look: Look, now: float, period: Period) -> tuple[AccountBooks, KeyBooks]:
    """Return books that say what Redis said, at a time of any clock: to be read, not to be written."""
    standing = look.standing
    account = AccountBooks(look.spent, Spending(look.month[0] if look.known else period.month, look.month[1]))
    account.held = account.month.held = look.held
    account.window.resume(standing.requests, standing.tokens, now - 60 + standing.reset)
    key_day = Spending(look.key_day[0] if look.known else period.day, look.key_day[1])
    key_month = Spending(look.key_month[0] if look.known else period.month, look.key_month[1])
    key = KeyBooks(key_day, key_month)
    key.day.held = key.month.held = look.key_held
    key.window.resume(standing.key_requests, standing.key_tokens, now - 60 + standing.key_reset)
    for leases, count in ((account.leases, look.account_slots), (key.leases, look.key_slots)):
        for number in range(count):
            leases.take(b"%d" % number, now)
    return account, key


def list_words(figure: Figure) -> Iterable[bytes]:
    """Yield a figure as `begin` takes it."""
    dollars, nano = divmod(figure.spent, DOLLAR)
    yield from (b"%d" % dollars, b"%d" % nano, b"%d" % figure.day, b"%d" % figure.spent_month, b"%d" % len(figure.keys))
    for key, (day, month) in figure.keys.items():
        yield from (key.encode(), b"%d" % day, b"%d" % month)
    for journal, number in figure.applied.items():
        yield from (journal.encode(), b"%d" % number)
