"""The tokenizer: byte-level BPE as of GPT-2, with the marks of ChatML; trained on the corpus, read by llama.cpp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatml import MARKS
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from collections.abc import Iterable

VOCABULARY = 3072
# llama.cpp's pre-tokenizer "gpt-2" splits by this pattern (llama-vocab.cpp); ours must split the same way.
_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def train(texts: Iterable[str], codes: list[str]) -> Tokenizer:
    """Return a tokenizer trained on the texts; each code is a token of its own beside them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY + len(codes),
        special_tokens=[*MARKS, *codes],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
