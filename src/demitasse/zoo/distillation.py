"""Distillation: a model also learns the outputs of a teacher, usually the dense net that it is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from demitasse.errors import DataError
from demitasse.zoo.data.base import Batch, TrainingData


@dataclass(frozen=True)
class Distillation:
    """The loss of a model that learns from the labels and from a teacher.

    It is (1 - share) * loss of the data + share * T^2 * KL(teacher || model), with both predictions softened by the
    temperature T. T^2 keeps the gradients of the second part as large as those of the first.

    Attributes:
        data: the data, whose loss counts for the rest.
        teacher: a trained model with outputs like those of the student; it stays as it is.
        share: the share of the teacher's part, 0 to 1.
        temperature: T; the larger it is, the more the unlikely classes count.

    Reference: Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network (arXiv 1503.02531), section 2.
    """

    data: TrainingData
    teacher: nn.Module
    share: float
    temperature: float

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns the loss of a batch, a scalar with a gradient.

        Raises:
            DataError: the outputs of model and teacher are no tensors of one shape.
        """
        outputs = model(batch[0])
        with torch.no_grad():
            wanted = self.teacher(batch[0])
        own = self.data.loss(_Answer(outputs), batch)
        learned, taught = _shape(outputs), _shape(wanted)
        if learned is None or learned != taught:
            raise DataError(
                f"distill: the model returns {learned or type(outputs).__name__}, its teacher "
                f"{taught or type(wanted).__name__}; expected tensors of one shape, with a value for each class"
            )
        predictions = outputs.numel() // outputs.shape[self.data.class_axis]
        divergence: Tensor = functional.kl_div(
            self._softened(outputs), self._softened(wanted.detach()), reduction="sum", log_target=True
        )
        both: Tensor = (1 - self.share) * own + self.share * self.temperature**2 * divergence / predictions
        return both

    def _softened(self, outputs: Tensor) -> Tensor:
        softened: Tensor = functional.log_softmax(outputs.float() / self.temperature, self.data.class_axis)
        return softened


class _Answer(nn.Module):
    """A model that has computed its outputs already, so that a loss of the data does not compute them again."""

    def __init__(self, outputs: object) -> None:
        super().__init__()
        self.outputs = outputs

    @override
    def forward(self, *inputs: Any) -> object:
        return self.outputs


def _shape(outputs: object) -> tuple[int, ...] | None:
    return tuple(outputs.shape) if isinstance(outputs, Tensor) and outputs.ndim > 1 else None
