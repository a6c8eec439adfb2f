"""One chat request as it is billed: what the journal keeps, the gateway ships and the ledger books.

A request that is admitted has at most one record that ends it, `settled` (billed, also at 0) or `void` (nothing is
owed). Before that there may be records of state `open`: a stream that runs, as far as it was delivered, so that a crash
loses no more than what came after the last one. Applying a record twice changes nothing: the ledger knows its `id`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["open", "settled", "void"]

_ENCODER = msgspec.msgpack.Encoder()


class UsageRecord(msgspec.Struct, array_like=True, gc=False):
    """Times: `at` is when the request was admitted, in unix milliseconds; the other two are microseconds after it.

    Tokens: `prompt` includes `cached`, `completion` includes `reasoning`. Money is in nano-dollars.
    """

    id: str  # the request's id, which is the answer's x-request-id
    state: State
    account: str
    key: str  # the key's id
    model: str
    provider: str
    upstream_model: str
    status: int  # HTTP's; 499: the client hung up
    stream: bool
    at: int
    first_byte: int  # 0: none was sent
    duration: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost: int
    held: int  # of an open request: what is held for it, its cost so far included; else 0
    price: int  # the version of the price; 0: free of charge by rule, such as the built-in engine
    error_code: str | None = None
    attempts: int = 1


DECODER: msgspec.msgpack.Decoder[UsageRecord] = msgspec.msgpack.Decoder(UsageRecord)


def encode(record: UsageRecord) -> bytes:
    """Return the record as the journal keeps it (MessagePack, fields by position)."""
    return _ENCODER.encode(record)
