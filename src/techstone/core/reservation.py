"""What is reserved for a request before it runs: tokens of the plan and money of the credit.

Meant to be more than it will take: what is too much comes back at its end, what is too little cannot be refused any
more. A limit that the client did not give is set here: the model's own, bounded so that one request does not take the
whole plan. A stream without one reserves in steps while it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from techstone.core import pricing

if TYPE_CHECKING:
    from techstone.core.chat import ChatRequest
    from techstone.core.pricing import Price
    from techstone.core.snapshot import Limits, Model

# The output of a model that does not say how much it can: what OpenAI's first chat models could.
DEFAULT_OUTPUT = 4096
STEP = 1024
# A request that names no limit may take this part of what its prompt leaves of the plan's tokens, so that a handful
# fits beside each other.
_SHARE = 4
_LEAST = 256
# A byte-pair token is rarely shorter than three bytes of JSON, in any alphabet; the rest frames the messages.
_BYTES_PER_TOKEN = 3
_FRAME = 8
# OpenAI's 4o family takes at most this for an image in high detail (4 tiles of 170, and 85, in 2 passes).
_IMAGE = 1105
_MEDIA_TYPES = frozenset(("image_url", "input_audio", "file"))
_COUNTED = frozenset(("tools", "functions", "response_format"))


class Reservation(msgspec.Struct, gc=False):
    """`output` is what every choice may take at most (None: no bound but the step-ups); all other counts are sums.

    `enforced` says that the upstream must be told the bound. `tokens` is reserved of the plan at once, and the money
    for `covered` tokens of output held; a stream that needs more of either tops up.
    """

    prompt: int
    output: int | None
    enforced: bool
    tokens: int
    covered: int
    nano: int
    whole: bool  # no more tokens than these can come


def reserve(request: ChatRequest, model: Model, price: Price, limits: Limits) -> Reservation:
    """Return what to reserve for a request."""
    prompt = estimate_prompt(request)
    asked = request.max_tokens
    output: int | None
    if asked is not None:
        output, enforced = asked, False
    elif request.stream:
        output, enforced = model.max_output_tokens, False
    else:
        longest = model.max_output_tokens or DEFAULT_OUTPUT
        if model.max_output_tokens is None and model.context_window is not None:
            longest = min(longest, max(_LEAST, model.context_window - prompt))
        share = (limits.tpm - prompt) // _SHARE // request.n
        output = min(longest, max(_LEAST, share))
        enforced = output != model.max_output_tokens
    everything = output * request.n if output is not None else None
    step = STEP * request.n
    if request.stream:
        covered = step if everything is None else min(everything, step)
        reserved = everything if asked is not None and everything is not None else covered
    else:
        reserved = covered = everything or 0
    return Reservation(
        prompt=prompt,
        output=output if asked is None else None,
        enforced=enforced,
        tokens=prompt + reserved,
        covered=covered,
        nano=pricing.highest(price, prompt, covered),
        whole=reserved == everything,
    )


def estimate_prompt(request: ChatRequest) -> int:
    """Return the most tokens that the prompt is likely to count: by bytes, so that a long one costs no time."""
    fields = request.fields
    messages = bytes(fields["messages"])
    size = len(messages)
    media = 0
    if b'"image_url"' in messages or b'"input_audio"' in messages or b'"file"' in messages:
        media, payload = _measure_media(request)
        size -= payload
    if not _COUNTED.isdisjoint(fields):
        size += sum(len(bytes(fields[name])) for name in _COUNTED.intersection(fields))
    return _FRAME + size // _BYTES_PER_TOKEN + media * _IMAGE


def _measure_media(request: ChatRequest) -> tuple[int, int]:
    """Return how many parts are media, and the bytes of what they hold: a URL, or megabytes of base64."""
    count = size = 0
    for message in request.messages:
        for part in message.content if isinstance(message.content, list) else ():
            if part.type in _MEDIA_TYPES:
                count += 1
                held = part.input_audio or part.file or {}
                size += sum(map(len, held.values())) + (len(part.image_url.url) if part.image_url is not None else 0)
    return count, size
