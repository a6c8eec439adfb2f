"""The built-in model's file and corpus."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import pytest

from techstone.engine.options import BUILT_IN

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = Path(__file__).parents[3] / "models" / "nano"


@pytest.fixture(scope="module")
def dialogues() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dialogues", FOLDER / "dialogues.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dialogues"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_file_is_small_and_complete() -> None:
    """At most 16 MB and 8 million parameters, with its licence and a chat template."""
    reader = gguf.GGUFReader(str(BUILT_IN))
    assert BUILT_IN.stat().st_size <= 16_000_000
    assert sum(int(tensor.n_elements) for tensor in reader.tensors) <= 8_000_000
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert (fields["general.architecture"], fields["general.license"]) == ("llama", "apache-2.0")
    assert "<|im_start|>" in fields["tokenizer.chat_template"]


def test_no_question_has_two_meanings(dialogues: ModuleType) -> None:
    """A phrasing belongs to one intent, whatever its case and punctuation."""
    seen: dict[str, str] = {}
    for intent in dialogues.read_corpus():
        for question in intent.questions:
            plain = question.lower().rstrip("?.! ")
            assert seen.setdefault(plain, intent.name) == intent.name, plain


def test_every_intent_can_be_asked_and_answered(dialogues: ModuleType) -> None:
    """At least three phrasings and one answer; no group is left unexpanded; answers are whole sentences."""
    for intent in dialogues.read_corpus():
        assert len(intent.questions) >= 3, intent.name
        assert intent.answers, intent.name
        assert not any(re.search(r"[()|]", question) for question in intent.questions), intent.name
        assert all(answer[-1] in ".!?}'\"" for answer in intent.answers), intent.name


def test_plans_are_told_as_they_are(dialogues: ModuleType) -> None:
    """Every number of a plan in an answer is the product's."""
    answers = " ".join(answer for intent in dialogues.read_corpus() for answer in intent.answers)
    assert set(re.findall(r"([\d,]+\d) tokens per minute", answers)) == {"150,000", "2,000,000"}
    assert set(re.findall(r"Pro (?:plan )?(?:allows|has) (\d+) requests", answers)) == {"500"}
