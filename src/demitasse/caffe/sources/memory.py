"""MemoryData: arrays that the caller sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.sources.base import SOURCES, Shape, Source
from demitasse.errors import DataError, NetError


@SOURCES.register("MemoryData")
class MemoryData(Source):
    """Batches of the arrays given to :meth:`set_arrays`, in order, wrapping round inside a batch."""

    splits_by_rank = True

    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        self._position = 0
        super().__init__(spec, phase)
        param = spec.memory_data_param
        image = (param.channels, param.height, param.width)
        if 0 in (param.batch_size, *image):
            raise NetError("memory_data_param needs batch_size, channels, height and width above 0")
        self._arrays: list[NDArray[np.float32]] = []
        shapes: list[Shape] = [(param.batch_size, *image), (param.batch_size, 1, 1, 1)]
        self.shapes = shapes[: len(spec.top)]

    def set_arrays(self, data: NDArray[Any], labels: NDArray[Any]) -> None:
        """Takes the arrays to read from, and goes to their beginning. They are not copied if float32.

        Args:
            data: (n, channels, height, width).
            labels: (n,), or with axes of length 1 behind.

        Raises:
            DataError: the shapes do not fit the layer or each other, or there are no rows.
        """
        image = self.shapes[0][1:]
        if data.shape[1:] != image or not len(data):
            raise DataError(f"the data must have shape [n, {', '.join(map(str, image))}], found {list(data.shape)}")
        if labels.size != len(data) or len(labels) != len(data):
            raise DataError(f"{len(data)} rows of data need as many labels, found shape {list(labels.shape)}")
        self._arrays = [np.asarray(data, np.float32), np.asarray(labels, np.float32).reshape(-1, 1, 1, 1)]
        self._position = 0

    @override
    def next_batch(self) -> list[Tensor]:
        if not self._arrays:
            raise DataError("no data: call set_arrays(data, labels) before the first batch is read")
        end = self._position + self.shapes[0][0] * self.ranks
        rows = np.arange(self._position + self.rank, end, self.ranks) % len(self._arrays[0])
        self._position = end % len(self._arrays[0])
        return [torch.from_numpy(array[rows]) for array in self._arrays[: len(self.shapes)]]

    @override
    def seed(self, value: int) -> None:
        super().seed(value)
        self._position = 0

    @override
    def state(self) -> dict[str, Any]:
        return {**super().state(), "position": self._position}

    @override
    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._position = state["position"]
