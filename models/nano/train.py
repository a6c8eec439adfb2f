"""Trains techstone-nano from scratch: CPU or GPU, fixed seed, one run. Writes tokenizer, checkpoints and the curve.

python train.py OUT [--steps N]: goes on from the last checkpoint in OUT, if there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from pathlib import Path
from random import Random

import tokens
import torch
from batches import IGNORED, SEED, SIZE, Batch, Batches, Encoded, pad
from chatml import encode, show
from dialogues import Dialogues, Message, split
from intents import read_corpus
from network import Nano, Shape
from torch import nn
from torch.nn import functional

STEPS = 3200
PEAK_RATE, WARM_UP = 3e-3, 60
# The last steps are as small as that, which settles what was learned.
LAST_SHARE = 0.03
# None: no question is seen twice alike, and each less than ten times.
DROPOUT = 0.0
# How much finding the intent weighs beside the words.
JUDGED = 0.3
_TOLD, _EXAMINED = 50, 200


def rate(step: int, steps: int) -> float:
    """Return the learning rate: linear warm-up, then half a cosine."""
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return PEAK_RATE * (LAST_SHARE + (1 - LAST_SHARE) / 2 * (1 + math.cos(math.pi * done)))


class Run:
    """A network in training, and what became of it so far; kept in `out`, where it goes on from."""

    def __init__(self, out: Path, vocabulary: int, intents: int) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = Nano(Shape(vocabulary=vocabulary), dropout=DROPOUT).to(self.device)
        # Learns with the network which intent is meant; what is shipped has no need of it.
        self.judge = nn.Linear(self.model.shape.width, intents).to(self.device)
        # They compute in 16 bits, which is three times as fast; a step is too small for those, and goes into 32.
        self._parts = [*self.model.parameters(), *self.judge.parameters()]
        self.weights = [nn.Parameter(part.detach().clone()) for part in self._parts]
        self.model.bfloat16()
        self.judge.bfloat16()
        names = [name for name, _ in self.model.named_parameters()]
        matrices = [w for n, w in zip(names, self.weights, strict=False) if n.startswith("blocks") and w.ndim == 2]
        known = {id(weight) for weight in matrices}
        others = [weight for weight in self.weights if id(weight) not in known]
        self.optimisers = [
            torch.optim.Muon(matrices, lr=PEAK_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
        ]
        self.step, self.curve, self._before = 0, list[dict[str, float]](), 0.0
        self._checkpoint = out / "checkpoint.pt"
        if self._checkpoint.exists():
            state = torch.load(self._checkpoint, weights_only=False)
            with torch.no_grad():
                for weight, part in zip(self.weights, state["weights"], strict=True):
                    weight.copy_(part)
            self._round()
            for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(kept)
            self.step, self.curve, self._before = state["step"], state["curve"], state["seconds"]
        # A third faster, where a C++ compiler is at hand.
        self._read = torch.compile(self.model.read, dynamic=True) if shutil.which("g++") else self.model.read
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it was trained, in all sittings."""
        return self._before + time.monotonic() - self._began

    def learn(self, batch: Batch, steps: int) -> tuple[float, float]:
        """Take one of so many steps; return the losses before it: of the words, and of the intents."""
        torch.manual_seed(SEED + self.step)  # of dropout, so that a run that is resumed goes on as it would have
        words, intents, _ = self.weigh(batch)
        (words + JUDGED * intents).backward()
        for weight, part in zip(self.weights, self._parts, strict=True):
            weight.grad, part.grad = part.grad.float(), None
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate(self.step, steps)
            optimiser.step()
        self._round()
        self.step += 1
        return words.item(), intents.item()

    def weigh(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Return the mean losses of words and intents, and the share of intents that are found."""
        targets, (row, column, intent) = batch.targets.to(self.device), batch.intents.to(self.device).unbind(1)
        read = (self._read if self.model.training else self.model.read)(batch.inputs.to(self.device))
        wanted = targets != IGNORED
        words = functional.cross_entropy(self.model.tell(read[wanted]).float(), targets[wanted])
        judged = self.judge(read[row, column]).float()
        found = (judged.argmax(-1) == intent).float().mean().item()
        return words, functional.cross_entropy(judged, intent, label_smoothing=0.1), found

    def _round(self) -> None:
        with torch.no_grad():
            for weight, part in zip(self.weights, self._parts, strict=True):
                part.copy_(weight)

    def save(self) -> None:
        """Keep it, so that it may go on from here."""
        fresh = self._checkpoint.with_suffix(".new")
        names = self.model.state_dict()
        model = {name: weight.detach() for name, weight in zip(names, self.weights, strict=False)}
        state = {"model": model, "weights": [weight.detach() for weight in self.weights], "step": self.step}
        state |= {"optimisers": [optimiser.state_dict() for optimiser in self.optimisers]}
        torch.save({**state, "curve": self.curve, "seconds": self.seconds}, fresh)
        fresh.replace(self._checkpoint)


def train(out: Path, steps: int) -> None:
    """Train, and leave tokenizer, checkpoint and `run.json` in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    random = Random(SEED)
    learned, kept = split(read_corpus(), random)
    # Answers weigh as much as questions, which are many.
    asked = [show("user", text) for intent in learned for text in intent.questions]
    told = [text for intent in learned for text in intent.answers * 10]
    tokenizer = tokens.train([*asked, *told, "system\n", "user\n", "assistant\n"])
    tokenizer.save(str(out / "tokenizer.json"))
    numbers = {intent.name: number for number, intent in enumerate(learned)}
    run = Run(out, tokenizer.get_vocab_size(), len(numbers))
    batches = Batches(Dialogues(learned, random), tokenizer, numbers, random)
    held = [
        encode(tokenizer, [Message("user", text), Message("assistant", intent.answers[0], intent.name)])
        for text, intent in kept
    ]
    facts = {
        "parameters": sum(part.numel() for part in run.model.parameters()),
        "intents": len(learned),
        "questions": sum(len(intent.questions) for intent in learned),
        "answers": sum(len(intent.answers) for intent in learned),
        "steps": steps,
        "batch": SIZE,
        "seed": SEED,
        "device": run.device,
    }
    print(json.dumps(facts), flush=True)
    summed, seen, began = [0.0, 0.0], 0, time.monotonic()
    while run.step < steps:
        batch = batches.draw(run.step)
        summed = [before + loss for before, loss in zip(summed, run.learn(batch, steps), strict=True)]
        seen += batch.inputs.numel()
        if run.step % _TOLD == 0:
            run.curve.append({"step": run.step, "loss": round(summed[0] / _TOLD, 4)})
            pace = seen / (time.monotonic() - began)
            print(
                f"step {run.step} loss {summed[0] / _TOLD:.3f}, of intents {summed[1] / _TOLD:.3f}, "
                f"{pace:.0f} tokens/s {run.seconds:.0f} s",
                flush=True,
            )
            summed = [0.0, 0.0]
        if run.step % _EXAMINED == 0 or run.step == steps:
            loss, found = examine(run, held, numbers)
            run.curve.append({"step": run.step, "held": round(loss, 4), "found": round(found, 4)})
            print(f"step {run.step} held-out loss {loss:.3f}, intents found {found:.3f}", flush=True)
            run.save()
    facts |= {"seconds": round(run.seconds), "curve": run.curve}
    (out / "run.json").write_text(json.dumps(facts), "utf-8")


def examine(run: Run, held: list[Encoded], numbers: dict[str, int]) -> tuple[float, float]:
    """Return the loss on questions that were never seen, and the share whose intent is found."""
    run.model.eval()
    chosen = sorted(held[:: max(1, len(held) // 640)], key=lambda entry: len(entry[0]))
    with torch.no_grad():
        told = [run.weigh(pad(chosen[at : at + SIZE], numbers)) for at in range(0, len(chosen), SIZE)]
    run.model.train()
    return sum(words.item() for words, _, _ in told) / len(told), sum(found for _, _, found in told) / len(told)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    train(arguments.out, arguments.steps)


if __name__ == "__main__":
    main()
