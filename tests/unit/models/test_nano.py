"""The built-in model's file."""

from __future__ import annotations

import gguf
import pytest
from chatml import MARKS, TEMPLATE, name_code
from intents import read_corpus

from techstone.engine.options import BUILT_IN


@pytest.fixture(scope="module")
def reader() -> gguf.GGUFReader:
    return gguf.GGUFReader(str(BUILT_IN))


@pytest.fixture(scope="module")
def fields(reader: gguf.GGUFReader) -> dict[str, object]:
    return {name: field.contents() for name, field in reader.fields.items()}


def test_file_is_small_and_complete(reader: gguf.GGUFReader, fields: dict[str, object]) -> None:
    """At most 16 MB and 12 million parameters, with its licence."""
    assert BUILT_IN.stat().st_size <= 16_000_000
    assert sum(int(tensor.n_elements) for tensor in reader.tensors) <= 12_000_000
    assert (fields["general.architecture"], fields["general.license"]) == ("llama", "apache-2.0")


def test_file_shows_a_conversation_as_it_was_trained(fields: dict[str, object]) -> None:
    assert fields["tokenizer.chat_template"] == TEMPLATE


def test_file_has_the_codes_of_this_corpus(fields: dict[str, object]) -> None:
    """Its control tokens, which nobody is shown, are the marks of ChatML and a code for each intent, and no others."""
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert isinstance(tokens, list)
    assert isinstance(kinds, list)
    control = {token for token, kind in zip(tokens, kinds, strict=True) if kind == gguf.TokenType.CONTROL}
    codes = {name_code(intent.name) for intent in read_corpus()}
    assert {*MARKS, *codes} - control == set()
    assert control - {*MARKS, *codes} == set()


def test_file_asks_for_its_own_temperature(fields: dict[str, object]) -> None:
    """Who names none must not get llama.cpp's 0.8: TEMPERATURE and LEAST of export.py, which needs PyTorch."""
    asked = [fields[name] for name in (gguf.Keys.General.SAMPLING_TEMP, gguf.Keys.General.SAMPLING_MIN_P)]
    assert asked == pytest.approx([0.2, 0.2])
