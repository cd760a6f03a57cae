"""MemoryData: provides batches of arrays that the caller sets."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.models.blobs import Array
from demitasse.caffe.sources.base import SOURCES, Shape, Source, State
from demitasse.errors import DataError, NetError


@SOURCES.register("MemoryData")
class MemoryData(Source):
    """Batches of the arrays given to :meth:`set_arrays`, in order; a batch may wrap around to the first rows."""

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

    def set_arrays(self, data: Array, labels: Array) -> None:
        """Sets the arrays to read, and returns to their beginning. float32 arrays are not copied.

        Args:
            data: (n, channels, height, width).
            labels: (n,), or with further axes of length 1.

        Raises:
            DataError: the shapes do not match the layer or each other, or there are no rows.
        """
        image = self.shapes[0][1:]
        if data.shape[1:] != image or not len(data):
            raise DataError(f"the data has shape {list(data.shape)}; expected [n, {', '.join(map(str, image))}]")
        if labels.size != len(data) or len(labels) != len(data):
            raise DataError(f"the labels have shape {list(labels.shape)}; expected one for each of {len(data)} rows")
        self._arrays = [np.asarray(data, np.float32), np.asarray(labels, np.float32).reshape(-1, 1, 1, 1)]
        self._position = 0

    @override
    def epoch(self) -> int | None:
        return len(self._arrays[0]) if self._arrays else None

    @override
    def next_batch(self) -> list[Tensor]:
        if not self._arrays:
            raise DataError("there is no data: call set_arrays(data, labels) before reading the first batch")
        end = self._position + self.shapes[0][0] * self.ranks
        rows = np.arange(self._position + self.rank, end, self.ranks) % len(self._arrays[0])
        self._position = end % len(self._arrays[0])
        return [torch.from_numpy(array[rows]) for array in self._arrays[: len(self.shapes)]]

    @override
    def seed(self, value: int) -> None:
        super().seed(value)
        self._position = 0

    @override
    def state(self) -> State:
        return {**super().state(), "position": self._position}

    @override
    def restore(self, state: State) -> None:
        super().restore(state)
        self._position = state["position"]
