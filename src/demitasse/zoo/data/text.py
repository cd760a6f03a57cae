"""Text as characters, each predicted from the previous ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from demitasse.arrays import Array
from demitasse.errors import DataError, FileFormatError, parameter
from demitasse.zoo.data.base import DATASETS, Batch, SampledData, as_tensor

TRAINED_SHARE = 0.9


class TextData(SampledData):
    """Blocks of characters, each predicted from the previous characters in its block.

    An epoch has as many blocks as fit into the training text, at random positions; the test reads its text once.

    Args:
        text: the text; the first nine tenths are for training, the rest for testing.
        block: number of characters in a block.
        batch: number of blocks in a training batch, see :class:`SampledData`.
        seed: see :class:`SampledData`.
        test_batch: number of blocks in a test batch.

    Attributes:
        vocabulary: the characters of the text, sorted; a token is an index in this list.
    """

    metric = "loss"
    class_axis = -1

    def __init__(self, text: str, block: int = 128, batch: int = 32, seed: int = 1, test_batch: int = 64) -> None:
        super().__init__(batch, seed, test_batch)
        self.vocabulary = sorted(set(text))
        numbers = {character: number for number, character in enumerate(self.vocabulary)}
        tokens = np.array([numbers[character] for character in text], np.int64)
        split = int(TRAINED_SHARE * len(tokens))
        self.block, self.train_tokens, self.test_tokens = block, tokens[:split], tokens[split:]
        if len(self.test_tokens) <= block:
            raise DataError(f"the text has {len(tokens):,} characters, too few for blocks of {block}")

    @property
    @override
    def examples(self) -> int:
        """The number of blocks in an epoch."""
        return len(self.train_tokens) // self.block

    @override
    def draw(self, random: np.random.Generator) -> Array:
        """Returns (blocks,), the first token of each block."""
        return random.integers(0, len(self.train_tokens) - self.block, self.examples)

    @override
    def train_batch(self, draws: Array) -> Batch:
        """Returns the blocks and the same blocks one character later: both (n, block) int64."""
        return self._blocks(self.train_tokens, draws)

    def _blocks(self, tokens: Array, starts: Array) -> Batch:
        windows = starts[:, None] + np.arange(self.block + 1)
        blocks = tokens[windows]
        return as_tensor(blocks[:, :-1]), as_tensor(blocks[:, 1:])

    @override
    def test_batches(self) -> Iterator[Batch]:
        """Yields the test text, block by block, without an incomplete last block."""
        starts = np.arange(0, len(self.test_tokens) - self.block, self.block)
        for first in range(0, len(starts), self.test_batch):
            yield self._blocks(self.test_tokens, starts[first : first + self.test_batch])

    @override
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns the mean cross entropy of a character, in nats."""
        return self._cross_entropy(model, batch, "mean")

    @override
    def measure(self, model: nn.Module, batch: Batch) -> dict[str, float]:
        """Returns the sum of the cross entropy."""
        return {"count": batch[1].numel(), "loss": self._cross_entropy(model, batch, "sum").item()}

    def _cross_entropy(self, model: nn.Module, batch: Batch, reduction: str) -> Tensor:
        tokens, following = batch
        logits = model(tokens).float()
        return functional.cross_entropy(logits.flatten(0, 1), following.flatten(), reduction=reduction)


@DATASETS.register("text")
def text(path: Path | None, block: int = 128, batch: int = 32, seed: int = 1, test_batch: int = 64) -> TextData:
    """Returns the text of a file in UTF-8, such as tinyshakespeare.

    Args:
        path: the file.
        block: see :class:`TextData`.
        batch: see :class:`TextData`.
        seed: see :class:`TextData`.
        test_batch: see :class:`TextData`.
    """
    if path is None:
        raise DataError(f"text: the path is missing; give the file with the text ({parameter('data')})")
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: byte {error.start}: not UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return TextData(content, block, batch, seed, test_batch)
