"""A small transformer that predicts the next token."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from demitasse.errors import UsageError
from demitasse.zoo.models.base import MODELS

_SPREAD = 0.02


class Attention(nn.Module):
    """Causal self-attention: (n, length, width) -> the same shape."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.inputs = nn.Linear(width, 3 * width)
        self.outputs = nn.Linear(width, width)

    @override
    def forward(self, x: Tensor) -> Tensor:
        # (n, length, 3 width) -> three of (n, heads, length, width / heads)
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.inputs(x).chunk(3, dim=2)
        )
        dropout = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        result: Tensor = self.outputs(seen.transpose(1, 2).flatten(2))
        return result


class TransformerBlock(nn.Module):
    """Attention and two linear layers, each after a normalization and with a residual connection."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    @override
    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))
        y: Tensor = self.dropout(self.fc2(functional.gelu(self.fc1(self.norm2(x)))))
        return x + y


class GPT(nn.Module):
    """Tokens (n, length) int64 -> logits of the next token (n, length, vocabulary).

    Args:
        vocabulary: number of tokens.
        block_size: the largest length.
        layers: number of blocks.
        heads: number of attention heads of a block, which divide the width.
        width: size of the embedding of a token.
        dropout: probability of dropout.
        tied: whether the last layer shares the weights of the embedding.

    Raises:
        UsageError: the heads do not divide the width.

    Reference: Radford, Wu, Child, Luan, Amodei, Sutskever 2019, Language Models are Unsupervised Multitask Learners.
    """

    def __init__(
        self,
        vocabulary: int = 65,
        block_size: int = 128,
        layers: int = 4,
        heads: int = 4,
        width: int = 128,
        dropout: float = 0.0,
        tied: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UsageError(f"heads is {heads}; expected a number that divides the width, {width}")
        self.block_size = block_size
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(block_size, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*[TransformerBlock(width, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.tokens.weight
        self._fill(layers)

    def _fill(self, layers: int) -> None:
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                # scale down the layers that add to the residual stream, 2 * layers times, section 2.3
                added = name.endswith(("outputs.weight", "fc2.weight"))
                nn.init.normal_(parameter, std=_SPREAD / (2 * layers) ** 0.5 if added else _SPREAD)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.dropout(self.tokens(tokens) + self.places(places))  # (n, length, width)
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


MODELS.register("gpt")(GPT)
