"""Trains techstone-nano from scratch: CPU, fixed seed, one run. Writes the tokenizer and checkpoints to a folder.

python train.py OUT [--steps N]: goes on from the last checkpoint in OUT, if there is one.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from random import Random

import tokens
import torch
from dialogues import Dialogues, read_corpus, split
from network import Nano, Shape
from torch.nn import functional

SEED = 20_260_821
BATCH = 32
LONGEST = 512
PEAK_RATE, WARM_UP = 1.5e-3, 200
# So many batches are drawn at once and sorted by length: a batch of equal lengths has no padding to compute.
POOL = 16


def rate(step: int, steps: int) -> float:
    """Return the learning rate: linear warm-up, then half a cosine down to a tenth."""
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return PEAK_RATE * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


class Batches:
    """Batches of about equally long dialogues, as tensors."""

    def __init__(self, source: Dialogues, tokenizer: tokens.Tokenizer, random: Random) -> None:
        self._source, self._tokenizer, self._random = source, tokenizer, random
        self._ready: list[list[tuple[list[int], list[bool]]]] = []

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens and targets; a target of -100 is not to be learned."""
        if not self._ready:
            drawn = [tokens.encode(self._tokenizer, self._source.draw()) for _ in range(POOL * BATCH)]
            drawn.sort(key=lambda entry: len(entry[0]))
            self._ready = [drawn[place : place + BATCH] for place in range(0, len(drawn), BATCH)]
            self._random.shuffle(self._ready)
        batch = self._ready.pop()
        length = min(LONGEST, max(len(ids) for ids, _ in batch))
        inputs = torch.zeros(len(batch), length - 1, dtype=torch.long)
        targets = torch.full((len(batch), length - 1), -100, dtype=torch.long)
        for row, (ids, own) in enumerate(batch):
            cut = torch.tensor(ids[:length])
            inputs[row, : len(cut) - 1] = cut[:-1]
            mine = torch.tensor(own[1:length])
            targets[row, : len(cut) - 1] = torch.where(mine, cut[1:], -100)
        return inputs, targets


def loss_of(model: Nano, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of the tokens that are to be learned."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(inputs)
    return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=6000)
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    random = Random(SEED)
    learned, kept = split(read_corpus(), random)
    texts = [text for intent in learned for text in (*intent.questions, *(intent.answers * 20))]
    tokenizer = tokens.train([*texts, "system\n", "user\n", "assistant\n"])
    tokenizer.save(str(out / "tokenizer.json"))
    model = Nano(Shape(vocabulary=tokenizer.get_vocab_size()), dropout=0.05)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    batches = Batches(Dialogues(learned, random), tokenizer, random)
    held = [
        tokens.encode(tokenizer, [("user", question), ("assistant", intent.answers[0])]) for question, intent in kept
    ]
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(learned)} intents, {len(texts):,} texts")
    first = 0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    began, seen = time.monotonic(), 0
    for step in range(first, arguments.steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, arguments.steps)
        inputs, targets = batches.draw()
        loss = loss_of(model, inputs, targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        seen += inputs.numel()
        if step % 50 == 0:
            passed = time.monotonic() - began
            print(
                f"step {step} loss {loss.item():.3f} {seen / max(passed, 1e-9):.0f} tokens/s {passed:.0f} s", flush=True
            )
        if step % 500 == 499 or step == arguments.steps - 1:
            print(f"step {step} held-out loss {examine(model, held):.3f}", flush=True)
            torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}, checkpoint)


def examine(model: Nano, held: list[tuple[list[int], list[bool]]]) -> float:
    """Return the loss on questions that were never seen."""
    model.eval()
    with torch.no_grad():
        losses = []
        for ids, own in held[:200]:
            targets = torch.where(torch.tensor(own[1:]), torch.tensor(ids[1:]), -100)
            losses.append(loss_of(model, torch.tensor([ids[:-1]]), targets[None]).item())
    model.train()
    return sum(losses) / max(1, len(losses))


if __name__ == "__main__":
    main()
