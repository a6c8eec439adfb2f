"""What one step learns from: dialogues of about one length, as tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from chatml import Tokenizer, encode

if TYPE_CHECKING:
    from random import Random

    from dialogues import Dialogues

Encoded = tuple[list[int], list[bool], dict[int, str]]
"""What `chatml.encode` returns."""

SEED = 20_261_128
SIZE = 96
"""Dialogues in a batch."""
# Tokens of the longest dialogue that is seen.
LONGEST = 512
# So many batches are drawn at once and sorted by length: a batch of equal lengths has no padding to compute.
POOL = 6
# So many dialogues have their last answer whole, the others so many of its first tokens: what has to be learned from
# many questions is which answer is meant. The rest of it is learned from few, and costs as much as two questions.
WHOLE, FIRST = 0.2, (6, 14)
IGNORED = -100  # PyTorch's own number
# Lengths are multiples of that: what is compiled for one fits all.
_GRAIN = 8


@dataclass(frozen=True)
class Batch:
    """Tokens, what comes next where that is to be learned (else IGNORED), and the intents that are answered.

    An intent is (row, column of the token before its answer, number of the intent).
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    intents: torch.Tensor


class Batches:
    """Batches of about equally long dialogues. Drawn from a generator of the step: a run may be resumed."""

    def __init__(self, source: Dialogues, tokenizer: Tokenizer, numbers: dict[str, int], random: Random) -> None:
        self._source, self._tokenizer, self._numbers, self._random = source, tokenizer, numbers, random
        self._pool, self._ready = -1, list[list[Encoded]]()

    def draw(self, step: int) -> Batch:
        """Return the batch of a step."""
        pool, place = divmod(step, POOL)
        if pool != self._pool:
            self._random.seed(f"{SEED}:{pool}")
            drawn = [self._cut(encode(self._tokenizer, self._source.draw())) for _ in range(POOL * SIZE)]
            drawn.sort(key=lambda entry: len(entry[0]))
            self._ready = [drawn[at : at + SIZE] for at in range(0, len(drawn), SIZE)]
            self._random.shuffle(self._ready)
            self._pool = pool
        return pad(self._ready[place], self._numbers)

    def _cut(self, entry: Encoded) -> Encoded:
        """Return a dialogue, most often without the rest of its last answer: which one it is, its first words say."""
        ids, own, begun = entry
        if self._random.random() < WHOLE:
            return entry
        end = max(begun) + self._random.randint(*FIRST)
        return ids[:end], own[:end], begun


def pad(entries: list[Encoded], numbers: dict[str, int]) -> Batch:
    """Return dialogues as a batch."""
    longest = max(len(ids) for ids, _, _ in entries) - 1
    length = min(LONGEST, math.ceil(longest / _GRAIN) * _GRAIN) + 1
    inputs = torch.zeros(len(entries), length - 1, dtype=torch.long)
    targets = torch.full((len(entries), length - 1), IGNORED, dtype=torch.long)
    intents = list[tuple[int, int, int]]()
    for row, (ids, own, begun) in enumerate(entries):
        cut = torch.tensor(ids[:length])
        inputs[row, : len(cut) - 1] = cut[:-1]
        mine = torch.tensor(own[1:length])
        targets[row, : len(cut) - 1] = torch.where(mine, cut[1:], IGNORED)
        intents += [(row, at, numbers[name]) for at, name in begun.items() if at < len(cut) - 1]
    return Batch(inputs, targets, torch.tensor(intents))
