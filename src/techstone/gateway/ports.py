"""What the data plane needs of the world, as small as it is needed. Adapters stand one floor above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from techstone.core.snapshot import Timeouts

if TYPE_CHECKING:
    from techstone.core.limits import Claim, Grant, Refusal, Standing
    from techstone.core.usage import UsageRecord
    from techstone.core.view import Holder, Principal, View
    from techstone.gateway.soon import Soon
    from techstone.wire.limits import AccountView, Limits


ProblemKind = Literal[
    "connect",  # refused, unreachable, TLS refused, proxy refused
    "timeout",  # connect, first byte, between bytes or total
    "reset",  # closed before the answer was whole
    "protocol",  # no HTTP, or HTTP that must not be trusted
    "too_large",  # over a bound of ours
    "content",  # whole, but not what was asked for
    "status",  # an error status; `status` says which
]


class Snapshots(Protocol):
    """The newest snapshot; the view is swapped by reference and never changed."""

    view: View | None
    """None until the first snapshot was read."""

    problem: str | None
    """Why the newest news could not be used (broken stream, unknown format), None while all is well."""

    @property
    def expired(self) -> bool:
        """Whether nobody may be served by the view any more: it was not confirmed for too long."""

    def is_fresh(self) -> bool:
        """Say whether the view is what the database says now; if not, a key that is not in it may exist."""

    async def reach(self, revision: int) -> None:
        """Return once the view is of that revision or a later one; waits without an end."""


class UpstreamProblem(Exception):
    """An upstream could not be used: `kind` says how, for retry, breaker and log; not `sent`: it has heard nothing."""

    def __init__(self, kind: ProblemKind, detail: str = "", *, sent: bool = True) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind: ProblemKind = kind
        self.detail = detail
        self.sent = sent


class AnswerSink(Protocol):
    """Who receives an upstream's answer while it arrives; called from the event loop, must not block."""

    def body_received(self, data: bytes) -> None:
        """Take the next piece of the body, decoded from its transfer coding."""

    def body_ended(self, problem: UpstreamProblem | None) -> None:
        """Hear once that the body is whole (None) or will never be (why)."""


class Answer(Protocol):
    """An upstream's answer whose head has come."""

    status: int

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Headers in order, names in lower case."""

    def header(self, name: bytes) -> bytes | None:
        """Return the last header of that lower-case name."""

    @property
    def whole(self) -> bool:
        """Whether the body is all there, or never will be: `read` will not wait."""

    def take_whole(self, limit: int) -> bytes:
        """Return the body that is all there; raise UpstreamProblem if it broke off or is larger than the limit."""

    async def read(self, limit: int) -> bytes:
        """Return the whole body once it is there; raise UpstreamProblem if it breaks off, stalls or is too large."""

    def pipe(self, sink: AnswerSink) -> None:
        """Hand the body to the sink from now on, as it comes."""

    def pause(self) -> None:
        """Stop reading (back-pressure)."""

    def resume(self) -> None:
        """Read on."""

    def close(self) -> None:
        """Give the connection up at once; it is never pooled again unless the answer was whole."""


class Origin(msgspec.Struct, frozen=True):
    """Where a connection goes: scheme, host and port; for `unix` the host is the socket's path and the port 0."""

    scheme: Literal["http", "https", "unix"]
    host: str
    port: int


class RemoteAnswer(Answer, Protocol):
    """An answer that comes over a connection."""

    @property
    def origin(self) -> Origin:
        """Who answers."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """One request to an upstream. `head` is the request line and headers, up to and without the final empty line."""

    origin: Origin
    head: bytes
    body: bytes
    timeouts: Timeouts
    head_only: bool = False  # a HEAD request: the answer has no body


class Upstreams(Protocol):
    """Opens upstream calls."""

    async def open(self, call: Call) -> RemoteAnswer:
        """Send the request and return the answer once its head has come; raise UpstreamProblem."""


class Opener(Protocol):
    """Opens what the control plane sealed."""

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return the secret; raise Unsealable."""


class ControlPlane(Protocol):
    """The control plane, whichever of several answers and wherever it listens."""

    async def ask(self, head: bytes, body: bytes, timeouts: Timeouts, *, head_only: bool = False) -> RemoteAnswer:
        """Send a request and return the answer once its head has come; raise UpstreamProblem.

        `head` is the request line and headers, up to and without the final empty line.
        """

    def turn(self, origin: Origin) -> bool:
        """Ask another one from now on where this one is asked, which was of no use; say whether there is another."""


class LimitStore(Protocol):
    """The books of all accounts and keys: who may do how much now."""

    @property
    def degraded(self) -> bool:
        """Whether this gateway decides by its part of every plan, as it cannot reach what it should share."""

    @property
    def problem(self) -> str | None:
        """Why nothing at all is admitted, None while that is not so."""

    async def admit(self, claim: Claim) -> Grant | Refusal:
        """Decide, all or nothing; raise LedgerUnavailable where credit counts and is not known, or LimitsUnknown."""

    async def consider(self, claim: Claim) -> Refusal | None:
        """Say how `admit` would decide, and take nothing."""

    def credit(self, principal: Principal) -> Soon[int]:
        """Return what an account may still spend, nano-dollars."""

    def top_up(self, grant: Grant, tokens: int, nano: int) -> Soon[Refusal | None]:
        """Reserve and hold more for a request that runs, or say why not."""

    def cover(self, grant: Grant, cost: int) -> Soon[int]:
        """Return what of a cost can be charged, and hold it."""

    def settle(self, grant: Grant, tokens: int, cost: int) -> None:
        """Give back what was reserved and held, but what it came to; nothing the second time. Nobody waits for it."""

    def standing(self, principal: Principal) -> Standing:
        """Return where the account and the key stand, as far as this gateway knows: since their newest verdict."""

    def flood(self, principal: Principal) -> float:
        """Let a request through to its body and return 0.0, or return the seconds until the next one would be."""

    def refused(self, principal: Principal, refusal: Refusal, model: str | None) -> None:
        """Remember a refusal that the client is told; `model` is None where the body was not read."""

    def survey(self, principal: Principal) -> Soon[Limits]:
        """Return all that an account and a key have left, and who was refused lately."""

    def oversee(self, holder: Holder) -> Soon[AccountView]:
        """Return all that an account and each of its keys have left."""


class SettlementFailed(Exception):
    """A record could not be made durable: the disk is full or broken."""


class StoredAnswer(msgspec.Struct, array_like=True, gc=False):
    """A whole answer, kept under the client's Idempotency-Key. `at` is in unix milliseconds."""

    account: str
    key: str  # the Idempotency-Key
    digest: bytes  # SHA-256 of the request's body
    request_id: str
    stream: bool
    at: int
    cost: int  # nano-dollars
    payload: bytes  # the JSON body, or all events of the stream


class Remembered(msgspec.Struct, gc=False):
    """What is known of a stored answer without reading it; `too_large`: its bytes were not kept."""

    digest: bytes
    request_id: str
    at: int
    too_large: bool
    size: int  # bytes on the disk


class Answers(Protocol):
    """The answers that are stored under Idempotency-Keys."""

    def find(self, account: str, key: str, now: int) -> Remembered | None:
        """Return what is known of the answer under a key; `now` is in unix milliseconds."""

    def coming(self, account: str, key: str) -> bytes | None:
        """Return the digest of the body whose answer is being stored under a key, also where its client hung up."""

    def load(self, found: Remembered) -> StoredAnswer | None:
        """Return the answer; None if it is gone after all."""

    def newest(self, most: int) -> list[tuple[str, str]]:
        """Return account and key of those that were stored last, the newest first."""


class RunningElsewhere(msgspec.Struct, gc=False):
    """Another gateway answers a key now; `digest` is the SHA-256 of the body."""

    digest: bytes


class Repeats(Protocol):
    """Idempotency-Keys as all gateways that share limits know them."""

    async def claim(self, account: str, key: str, digest: bytes) -> StoredAnswer | RunningElsewhere | None:
        """Take a key for this gateway, which does not answer it now and has no answer; None: it is taken.

        Raise IdempotencyUnavailable where what other gateways know cannot be asked.
        """

    def release(self, account: str, key: str) -> None:
        """Give a key back whose answer failed; nothing where it is not taken, or was kept. Nobody waits for it."""

    def keep(self, answer: StoredAnswer) -> None:
        """Tell an answer whose settlement is durable. Nobody waits for it."""


class Journal(Protocol):
    """Where usage is recorded before the client has the last byte of its answer."""

    @property
    def problem(self) -> str | None:
        """Why nothing new may be admitted (disk full, too much waits to be shipped); None while all is well."""

    def append(self, record: UsageRecord) -> None:
        """Record without waiting, as of a stream that runs or a request that failed."""

    async def commit(self, record: UsageRecord, answer: StoredAnswer | None = None) -> None:
        """Record, and return once it would survive a power cut; raise SettlementFailed."""
