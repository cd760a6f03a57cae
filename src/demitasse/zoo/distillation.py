"""Learning from a teacher: a small model is told how a larger one divides its belief among the classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from demitasse.zoo.data.base import Batch, Data


@dataclass(frozen=True)
class Distillation:
    """A loss: (1 - share) * the data's own + share * T^2 * KL(teacher || model), logits divided by the temperature T.

    Attributes:
        teacher: gives logits of the model's shape; it is not trained.
        data: whose loss is the other part.
        share: 0 to 1.
        temperature: above 0; a high one shows what the teacher thinks of the wrong classes.

    Reference: Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network (arXiv 1503.02531), section 2.
    """

    teacher: nn.Module
    data: Data
    share: float
    temperature: float

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns the mean over the batch's predictions, in nats."""
        logits: Tensor = model(batch[0])
        with torch.no_grad():
            wanted = self._softened(self.teacher(batch[0]))
        distance = functional.kl_div(self._softened(logits), wanted, reduction="batchmean", log_target=True)
        own = self.data.loss(lambda inputs: logits, batch)
        return (1 - self.share) * own + self.share * self.temperature**2 * distance

    def _softened(self, logits: Tensor) -> Tensor:
        """Returns logarithms of the probabilities, (predictions, classes)."""
        return functional.log_softmax(logits.float().flatten(0, -2) / self.temperature, 1)
