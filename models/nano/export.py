"""Writes the trained network as a GGUF file that llama.cpp loads: python export.py RUN OUT."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import torch
from chatml import END, END_OF_TEXT, TEMPLATE
from network import Shape

CONTEXT = 2048
TEMPERATURE, LEAST = 0.2, 0.2

# Ours → llama.cpp's names (gguf-py, constants.py).
_BLOCK = {
    "attention_norm": "attn_norm",
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "output": "attn_output",
    "feed_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def rename(name: str) -> str:
    """Return llama.cpp's name of one of our tensors."""
    if name.startswith("blocks."):
        _, number, part, _ = name.split(".")
        return f"blk.{number}.{_BLOCK[part]}.weight"
    return {"embedding.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]


def divide(name: str, tensor: torch.Tensor, heads: int) -> dict[str, torch.Tensor]:
    """Return a tensor by llama.cpp's names: what is one for speed's sake here is several there."""
    if ".query_key_value." in name:
        query, key, value = tensor.chunk(3)
        parts = {"query": pair(query, heads), "key": pair(key, heads), "value": value}
        return {rename(name.replace("query_key_value", part)): rows for part, rows in parts.items()}
    if ".gate_up." in name:
        gate, up = tensor.chunk(2)
        return {rename(name.replace("gate_up", "gate")): gate, rename(name.replace("gate_up", "up")): up}
    return {rename(name): tensor}


def pair(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Return the rows of each head, those of its halves in turn: llama.cpp's rope turns neighbours, ours halves."""
    return rows.view(heads, 2, -1, rows.shape[1]).transpose(1, 2).reshape(rows.shape)


def export(run: Path, out: Path) -> None:
    """Write the network of a training's folder to a file."""
    state = torch.load(run / "checkpoint.pt", weights_only=False, map_location="cpu")["model"]
    read = json.loads((run / "tokenizer.json").read_text("utf-8"))
    tokenizer, special = read["model"], {token["content"] for token in read["added_tokens"]}
    vocabulary = sorted(tokenizer["vocab"], key=tokenizer["vocab"].__getitem__)
    shape = Shape(vocabulary=len(vocabulary))
    writer = gguf.GGUFWriter(str(out), "llama")
    writer.add_name("techstone-nano")
    writer.add_author("TechStone AI Cloud")
    writer.add_license("apache-2.0")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    # For who asks without a temperature: another answer is a wrong one here. llama.cpp reads it from the file.
    writer.add_sampling_temp(TEMPERATURE)
    writer.add_sampling_min_p(LEAST)
    _add_tokenizer(writer, vocabulary, tokenizer["merges"], special)
    writer.add_chat_template(TEMPLATE)
    parts = {told: part for name, tensor in state.items() for told, part in divide(name, tensor, shape.heads).items()}
    for name, tensor in parts.items():
        data = tensor.float().numpy()
        if data.ndim == 1:  # llama.cpp wants norms in 32 bits
            writer.add_tensor(name, data)
        else:
            packed = gguf.quants.quantize(data, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def _add_tokenizer(writer: gguf.GGUFWriter, vocabulary: list[str], merges: list[list[str]], special: set[str]) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    kinds = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in vocabulary]
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(vocabulary.index(END_OF_TEXT))
    writer.add_eos_token_id(vocabulary.index(END))
    writer.add_add_bos_token(False)


def main() -> None:
    """Export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    export(arguments.run, arguments.out)


if __name__ == "__main__":
    main()
