"""What is wrong with a chat request, in the words, codes and paths of OpenAI's API (conformance.md sections 1 and 4).

The fast pass (`wire.chat` decoded by msgspec) only says that something is wrong and where; this room says what: it
walks to the value, level by level and never into a large one, since decoding 20 MB of `{}` to name one wrong number
took 1.2 s and 480 MB. Rules between parameters stand in `check_rules`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from techstone.core.errors import InvalidRequest

if TYPE_CHECKING:
    from techstone.wire.chat import ChatBody, Message, Part

_T = TypeVar("_T")

_WHERE = re.compile(r" - at `(?:key` in `)?\$?(.*?)`$")
_EXPECTED = re.compile(r"^Expected `([^`]*)`, got `([^`]*)`")
_MISSING = re.compile(r"^Object missing required field `([^`]*)`")
_BOUND = re.compile(r"^Expected `(int|float|str|array|object)` (>=|<=|of length >=|of length <=) (-?[0-9.]+)")
_NAMES = {
    "int": "an integer",
    "float": "a decimal",
    "str": "a string",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_KINDS = {
    "int": "an integer",
    "float": "a decimal number",
    "str": "a string",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
}
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
# A value larger than this is not looked into (some 10 ms).
_WALKED = 1024 * 1024


def unreadable() -> InvalidRequest:
    """Return the error for a body that is no JSON object (OpenAI's words)."""
    return InvalidRequest(
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
        "correctly. The API expects a JSON payload, but what was sent was not valid JSON.)"
    )


def explain(body: bytes, error: Exception) -> InvalidRequest:
    """Return what the decoder's complaint means to the client."""
    document = _read_document(body) if isinstance(error, msgspec.ValidationError) else None
    if document is None:
        return unreadable()
    text = str(error)
    where = _WHERE.search(text)
    path, value = _locate(document, where[1].removeprefix(".") if where else "")
    missing = _MISSING.match(text)
    if missing:
        return _missing(f"{path}.{missing[1]}" if path else missing[1])
    bound = _BOUND.match(text)
    if bound:
        return _out_of_bounds(path, bound, _show(value))
    expected = _EXPECTED.match(text)
    if expected:
        return _wrong_type(path, *expected.groups())
    return InvalidRequest(
        f"Invalid value: {_show(value)} for '{path}'. {text.partition(' - at')[0]}.", param=path, code="invalid_value"
    )


def _read_document(body: bytes) -> dict[str, msgspec.Raw] | None:
    """Return the fields of a body that is JSON to its end; its complaint may stand before what breaks it."""
    try:
        return _FIELDS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _show(value: msgspec.Raw | None) -> str:
    """Return a value as it was sent; of a long one the beginning."""
    return "…" if value is None else bytes(value)[:100].decode(errors="replace")


def _missing(path: str) -> InvalidRequest:
    if path == "model":
        return InvalidRequest("you must provide a model parameter", param="model", code="missing_required_parameter")
    return InvalidRequest(f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter")


def _locate(document: dict[str, msgspec.Raw], path: str) -> tuple[str, msgspec.Raw | None]:
    """Walk to a value; None where it is not there, or too large to look for.

    `[...]` in a decoder's path stands for any element, so what holds it is named.
    """
    value: msgspec.Raw | None = None
    walked = ""
    for step in re.findall(r"[^.\[\]]+|\[\d+\]|\[\.\.\.\]", path):
        if step == "[...]":
            break
        index = int(step[1:-1]) if step.startswith("[") else None
        if index is not None:
            items = _look_into(value, _ITEMS)
            value = items[index] if items is not None and index < len(items) else None
            walked += step
            continue
        fields = _look_into(value, _FIELDS) if walked else document
        value = fields.get(step) if fields is not None else None
        walked += f".{step}" if walked else step
    return walked, value


def _look_into(value: msgspec.Raw | None, decoder: msgspec.json.Decoder[_T]) -> _T | None:
    if value is None or len(bytes(value)) > _WALKED:
        return None
    try:
        return decoder.decode(value)
    except msgspec.MsgspecError:
        return None


def _wrong_type(path: str, expected: str, got: str) -> InvalidRequest:
    names = [_NAMES.get(name.strip(), name.strip()) for name in expected.split("|")]
    wanted = " or ".join(name for name in names if name != "null") or expected
    return InvalidRequest(
        f"Invalid type for '{path}': expected {wanted}, but got {_KINDS.get(got, got)} instead.",
        param=path,
        code="invalid_type",
    )


def _out_of_bounds(path: str, bound: re.Match[str], value: str) -> InvalidRequest:
    kind, relation, limit = bound.groups()
    if kind in {"int", "float"}:
        number = "integer" if kind == "int" else "decimal"
        below = relation == ">="
        side, word = ("below_min", "minimum") if below else ("above_max", "maximum")
        than = "below" if below else "above"
        return InvalidRequest(
            f"Invalid '{path}': {number} {than} {word} value. "
            f"Expected a value {relation} {limit}, but got {value} instead.",
            param=path,
            code=f"{number}_{side}_value",
        )
    thing = {"str": "string", "array": "array", "object": "object"}[kind]
    if thing == "array" and relation == "of length >=":
        return InvalidRequest(
            f"Invalid '{path}': empty array. "
            f"Expected an array with minimum length {limit}, but got an empty array instead.",
            param=path,
            code="empty_array",
        )
    side = "below_min" if relation == "of length >=" else "above_max"
    return InvalidRequest(
        f"Invalid '{path}': {thing} length {side.replace('_', ' ')}imum of {limit}.",
        param=path,
        code=f"{thing}_{side}_length",
    )


def check_rules(chat: ChatBody) -> None:
    """Check the rules between parameters; raise InvalidRequest."""
    if not chat.model:
        raise _missing("model")
    if chat.stream_options is not None and chat.stream is not True:
        raise InvalidRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
            code="invalid_value",
        )
    if chat.max_tokens is not None and chat.max_completion_tokens is not None:
        raise InvalidRequest(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            param="max_tokens",
            code="invalid_value",
        )
    if chat.top_logprobs is not None and chat.logprobs is not True:
        raise InvalidRequest(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
            param="top_logprobs",
            code="invalid_value",
        )
    if chat.metadata is not None and len(chat.metadata) > 16:
        raise InvalidRequest(
            "Invalid 'metadata': too many properties. Expected an object with at most 16 properties.",
            param="metadata",
            code="object_above_max_properties",
        )
    form = chat.response_format
    if form is not None and form.type == "json_schema" and form.json_schema is None:
        raise _missing("response_format.json_schema")
    if chat.tools is not None or chat.tool_choice is not None:
        _check_tools(chat)
    for position, message in enumerate(chat.messages):
        if not isinstance(message.content, str) or message.role == "tool":
            _check_message(message, f"messages[{position}]")


def _check_tools(chat: ChatBody) -> None:
    names = set()
    for position, tool in enumerate(chat.tools or []):
        if tool.type == "function" and tool.function is None:
            raise _missing(f"tools[{position}].function")
        if tool.function is not None:
            names.add(tool.function.name)
    choice = chat.tool_choice
    if choice is None:
        return
    if isinstance(choice, str):
        if choice not in {"none", "auto", "required"}:
            raise InvalidRequest(
                f"Invalid value: '{choice[:100]}'. Supported values are: 'none', 'auto', and 'required'.",
                param="tool_choice",
                code="invalid_value",
            )
        if choice != "none" and not chat.tools:
            raise InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
        return
    if getattr(choice, choice.type) is None:
        raise _missing(f"tool_choice.{choice.type}")
    if choice.function is not None and choice.function.name not in names:
        raise InvalidRequest(
            "Tool choice 'function' must name a function of 'tools'.", param="tool_choice", code="invalid_value"
        )


def _check_message(message: Message, path: str) -> None:
    content = message.content
    if content is None:
        if message.role == "function":
            return
        if message.role != "assistant" or not (message.tool_calls or message.function_call or message.refusal):
            raise _missing(f"{path}.content")
    if message.role == "tool" and message.tool_call_id is None:
        raise _missing(f"{path}.tool_call_id")
    if isinstance(content, list):
        for position, part in enumerate(content):
            _check_part(part, f"{path}.content[{position}]")


def _check_part(part: Part, path: str) -> None:
    if getattr(part, part.type) is None:
        raise _missing(f"{path}.{part.type}")
