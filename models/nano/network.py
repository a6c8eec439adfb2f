"""The network: a small Llama (RMSNorm, rotary positions, SwiGLU, tied embedding), in plain PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """The sizes of the network; `rope_base` is that of rotary positions."""

    vocabulary: int = 3072
    width: int = 384
    layers: int = 4
    heads: int = 6
    hidden: int = 1024
    rope_base: float = 10_000.0
    epsilon: float = 1e-5


class RMSNorm(nn.Module):
    """Root mean square normalisation."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Return x scaled to unit root mean square, times the weight."""
        return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return x, each of its first half turned with its like of the second by its position.

    llama.cpp turns neighbours, so the rows are put in another order as they are exported. A CPU reads halves in one
    piece: this takes a quarter of the time of neighbours.
    """
    first, second = x.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), -1)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return attention to oneself and what stands before, (batch, heads, length, size).

    PyTorch's own takes four times as long to learn from on a CPU, at these lengths.
    """
    length = query.shape[-2]
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    later = torch.full((length, length), float("-inf"), dtype=scores.dtype, device=scores.device).triu(1)
    return torch.softmax(scores + later, -1) @ value


class Block(nn.Module):
    """Attention and a gated feed-forward network, each added to what comes in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.attention_norm = RMSNorm(width, shape.epsilon)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.feed_norm = RMSNorm(width, shape.epsilon)
        self.gate_up = nn.Linear(width, 2 * shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Return the block's output; positions may look at themselves and what stands before them."""
        batch, length, width = x.shape
        mixed = self.query_key_value(self.attention_norm(x)).view(batch, length, 3, self.heads, -1)
        query_key, value = rotate(mixed[:, :, :2], cosine, sine).transpose(1, 3), mixed[:, :, 2].transpose(1, 2)
        attended = attend(query_key[:, :, 0], query_key[:, :, 1], value)
        x = x + self.output(attended.transpose(1, 2).reshape(batch, length, width))
        gate, up = self.gate_up(self.feed_norm(x)).chunk(2, -1)
        return x + self.down(functional.silu(gate) * up)


class Nano(nn.Module):
    """The whole network: tokens in, logits of the next token out.

    Its weights may be of 16 bits: then so is all that is computed. Who trains it keeps finer ones (`train.Run`).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width, shape.epsilon)
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def read(self, tokens: Tensor) -> Tensor:
        """Return what the network makes of each position, (batch, length, width)."""
        size = self.shape.width // self.shape.heads
        frequencies = self.shape.rope_base ** (-torch.arange(0, size, 2, device=tokens.device).float() / size)
        angles = torch.outer(torch.arange(tokens.shape[1], device=tokens.device).float(), frequencies)
        x = self.embedding(tokens)
        cosine, sine = (part.to(x.dtype)[:, None, None] for part in (angles.cos(), angles.sin()))
        for block in self.blocks:
            x = block(x, cosine, sine)
        normed: Tensor = self.norm(x)
        return normed

    def tell(self, read: Tensor) -> Tensor:
        """Return the logits of what comes after positions that were read."""
        return functional.linear(read, self.embedding.weight)
