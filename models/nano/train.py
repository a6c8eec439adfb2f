"""Trains techstone-nano from scratch: CPU or GPU, fixed seed, one run. Writes tokenizer, checkpoints and the curve.

python train.py OUT [--steps N]: goes on from the last checkpoint in OUT, if there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import json
import math
import resource
import shutil
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

import tokens
import torch
from batches import SEED, SIZE, Batch, Batches, pad
from chatml import IGNORED, MARKS, Encoded, encode, name_code, show
from dialogues import WISHES, Dialogues, Message, split
from intents import Intent, read_corpus
from network import Nano, Shape
from torch import nn
from torch.nn import functional

STEPS = 3000
PEAK_RATE, WARM_UP = 3e-3, 60
# The last steps are as small as that, which settles what was learned.
LAST_SHARE = 0.03
# So much of a code's certainty is spread over all others: no question is that clear.
SMOOTHED = 0.1
_TOLD, _EXAMINED = 50, 200
# Of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_memory() -> None:
    """Have glibc keep what is freed, where there is glibc; before there are threads.

    The tensors of a step are mapped and zeroed anew in each by default: 1.31 s a step, 1.16 s without that.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1)):
            mallopt(option, value)


def trim_memory() -> None:
    """Give back what lies between, now and then: with lengths that change it comes to 14 GB in 600 steps."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def rate(step: int, steps: int) -> float:
    """Return the learning rate: linear warm-up, then half a cosine."""
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return PEAK_RATE * (LAST_SHARE + (1 - LAST_SHARE) / 2 * (1 + math.cos(math.pi * done)))


class Loss(NamedTuple):
    """Mean losses of codes, which name the intent, and of the words after them; the share of codes that are found."""

    codes: torch.Tensor
    words: torch.Tensor
    found: float

    def __str__(self) -> str:
        """Return it for a line of a log."""
        return f"codes {float(self.codes):.3f}, found {self.found:.3f}, words {float(self.words):.3f}"

    def detach(self) -> Loss:
        """Return it without what it was computed from."""
        return Loss(self.codes.detach(), self.words.detach(), self.found)

    @staticmethod
    def mean(losses: list[Loss]) -> Loss:
        """Return the mean of several."""
        codes, words, found = zip(*losses, strict=True)
        return Loss(torch.stack(codes).mean(), torch.stack(words).mean(), sum(found) / len(found))


class Run:
    """A network in training, and what became of it so far; kept in `out`, where it goes on from."""

    def __init__(self, out: Path, vocabulary: int, codes: range) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = Nano(Shape(vocabulary=vocabulary)).to(self.device)
        self._codes = codes
        # It computes in 16 bits, which is three times as fast; a step is too small for those, and goes into 32.
        self.weights = [nn.Parameter(part.detach().clone()) for part in self.model.parameters()]
        self.model.bfloat16()
        named = list(zip((name for name, _ in self.model.named_parameters()), self.weights, strict=True))
        matrices = [weight for name, weight in named if name.startswith("blocks") and weight.ndim == 2]
        others = [weight for name, weight in named if not name.startswith("blocks") or weight.ndim != 2]
        self.optimisers = [
            torch.optim.Muon(matrices, lr=PEAK_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
        ]
        self.step, self.curve, self._before = 0, list[dict[str, float]](), 0.0
        self._checkpoint = out / "checkpoint.pt"
        if self._checkpoint.exists():
            state = torch.load(self._checkpoint, weights_only=False)
            with torch.no_grad():
                for weight, part in zip(self.weights, state["model"].values(), strict=True):
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

    def learn(self, batch: Batch, steps: int) -> Loss:
        """Take one of so many steps; return the loss before it."""
        loss = self.weigh(batch)
        (loss.codes + loss.words).backward()
        for weight, part in zip(self.weights, self.model.parameters(), strict=True):
            weight.grad, part.grad = part.grad.float(), None
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate(self.step, steps)
            optimiser.step()
        self._round()
        self.step += 1
        return loss

    def weigh(self, batch: Batch) -> Loss:
        """Return what it does not know of a batch yet."""
        targets = batch.targets.to(self.device)
        read = (self._read if self.model.training else self.model.read)(batch.inputs.to(self.device))
        wanted = targets != IGNORED
        targets, logits = targets[wanted], self.model.tell(read[wanted]).float()
        code = (targets >= self._codes.start) & (targets < self._codes.stop)
        found = (logits[code].argmax(-1) == targets[code]).float().mean().item()
        # Of codes or words that a batch does not have, the loss is 0.
        words = functional.cross_entropy(logits[~code], targets[~code], reduction="sum") / max(1, int((~code).sum()))
        codes = functional.cross_entropy(logits[code], targets[code], reduction="sum", label_smoothing=SMOOTHED)
        return Loss(codes / max(1, int(code.sum())), words, found)

    def _round(self) -> None:
        with torch.no_grad():
            for weight, part in zip(self.weights, self.model.parameters(), strict=True):
                part.copy_(weight)

    def save(self) -> None:
        """Keep it, so that it may go on from here."""
        fresh = self._checkpoint.with_suffix(".new")
        model = {name: weight.detach() for name, weight in zip(self.model.state_dict(), self.weights, strict=True)}
        state = {"model": model, "optimisers": [optimiser.state_dict() for optimiser in self.optimisers]}
        torch.save({**state, "step": self.step, "curve": self.curve, "seconds": self.seconds}, fresh)
        fresh.replace(self._checkpoint)


def train(out: Path, steps: int) -> None:
    """Train, and leave tokenizer, checkpoint and `run.json` in a folder.

    One that is over there is left as it is, and one that was stopped goes on: if all that is learned from is the same.
    """
    out.mkdir(parents=True, exist_ok=True)
    keep_memory()
    torch.manual_seed(SEED)
    random = Random(SEED)
    learned, kept = split(read_corpus(), random)
    # Answers weigh as much as questions, which are many.
    asked = [show("user", text) for intent in learned for text in intent.questions]
    told = [text for intent in learned for text in intent.answers * 10]
    codes = [name_code(intent.name) for intent in learned]
    tokenizer = tokens.train([*asked, *told, "system\n", "user\n", "assistant\n"], codes)
    batches = Batches(Dialogues(learned, random), tokenizer, random)
    begin(out, hash_sources(learned, tokenizer.to_str(), batches.draw(0), steps))
    if (out / "run.json").exists():
        return
    tokenizer.save(str(out / "tokenizer.json"))
    run = Run(out, tokenizer.get_vocab_size(), range(len(MARKS), len(MARKS) + len(codes)))
    held = [
        encode(tokenizer, [Message("user", text), Message("assistant", intent.answers[0], intent.name)], whole=True)
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
    told_of, seen, began = list[Loss](), 0, time.monotonic()
    while run.step < steps:
        batch = batches.draw(run.step)
        told_of.append(run.learn(batch, steps).detach())
        seen += batch.inputs.numel()
        if run.step % _TOLD == 0:
            loss, told_of = Loss.mean(told_of), []
            run.curve.append(
                {"step": run.step, "loss": round(float(loss.codes), 4), "words": round(float(loss.words), 4)}
            )
            pace = seen / (time.monotonic() - began)
            print(f"step {run.step} {loss} {pace:.0f} tokens/s {run.seconds:.0f} s", flush=True)
            trim_memory()
        if run.step % _EXAMINED == 0 or run.step == steps:
            loss = examine(run, held)
            run.curve.append({"step": run.step, "held": round(float(loss.codes), 4), "found": round(loss.found, 4)})
            print(f"step {run.step} kept back: {loss}", flush=True)
            run.save()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    facts |= {"seconds": round(run.seconds), "memory": memory, "curve": run.curve}
    (out / "run.json").write_text(json.dumps(facts), "utf-8")


def hash_sources(learned: list[Intent], tokenizer: str, first: Batch, steps: int) -> str:
    """Return what changes with the corpus, the wishes, how dialogues are drawn and shown, and the number of steps."""
    told = hashlib.sha256(repr((learned, WISHES, steps)).encode())
    told.update(tokenizer.encode())
    told.update(first.inputs.numpy().tobytes())
    return told.hexdigest()


def begin(out: Path, sources: str) -> None:
    """Clear the folder of what was learned from other sources: its tokens would have another sense."""
    known = out / "sources"
    if not known.exists() or known.read_text("ascii") != sources:
        for name in ("checkpoint.pt", "run.json"):
            (out / name).unlink(missing_ok=True)
    known.write_text(sources, "ascii")


def examine(run: Run, held: list[Encoded]) -> Loss:
    """Return the loss on questions that were kept back, by the hands that wrote the others."""
    run.model.eval()
    chosen = sorted(held[:: max(1, len(held) // 640)], key=lambda entry: len(entry.ids))
    with torch.no_grad():
        told = [run.weigh(pad(chosen[at : at + SIZE])) for at in range(0, len(chosen), SIZE)]
    run.model.train()
    return Loss.mean(told)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    train(arguments.out, arguments.steps)


if __name__ == "__main__":
    main()
