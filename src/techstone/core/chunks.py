"""The full form of a chat completion chunk, and how a sloppy one is brought to it (conformance.md 2, 3 and 9).

Every chunk has id, object, created, model, choices; the first three and the model are constant through a stream. Every
choice has index, delta, finish_reason. The first delta of a choice has the role; the finish chunk's delta is empty. No
chunk has `usage` but the last, or it is null where the client asked for usage.
"""

from __future__ import annotations

from typing import get_args

import msgspec

from techstone.wire.completion import FinishReason

_OBJECT = "chat.completion.chunk"
# What a client may see of a chunk; the rest (llama.cpp's `timings`, vLLM's token ids) is the upstream's own.
_KEPT = ("service_tier", "system_fingerprint", "obfuscation", "moderation")
_FINISHES = frozenset(get_args(FinishReason))

_ENCODER = msgspec.json.Encoder()
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)


class NotAChunk(Exception):
    """The event is no chunk of a chat completion."""


class _Choice(msgspec.Struct):
    index: int = 0
    delta: dict[str, object] | None = None
    finish_reason: str | None = None
    logprobs: object = msgspec.UNSET


_CHOICES = msgspec.json.Decoder(list[_Choice])


class Found(msgspec.Struct):
    """What one event held: chunks for the client, texts to count, the usage, or an error."""

    chunks: list[bytes] = []
    texts: list[tuple[str, int, str]] = []
    usage: bytes | None = None
    error: bytes | None = None


class _Out(msgspec.Struct):
    index: int
    delta: dict[str, object]
    logprobs: object
    finish_reason: str | None


class Form:
    """The constant parts of one stream, and which of its choices began and ended."""

    __slots__ = ("_begun", "_created", "_ended", "_id", "_model", "_null_usage")

    def __init__(self, model: str, fallback_id: str, created: int, *, null_usage: bool) -> None:
        self._model = _ENCODER.encode(model)
        self._id = _ENCODER.encode(fallback_id)
        self._created = b"%d" % created
        self._null_usage = null_usage
        self._begun: set[int] | None = None
        self._ended: set[int] = set()

    @property
    def finished(self) -> bool:
        """Whether every choice that began has a finish_reason, and there is one."""
        return bool(self._ended) and self._begun is not None and self._begun <= self._ended

    def role_seen(self, index: int) -> bool:
        """Whether the choice has begun."""
        return self._begun is not None and index in self._begun

    def read(self, payload: bytes) -> Found:
        """Read an event; raise NotAChunk."""
        try:
            fields = _FIELDS.decode(payload)
            payload.decode()  # msgspec does not look into strings that it skips
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NotAChunk("an event that is not JSON") from error
        found = Found()
        error_field = fields.get("error")
        if error_field is not None and bytes(error_field) not in {b"null", b"{}", b'""', b"false"}:
            found.error = payload
            return found
        usage = fields.get("usage")
        if usage is not None and bytes(usage) != b"null":
            found.usage = bytes(usage)
        raw = fields.get("choices")
        try:
            choices = _CHOICES.decode(raw) if raw is not None else []
            if raw is None and found.usage is None:
                raise NotAChunk("an event without choices")
        except msgspec.MsgspecError as error:
            raise NotAChunk("a chunk whose choices are malformed") from error
        if not choices:
            return found
        self._take_constants(fields)
        kept = b"".join(b',"%b":%b' % (name.encode(), bytes(fields[name])) for name in _KEPT if name in fields)
        self._take_choices(choices, kept, found)
        return found

    def _take_constants(self, fields: dict[str, msgspec.Raw]) -> None:
        if self._begun is not None:
            return
        self._begun = set()
        name = fields.get("id")
        if name is not None and _is_text(name):
            self._id = bytes(name)
        created = fields.get("created")
        if created is not None and bytes(created).isdigit():
            self._created = bytes(created)

    def _take_choices(self, choices: list[_Choice], kept: bytes, found: Found) -> None:
        first: list[_Out] = []
        ends: list[_Out] = []
        begun = self._begun if self._begun is not None else set()
        for choice in choices:
            delta = dict(choice.delta or {})
            _count(delta, choice.index, found)
            if choice.index not in begun:
                begun.add(choice.index)
                delta = {"role": delta.pop("role", None) or "assistant", **delta}
                if delta.get("content") is None and not any(value for name, value in delta.items() if name != "role"):
                    delta["content"] = ""
            elif delta.get("role") is not None and len(delta) > 1:
                delta.pop("role")  # once is enough; some servers repeat it on every chunk
            delta = {name: value for name, value in delta.items() if value is not None or name == "content"}
            if delta.get("content", "") is None and len(delta) > 1:
                delta.pop("content") if "role" not in delta else None
            logprobs = None if choice.logprobs is msgspec.UNSET else choice.logprobs
            if choice.finish_reason is None:
                first.append(_Out(choice.index, delta, logprobs, None))
                continue
            self._ended.add(choice.index)
            reason = choice.finish_reason if choice.finish_reason in _FINISHES else "stop"
            if any(value not in (None, "") for value in delta.values()):
                # Clients that stop at the finish_reason would lose this text (vllm#35705).
                first.append(_Out(choice.index, delta, logprobs, None))
                logprobs = None
            ends.append(_Out(choice.index, {}, logprobs, reason))
        for group in (first, ends):
            if group:
                found.chunks.append(self._write(_ENCODER.encode(group), kept))

    def _write(self, choices: bytes, kept: bytes) -> bytes:
        return b'{"id":%b,"object":"%b","created":%b,"model":%b%b,"choices":%b%b}' % (
            self._id,
            _OBJECT.encode(),
            self._created,
            self._model,
            kept,
            choices,
            b',"usage":null' if self._null_usage else b"",
        )

    def head(self, head: bytes) -> bytes | None:
        """Return what a chunk's head (all before its choices) becomes, None if such chunks must be written anew."""
        try:
            fields = _FIELDS.decode(head + b'"choices":[]}')
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        names = list(fields)
        known = {"id", "object", "created", "model", "choices", *_KEPT}
        if not known.issuperset(names) or head.count(b'"choices"') or not {"id", "created", "object"}.issubset(names):
            return None
        if bytes(fields["id"]) != self._id or bytes(fields["created"]) != self._created:
            return None
        if "obfuscation" in names or bytes(fields["object"]) != b'"chat.completion.chunk"':
            return None
        kept = b"".join(b',"%b":%b' % (name.encode(), bytes(fields[name])) for name in _KEPT if name in fields)
        head_out = self._write(b"", kept)
        return head_out[: head_out.index(b'"choices":')]

    def usage_chunk(self, usage: msgspec.Struct) -> bytes:
        """Return the last chunk: no choices, and the usage of the whole request."""
        return b'{"id":%b,"object":"%b","created":%b,"model":%b,"choices":[],"usage":%b}' % (
            self._id,
            _OBJECT.encode(),
            self._created,
            self._model,
            _ENCODER.encode(usage),
        )


def _is_text(raw: msgspec.Raw) -> bool:
    try:
        return bool(_STRING.decode(raw))
    except msgspec.MsgspecError:
        return False


def _count(delta: dict[str, object], index: int, found: Found) -> None:
    """Collect what the model produced, in whatever field it stands."""
    for name in ("content", "reasoning_content", "reasoning", "refusal"):
        text = delta.get(name)
        if isinstance(text, str) and text:
            found.texts.append((text, index, name))
    calls = delta.get("tool_calls")
    if not isinstance(calls, list):
        return
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            for part in ("name", "arguments"):
                text = function.get(part)
                if isinstance(text, str) and text:
                    found.texts.append((text, index, f"tool {call.get('index', 0)} {part}"))
