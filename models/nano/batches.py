"""What one step learns from: dialogues of about one length, as tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from chatml import IGNORED, Encoded, Tokenizer, encode

if TYPE_CHECKING:
    from random import Random

    from dialogues import Dialogues

SEED = 20_261_128
SIZE = 160
"""Dialogues in a batch."""
# Tokens of the longest dialogue that is seen.
LONGEST = 512
# So many batches are drawn at once and sorted by length: a batch of equal lengths has no padding to compute.
POOL = 24
# So many dialogues have their last answer, and in so many others it is any intent's; the rest end before it: what has
# to be learned from many questions is which answer is meant. Its words are learned from few, and cost as much as two.
WHOLE, STRAY = 0.15, 0.17
# Lengths are multiples of that: what is compiled for one fits all.
_GRAIN = 8


class Batch(NamedTuple):
    """Tokens, and what is to be learned to come next (else IGNORED), each (dialogues, length)."""

    inputs: torch.Tensor
    targets: torch.Tensor


class Batches:
    """Draws batches from a generator of the step: a run may be resumed."""

    def __init__(self, source: Dialogues, tokenizer: Tokenizer, random: Random) -> None:
        self._source, self._tokenizer, self._random = source, tokenizer, random
        self._pool, self._ready = -1, list[list[Encoded]]()

    def draw(self, step: int) -> Batch:
        """Return the batch of a step."""
        pool, place = divmod(step, POOL)
        if pool != self._pool:
            self._random.seed(f"{SEED}:{pool}")
            drawn = [self._draw() for _ in range(POOL * SIZE)]
            drawn.sort(key=lambda entry: len(entry.ids))
            self._ready = [drawn[at : at + SIZE] for at in range(0, len(drawn), SIZE)]
            self._random.shuffle(self._ready)
            self._pool = pool
        return pad(self._ready[place])

    def _draw(self) -> Encoded:
        kind = self._random.random()
        if kind < STRAY:
            return encode(self._tokenizer, self._source.stray(), whole=True, coded=False)
        return encode(self._tokenizer, self._source.draw(), whole=kind < STRAY + WHOLE)


def pad(entries: list[Encoded]) -> Batch:
    """Return dialogues as a batch."""
    longest = min(LONGEST, max(len(entry.ids) for entry in entries))
    shape = len(entries), math.ceil(longest / _GRAIN) * _GRAIN
    inputs, targets = torch.zeros(shape, dtype=torch.long), torch.full(shape, IGNORED, dtype=torch.long)
    for row, (ids, learned) in enumerate(entries):
        length = min(len(ids), longest)
        inputs[row, :length] = torch.tensor(ids[:length])
        targets[row, :length] = torch.tensor(learned[:length])
    return Batch(inputs, targets)
