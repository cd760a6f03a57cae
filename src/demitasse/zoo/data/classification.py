"""Data whose targets are classes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from demitasse.errors import DataError
from demitasse.zoo.data.base import Batch, TrainingData


class ClassificationData(TrainingData):
    """Data whose targets are classes, from 0 on: the loss is the cross entropy, the error the share of wrong classes.

    A model returns logits (n, classes) or, for a class at each place, (n, classes, ...).

    Attributes:
        label_count: the largest known label plus 1; a model with fewer outputs is refused.
    """

    label_count = 0

    @override
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns the mean cross entropy, in nats."""
        images, labels = batch
        return functional.cross_entropy(self._logits(model, images), labels)

    @override
    def measure(self, model: nn.Module, batch: Batch) -> dict[str, float]:
        """Returns the sum of the cross entropy and the number of wrong classes."""
        images, labels = batch
        logits = self._logits(model, images)
        return {
            "count": labels.numel(),
            "loss": functional.cross_entropy(logits, labels, reduction="sum").item(),
            "error": (logits.argmax(1) != labels).sum().item(),
        }

    def _logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        outputs = model(inputs)
        if not isinstance(outputs, Tensor) or outputs.ndim < 2:
            found = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
            raise DataError(f"the model returns {found}; expected logits (n, classes)")
        if outputs.shape[1] < self.label_count:
            raise DataError(
                f"label {self.label_count - 1} is out of range: the model has {outputs.shape[1]} outputs; expected "
                f"labels from 0 to {outputs.shape[1] - 1}"
            )
        return outputs.float()
