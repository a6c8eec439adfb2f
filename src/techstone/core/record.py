"""What is known of one finished chat request: for metrics, the access log and, later, the ledger."""

import msgspec


class RequestRecord(msgspec.Struct, gc=False):
    """One finished chat request. Times are the event loop's seconds; `first_byte` is 0.0 where no byte was sent."""

    account: str
    key: str
    model: str
    provider: str
    upstream_model: str
    status: int
    stream: bool
    prompt_tokens: int
    completion_tokens: int
    started: float
    first_byte: float
    ended: float
    error_code: str | None
    attempts: int
