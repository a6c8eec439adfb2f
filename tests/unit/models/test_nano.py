"""The built-in model's file."""

from __future__ import annotations

import gguf

from techstone.engine.options import BUILT_IN


def test_file_is_small_and_complete() -> None:
    """At most 16 MB and 12 million parameters, with its licence and a chat template."""
    reader = gguf.GGUFReader(str(BUILT_IN))
    assert BUILT_IN.stat().st_size <= 16_000_000
    assert sum(int(tensor.n_elements) for tensor in reader.tensors) <= 12_000_000
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert (fields["general.architecture"], fields["general.license"]) == ("llama", "apache-2.0")
    assert "<|im_start|>" in fields["tokenizer.chat_template"]
