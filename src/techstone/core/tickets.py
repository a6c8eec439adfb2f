"""View tickets: what the Console's pages show a gateway in place of a key, to see an account's limits and nothing else.

`ts-view-ACCOUNT.SCOPE.EXPIRY.MAC`: the account's id, what may be seen of it, unix seconds, HMAC-SHA256 over all of that
with a secret that the control plane makes once and tells the gateways. Good for five minutes at most, whatever it says
itself. No secret is no ticket.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

LONGEST_SECONDS = 300
SECRET_BYTES = 32
PREFIX = b"ts-view-"
# The clocks of the two planes may differ by so much.
_SKEW_SECONDS = 5
_LONGEST = 256
_DIGITS = 12
_MONEY, _COUNTS = b"m", b"c"


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """Whose limits may be seen; `money`: credit and caps, too."""

    account: str
    money: bool


def sign(secret: bytes, ticket: Ticket, expires: int) -> str:
    """Return a ticket, good until then."""
    told = f"{ticket.account}.{(_MONEY if ticket.money else _COUNTS).decode()}.{expires}"
    return f"{PREFIX.decode()}{told}.{_mac(secret, told.encode())}"


def find(authorization: bytes | None) -> bytes | None:
    """Return the ticket in an Authorization header, if that holds one."""
    scheme, _, rest = (authorization or b"").partition(b" ")
    ticket = rest.strip(b" ")
    return ticket if scheme.lower() == b"bearer" and ticket.startswith(PREFIX) else None


def read(secret: bytes, ticket: bytes, now: float) -> Ticket | None:
    """Return what a ticket is good for; None for one that is forged, torn or over."""
    told, _, mac = ticket[len(PREFIX) :].rpartition(b".")
    scoped, _, expires = told.rpartition(b".")
    account, _, scope = scoped.rpartition(b".")
    # Judged first and in constant time; what else a ticket says counts only where it is ours.
    if len(ticket) > _LONGEST or not secret or not hmac.compare_digest(_mac(secret, told).encode(), mac):
        return None
    if not account or not expires.isdigit() or len(expires) > _DIGITS:
        return None
    if not now < int(expires) <= now + LONGEST_SECONDS + _SKEW_SECONDS:
        return None
    return Ticket(account.decode("ascii", "replace"), scope == _MONEY)


def _mac(secret: bytes, told: bytes) -> str:
    return hmac.digest(secret, b"view\n" + told, hashlib.sha256).hex()
