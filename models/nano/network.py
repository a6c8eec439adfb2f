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
    width: int = 320
    layers: int = 6
    heads: int = 5
    hidden: int = 864
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
    """Return x with each pair of neighbours turned by its position: the order that llama.cpp's rope expects."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2)


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
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.feed_norm = RMSNorm(width, shape.epsilon)
        self.gate = nn.Linear(width, shape.hidden, bias=False)
        self.up = nn.Linear(width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, dropout: float) -> Tensor:
        """Return the block's output; positions may look at themselves and what stands before them."""
        batch, length, width = x.shape
        y = self.attention_norm(x)
        query, key, value = (
            part(y).view(batch, length, self.heads, -1).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        attended = attend(rotate(query, cosine, sine), rotate(key, cosine, sine), value)
        x = x + functional.dropout(
            self.output(attended.transpose(1, 2).reshape(batch, length, width)), dropout, self.training
        )
        y = self.feed_norm(x)
        return x + functional.dropout(self.down(functional.silu(self.gate(y)) * self.up(y)), dropout, self.training)


class Nano(nn.Module):
    """The whole network: tokens in, logits of the next token out.

    Its weights may be of 16 bits: then so is all that is computed. Who trains it keeps finer ones (`train.Run`).
    """

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = dropout
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width, shape.epsilon)
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Return the logits of what comes after each position that is wanted, one row each."""
        size = self.shape.width // self.shape.heads
        frequencies = self.shape.rope_base ** (-torch.arange(0, size, 2, device=tokens.device).float() / size)
        angles = torch.outer(torch.arange(tokens.shape[1], device=tokens.device).float(), frequencies)
        x = functional.dropout(self.embedding(tokens), self.dropout, self.training)
        cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for block in self.blocks:
            x = block(x, cosine, sine, self.dropout)
        return functional.linear(self.norm(x[wanted]), self.embedding.weight)
