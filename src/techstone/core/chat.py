"""A chat request: read strictly, and written anew for an upstream.

What is forwarded is what was admitted: the top level is re-encoded from its decoded keys, values as raw slices, and
every value that was judged (model, stream, n, token limits) from what was decoded, so that a repeated key or an odd
spelling cannot make the upstream read another one.
"""

from __future__ import annotations

import functools

import msgspec

from techstone.core import parameters, tokens
from techstone.wire.chat import ChatBody, Message

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BODY = msgspec.json.Decoder(ChatBody)
_OPTIONS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER = msgspec.json.Encoder()
_TRUE = msgspec.Raw(b"true")

# Parameters by which clients steer some gateways and servers to another host, key, model or length (LiteLLM's
# per-request settings, OpenRouter's routing, llama.cpp's and TGI's own names). An upstream may itself be such a one, so
# they end here (reliability row S-2).
ROUTING_FIELDS = frozenset(
    (
        "api_base",
        "api_key",
        "api_type",
        "api_version",
        "azure_ad_token",
        "base_url",
        "best_of",
        "context_window_fallback_dict",
        "custom_llm_provider",
        "deployment_id",
        "extra_body",
        "extra_headers",
        "extra_query",
        "fallbacks",
        "headers",
        "litellm_params",
        "max_new_tokens",
        "mock_response",
        "model_list",
        "models",
        "n_predict",
        "organization",
        "provider",
        "proxies",
        "route",
        "router",
        "user_config",
    )
)
_KNOWN = frozenset(ChatBody.__struct_encode_fields__)
_JUDGED = _KNOWN | ROUTING_FIELDS


class ChatRequest(msgspec.Struct, gc=False):
    """What was read: every top-level field, and the values that decisions are made by."""

    fields: dict[str, msgspec.Raw]
    model: str
    stream: bool
    include_usage: bool
    n: int
    max_tokens: int | None
    limited_by: str  # the field that holds max_tokens
    messages: list[Message]

    def estimate(self) -> int:
        """Return the prompt's tokens by our own count; only where the upstream does not say (1.4 µs and more)."""
        return _estimate(self.messages)


def read(body: bytes) -> ChatRequest:
    """Decode and check a body; raise InvalidRequest with the path of the field that is wrong."""
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look into strings that it skips, and an upstream may read them otherwise
        chat = _BODY.decode(body)
        fields = _FIELDS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise parameters.explain(body, error) from error
    parameters.check_rules(chat)
    options = chat.stream_options
    return ChatRequest(
        fields,
        chat.model,
        chat.stream is True,
        options is not None and options.include_usage is True,
        chat.n or 1,
        chat.max_completion_tokens or chat.max_tokens,
        "max_completion_tokens" if chat.max_completion_tokens else "max_tokens",
        chat.messages,
    )


def _estimate(messages: list[Message]) -> int:
    """Return the prompt's tokens by our own count."""
    texts: list[str] = []
    total = tokens.PRIMING + tokens.PER_MESSAGE * len(messages)
    for message in messages:
        content = message.content
        if isinstance(content, str):
            texts.append(content)
        elif content is not None:
            for part in content:
                if part.text is not None:
                    texts.append(part.text)
                elif part.image_url is not None:
                    total += tokens.PER_IMAGE
        if message.tool_calls:
            texts += [call.function.arguments for call in message.tool_calls if call.function]
    return total + tokens.count("\n".join(texts))


def encode(request: ChatRequest, upstream_model: str) -> bytes:
    """Return the body for an upstream that knows the model by that name. Streams are always asked for usage."""
    return encode_adapted(request, request.fields, upstream_model, stream=request.stream)


def encode_adapted(request: ChatRequest, given: dict[str, msgspec.Raw], upstream_model: str, *, stream: bool) -> bytes:
    """Return the body of a request that a dialect has rewritten, and may want answered whole."""
    fields = _judge(request, given, upstream_model)
    if stream:
        fields["stream"] = _TRUE
        raw = fields.get("stream_options")
        options = _OPTIONS.decode(raw) if raw is not None and bytes(raw) != b"null" else {}
        options["include_usage"] = _TRUE
        fields["stream_options"] = msgspec.Raw(_ENCODER.encode(options))
    return _ENCODER.encode(fields)


def _judge(request: ChatRequest, given: dict[str, msgspec.Raw], upstream_model: str) -> dict[str, msgspec.Raw]:
    """Return the fields that may be forwarded, those that were judged written anew."""
    fields = given.copy()
    # Go's encoding/json (Ollama) takes a key in any case, the last one wins: `Model` would be read as `model`.
    unknown = given.keys() - _KNOWN
    for name in unknown:
        if name.casefold() in _JUDGED:
            del fields[name]
    if not ROUTING_FIELDS.isdisjoint(given):
        for name in ROUTING_FIELDS.intersection(given):
            fields.pop(name, None)
    fields["model"] = _write_name(upstream_model)
    if "n" in fields and request.n != 1:
        fields["n"] = msgspec.Raw(b"%d" % request.n)
    if request.max_tokens is not None:
        # At most one of the two is a number (core.parameters), the other is absent or null.
        fields[request.limited_by] = msgspec.Raw(b"%d" % request.max_tokens)
    return fields


@functools.lru_cache(1024)
def _write_name(model: str) -> msgspec.Raw:
    return msgspec.Raw(_ENCODER.encode(model))
