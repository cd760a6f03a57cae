"""Runs a graph from sparse weights on tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from demitasse.runtime.native.arrays import ArrayPlan
from demitasse.runtime.native.lowering import Memo, NotNative

__all__ = ["Memo", "NativePlan", "NotNative"]


class NativePlan(ArrayPlan):
    """Computes a graph for batches of one size, on the CPU, in float32; see :class:`ArrayPlan` for the arguments."""

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the outputs by name for inputs by name."""
        found = self.arrays({name: batch[name].detach().numpy() for name in self._made.inputs})
        return {name: torch.from_numpy(array) for name, array in found.items()}
