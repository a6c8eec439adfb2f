"""Trains techstone-nano from scratch: CPU or GPU, fixed seed, one run. Writes tokenizer, checkpoints and the curve.

python train.py OUT [--steps N]: goes on from the last checkpoint in OUT, if there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from random import Random

import tokens
import torch
from dialogues import Dialogues, split
from intents import read_corpus
from network import Nano, Shape
from torch import nn
from torch.nn import functional

SEED = 20_261_128
STEPS = 4150
BATCH = 32
# Tokens of the longest dialogue that is seen; the chat template shows the model no more of a conversation than that.
LONGEST = 512
PEAK_RATE, WARM_UP = 1.5e-3, 200
# The last steps are as small as that, which settles what was learned.
LAST_SHARE = 0.03
# None: no question is seen twice alike, and each less than ten times.
DROPOUT = 0.0
# So many batches are drawn at once and sorted by length: a batch of equal lengths has no padding to compute.
POOL = 16
IGNORED = -100  # PyTorch's own number
_TOLD, _EXAMINED = 50, 250


def rate(step: int, steps: int) -> float:
    """Return the learning rate: linear warm-up, then half a cosine."""
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return PEAK_RATE * (LAST_SHARE + (1 - LAST_SHARE) / 2 * (1 + math.cos(math.pi * done)))


class Batches:
    """Batches of about equally long dialogues, as tensors. Drawn from a generator of the step: a run may be resumed."""

    def __init__(self, source: Dialogues, tokenizer: tokens.Tokenizer, random: Random) -> None:
        self._source, self._tokenizer, self._random = source, tokenizer, random
        self._pool, self._ready = -1, list[list[tuple[list[int], list[bool]]]]()

    def draw(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens and targets; a target of IGNORED is not to be learned."""
        pool, place = divmod(step, POOL)
        if pool != self._pool:
            self._random.seed(f"{SEED}:{pool}")
            drawn = [tokens.encode(self._tokenizer, self._source.draw()) for _ in range(POOL * BATCH)]
            drawn.sort(key=lambda entry: len(entry[0]))
            self._ready = [drawn[at : at + BATCH] for at in range(0, len(drawn), BATCH)]
            self._random.shuffle(self._ready)
            self._pool = pool
        batch = self._ready[place]
        length = min(LONGEST, max(len(ids) for ids, _ in batch))
        inputs = torch.zeros(len(batch), length - 1, dtype=torch.long)
        targets = torch.full((len(batch), length - 1), IGNORED, dtype=torch.long)
        for row, (ids, own) in enumerate(batch):
            cut = torch.tensor(ids[:length])
            inputs[row, : len(cut) - 1] = cut[:-1]
            mine = torch.tensor(own[1:length])
            targets[row, : len(cut) - 1] = torch.where(mine, cut[1:], IGNORED)
        return inputs, targets


def loss_of(model: Nano, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of the tokens that are to be learned."""
    wanted = targets != IGNORED
    return functional.cross_entropy(model(inputs, wanted).float(), targets[wanted])


class Run:
    """A network in training, and what became of it so far; kept in `out`, where it goes on from."""

    def __init__(self, out: Path, vocabulary: int) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = Nano(Shape(vocabulary=vocabulary), dropout=DROPOUT).to(self.device)
        # It computes in 16 bits, which is three times as fast; a step is too small for those, and goes into 32.
        self.weights = [nn.Parameter(part.detach().clone()) for part in self.model.parameters()]
        self.model.bfloat16()
        self.optimiser = torch.optim.AdamW(self.weights, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
        self.step, self.curve, self._before = 0, list[dict[str, float]](), 0.0
        self._checkpoint = out / "checkpoint.pt"
        if self._checkpoint.exists():
            state = torch.load(self._checkpoint, weights_only=False)
            self._take(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.curve, self._before = state["step"], state["curve"], state["seconds"]
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it was trained, in all sittings."""
        return self._before + time.monotonic() - self._began

    def learn(self, inputs: torch.Tensor, targets: torch.Tensor, steps: int) -> float:
        """Take one of so many steps; return the loss before it."""
        torch.manual_seed(SEED + self.step)  # of dropout, so that a run that is resumed goes on as it would have
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.step, steps)
        loss = loss_of(self.model, inputs.to(self.device), targets.to(self.device))
        loss.backward()
        for weight, part in zip(self.weights, self.model.parameters(), strict=True):
            weight.grad, part.grad = part.grad.float(), None
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimiser.step()
        self._round()
        self.step += 1
        return loss.item()

    def _round(self) -> None:
        with torch.no_grad():
            for weight, part in zip(self.weights, self.model.parameters(), strict=True):
                part.copy_(weight)

    def _take(self, state: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for weight, part in zip(self.weights, state.values(), strict=True):
                weight.copy_(part)
        self._round()

    def save(self) -> None:
        """Keep it, so that it may go on from here."""
        fresh = self._checkpoint.with_suffix(".new")
        names = self.model.state_dict()
        model = {name: weight.detach() for name, weight in zip(names, self.weights, strict=True)}
        state = {"model": model, "optimiser": self.optimiser.state_dict(), "step": self.step}
        torch.save({**state, "curve": self.curve, "seconds": self.seconds}, fresh)
        fresh.replace(self._checkpoint)


def train(out: Path, steps: int) -> None:
    """Train, and leave tokenizer, checkpoint and `run.json` in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    random = Random(SEED)
    learned, kept = split(read_corpus(), random)
    texts = [text for intent in learned for text in (*intent.questions, *(intent.answers * 20))]
    tokenizer = tokens.train([*texts, "system\n", "user\n", "assistant\n"])
    tokenizer.save(str(out / "tokenizer.json"))
    run = Run(out, tokenizer.get_vocab_size())
    batches = Batches(Dialogues(learned, random), tokenizer, random)
    held = [tokens.encode(tokenizer, [("user", asked), ("assistant", intent.answers[0])]) for asked, intent in kept]
    facts = {
        "parameters": sum(part.numel() for part in run.model.parameters()),
        "intents": len(learned),
        "questions": sum(len(intent.questions) for intent in learned),
        "answers": sum(len(intent.answers) for intent in learned),
        "steps": steps,
        "batch": BATCH,
        "seed": SEED,
        "device": run.device,
    }
    print(json.dumps(facts), flush=True)
    summed, seen, began = 0.0, 0, time.monotonic()
    while run.step < steps:
        inputs, targets = batches.draw(run.step)
        summed += run.learn(inputs, targets, steps)
        seen += inputs.numel()
        if run.step % _TOLD == 0:
            run.curve.append({"step": run.step, "loss": round(summed / _TOLD, 4)})
            pace = seen / (time.monotonic() - began)
            print(f"step {run.step} loss {summed / _TOLD:.3f} {pace:.0f} tokens/s {run.seconds:.0f} s", flush=True)
            summed = 0.0
        if run.step % _EXAMINED == 0 or run.step == steps:
            run.curve.append({"step": run.step, "held": round(examine(run.model, held, run.device), 4)})
            print(f"step {run.step} held-out loss {run.curve[-1]['held']:.3f}", flush=True)
            run.save()
    facts |= {"seconds": round(run.seconds), "curve": run.curve}
    (out / "run.json").write_text(json.dumps(facts), "utf-8")


def examine(model: Nano, held: list[tuple[list[int], list[bool]]], device: str) -> float:
    """Return the loss on questions that were never seen."""
    model.eval()
    with torch.no_grad():
        losses = []
        for ids, own in held[:: max(1, len(held) // 300)]:
            targets = torch.where(torch.tensor(own[1:]), torch.tensor(ids[1:]), IGNORED).to(device)
            losses.append(loss_of(model, torch.tensor([ids[:-1]], device=device), targets[None]).item())
    model.train()
    return sum(losses) / max(1, len(losses))


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    train(arguments.out, arguments.steps)


if __name__ == "__main__":
    main()
