"""The one error body of every answer that is not a success (product spec, "Error Response Format").

All four keys are always present: OpenAI's document requires them and SDKs read `type`, `code` and `param` from them.
"""

import msgspec


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong; `code` and `param` are strings or null, never numbers."""

    type: str
    code: str | None
    message: str
    param: str | None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body: `{"error": {...}}`."""

    error: ErrorDetail
