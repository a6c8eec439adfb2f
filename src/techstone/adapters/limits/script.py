"""The script's calling convention: what `admission.lua` is asked, as bytes, and what it answers, as values.

Who asks is written once per principal and generation and then only copied. Numbers travel packed, as doubles, both
ways: that costs a tenth of what their digits do, here and there (docs/decisions/0017).
"""

from __future__ import annotations

import hashlib
import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from techstone.adapters.limits.connection import bulk
from techstone.core.credit import Period, Spending
from techstone.core.limits import AccountBooks, KeyBooks, Refusal
from techstone.core.snapshot import Account, Key, Limits, Plan
from techstone.core.view import Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from techstone.adapters.limits.charges import Charge
    from techstone.wire.figure import Figure
    from techstone.wire.limits import Axis, Scope

Operation = Literal["admit", "consider", "top_up", "cover", "settle", "renew", "begin", "charge", "adopt", "look"]

# All keys begin with it: a Redis may be shared with others.
PREFIX = "techstone"
DOLLAR = 1_000_000_000
_HERE = Path(__file__).parent
ADMISSION = (_HERE / "admission.lua").read_bytes()
PRESENCE = (_HERE / "presence.lua").read_bytes()
REPEATS = (_HERE / "repeats.lua").read_bytes()
_SHA = hashlib.sha1(ADMISSION).hexdigest().encode()  # noqa: S324 - Redis names scripts so
_HELD = bulk(b"EVALSHA", _SHA)
_WHO = struct.Struct("<12d")
# Operation, time, limits, generation and key.
_WORDS = 5
_PAIR = struct.Struct("<2d")
_END = struct.Struct("<5d")
_CHARGE = struct.Struct("<4d")
_STANDING = struct.Struct("<7d")
_GRANTED = struct.Struct("<11d")
_REFUSED = struct.Struct("<10d")
_COUNTED = struct.Struct("<9d")
_LOOK = struct.Struct("<20d")
_AMOUNT = struct.Struct("<d")
# So many keys of an account are told in one call: a script holds up everybody.
_PART = 200
_ADMITTED, _UNKNOWN = _AMOUNT.pack(1), _AMOUNT.pack(2)
# What `begin` answers.
BEGUN, MORE, TAKEN = 1, 0, 2
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
    """Taken: at which entries of the windows, and the UTC period of it."""

    standing: Standing
    entry: int
    key_entry: int
    period: Period


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


def _limit(value: int | None) -> float:
    return math.nan if value is None else value


def describe(generation: str, principal: Principal, prefix: str = PREFIX) -> Caller:
    """Return a principal for the script."""
    own, account, limits = principal.key, principal.account, principal.limits
    stem = f"{prefix}:{{{account.id}}}"
    names = [stem + end for end in (":b", ":e", ":l", ":m", ":h", ":p")]
    if principal.key_limited:
        names += [f"{stem}:{own.id}{end}" for end in (":b", ":e", ":l")]
    granted = divmod(account.granted, DOLLAR) if principal.plan.billing == "prepaid" else (None, None)
    bounds = (account.monthly_cap, own.daily_cap, own.monthly_cap)
    key_limits = (own.rpm, own.tpm, own.concurrent) if principal.key_limited else (None, None, None)
    who = _WHO.pack(
        *map(_limit, (limits.rpm, limits.tpm, limits.concurrent, *key_limits, *granted, *bounds)), principal.bounded
    )
    before = _HELD + bulk(b"%d" % len(names), *(name.encode() for name in names))
    return Caller(principal, before, bulk(who, generation.encode(), own.id.encode()), 3 + len(names) + _WORDS)


def describe_charge(generation: str, account: str, key: str, *, bounded: bool) -> Caller:
    """Return who owes for a request that is over, whatever limits it has by now; `bounded`: had, or may have had."""
    nobody = Principal(
        Key(key, "", account, "", ""),
        Account(account, "", ""),
        _NO_PLAN,
        Limits(0, 0, 0),
        key_limited=False,
        bounded=bounded,
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
        total = caller.words + len(words)
        return b"*%d\r\n%b%b%b%b" % (total, caller.before, head, caller.after, bulk(*words))

    def _begin(self, operation: str) -> bytes:
        if self._clock is not None:
            return bulk(operation.encode(), repr(self._clock()).encode())
        head = self._operations[operation] = bulk(operation.encode(), b"")
        return head


def pack_pair(one: int, other: int) -> bytes:
    """Return tokens and nano-dollars, or what is held and a cost, as the script reads them."""
    return _PAIR.pack(one, other)


def pack_end(change: int, cost: int, period: Period, number: int) -> bytes:
    """Return what a request came to: tokens more than it had reserved, cost, when it began, its record's number."""
    return _END.pack(change, cost, period.day, period.month, number)


def pack_charge(charge: Charge) -> bytes:
    """Return a charge of a request that is over."""
    return _CHARGE.pack(charge.cost, charge.period.day, charge.period.month, charge.number)


def pack_taken(taken: Sequence[tuple[int, int]]) -> bytes:
    """Return which entries of a window a request took how many tokens of."""
    if len(taken) == 1:
        return _PAIR.pack(*taken[0])
    return b"".join([_PAIR.pack(*pair) for pair in taken])


def read_standing(reply: bytes) -> Standing:
    """Read where account and key are, with which every answer about them begins."""
    _, requests, tokens, reset, key_requests, key_tokens, key_reset = _STANDING.unpack_from(reply)
    return Standing(int(requests), int(tokens), reset, int(key_requests), int(key_tokens), key_reset)


def read(reply: bytes) -> Admitted | Refused | None:
    """Read the answer to `admit`, `consider` or `top_up`; None: the account's money is not there."""
    if reply[:8] == _ADMITTED:
        _, requests, tokens, reset, *of_key, entry, key_entry, day, month = _GRANTED.unpack(reply)
        standing = Standing(int(requests), int(tokens), reset, int(of_key[0]), int(of_key[1]), of_key[2])
        return Admitted(standing, int(entry), int(key_entry), Period(int(day), int(month)))
    if reply == _UNKNOWN:
        return None
    limit, needed, wait = _REFUSED.unpack_from(reply)[7:]
    axis, _, scope = reply[_REFUSED.size :].decode().partition(" ")
    # The script's words are ours.
    why = cast("Axis", axis), cast("Scope", scope)
    refusal = Refusal(*why, int(limit), int(needed), None if math.isnan(wait) else wait)
    return Refused(read_standing(reply), refusal)


def read_amount(reply: bytes) -> int:
    """Read the answer to `cover`."""
    return int(_AMOUNT.unpack(reply)[0])


def read_look(reply: bytes) -> Look:
    """Read the answer to `look`."""
    standing = read_standing(reply)
    slots, key_slots = map(int, _COUNTED.unpack_from(reply)[7:])
    if len(reply) == _COUNTED.size:
        return Look(standing, slots, key_slots, False, 0, 0, (0, 0), (0, 0), (0, 0), 0)
    dollars, nano, since, held, month, in_month, day, in_day, key_month, in_key_month, key_held = map(
        int, _LOOK.unpack(reply)[9:]
    )
    spent = dollars * DOLLAR + nano + since
    months = (month, in_month), (day, in_day), (key_month, in_key_month)
    return Look(standing, slots, key_slots, True, spent, held, *months, key_held)


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


def list_parts(figure: Figure, token: bytes) -> Iterator[tuple[bytes, ...]]:
    """Yield what `begin` is asked, call after call until it says that the money is there; `token` says by whom."""
    day = b"%d" % figure.day
    keys = [(key.encode(), *spent) for key, spent in figure.keys.items() if any(spent)]
    dollars, nano = divmod(figure.spent, DOLLAR)
    head = [b"%d" % dollars, b"%d" % nano, b"%d" % figure.spent_month]
    for journal, number in figure.applied.items():
        head += (journal.encode(), b"%d" % number)
    while True:
        part, keys = keys[:_PART], keys[_PART:]
        spent = [word for key, *sums in part for word in (key, *(b"%d" % nano for nano in sums))]
        yield (token, day, b"1" if keys else b"0", b"%d" % len(part), *spent, *head)
        head = []
