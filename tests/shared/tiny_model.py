"""A llama model of random weights as a GGUF file: real inference in milliseconds, and no sense in what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

_WIDTH, _HIDDEN, _LAYERS, _HEADS, _CONTEXT = 64, 128, 2, 4, 2048
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# A logit_bias under which it speaks until max_tokens: without, it comes to an end of text by chance.
ENDLESS = {f"{number}": -100 for number in range(len(_SPECIAL))}
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_model(path: Path, seed: int = 1) -> Path:
    """Write the model; the vocabulary is ASCII, in GPT-2's letters.

    No bytes above: at random they are no UTF-8, and llama.cpp answers 500 where a grammar's text is none.
    """
    letters = _byte_letters()[:128]
    vocabulary = _SPECIAL + letters
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3] * len(_SPECIAL) + [1] * len(letters))
    writer.add_token_merges([f"{letters[ord('h')]} {letters[ord('e')]}"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_chat_template(_TEMPLATE)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, random.normal(0, 0.3, shape).astype(np.float32))

    add("token_embd.weight", len(vocabulary), _WIDTH)
    writer.add_tensor("output_norm.weight", np.ones(_WIDTH, dtype=np.float32))
    for layer in range(_LAYERS):
        prefix = f"blk.{layer}."
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{prefix}{name}.weight", np.ones(_WIDTH, dtype=np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"{prefix}{name}.weight", _WIDTH, _WIDTH)
        add(f"{prefix}ffn_gate.weight", _HIDDEN, _WIDTH)
        add(f"{prefix}ffn_up.weight", _HIDDEN, _WIDTH)
        add(f"{prefix}ffn_down.weight", _WIDTH, _HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _byte_letters() -> list[str]:
    """Return GPT-2's printable letter for each byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in plain}
    spare = 256
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(spare)
            spare += 1
    return [letters[byte] for byte in range(256)]
