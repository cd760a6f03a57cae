"""Base of the compressing layers, which have a mask for every blob."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.fillers import fill
from demitasse.caffe.layers.base import Layer, Shape
from demitasse.errors import MethodError


class EntryCount(NamedTuple):
    """The number of entries of a layer that are kept (surgery) or frozen (quantization), and of all entries."""

    marked: int
    total: int

    @property
    def share(self) -> float:
        """The marked entries divided by all entries."""
        return self.marked / self.total


class Masked(Layer):
    """Mixin for a layer with weight and bias: adds the blobs weight_mask and bias_mask, bool buffers.

    Blobs: weight, bias, weight_mask, bias_mask; without bias: weight, weight_mask.

    Attributes:
        parameter: the field of the LayerParameter with the settings.
        log_place: the source of the original's log lines, ``file:line``.
        iteration: the iteration of the solver, counted from 0; the solver sets it before each iteration.
    """

    parameter: ClassVar[str]
    log_place: ClassVar[str]
    weight: Tensor
    bias: Tensor | None

    def __init__(self, spec: schema.LayerParameter) -> None:
        super().__init__(spec)
        self.iteration = 0
        self.masked_names: list[str] = []

    @property
    def compression_settings(self) -> Any:
        """The message with the settings of the compression method."""
        return getattr(self.spec, self.parameter)

    @override
    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        if self.masked_names:
            return
        self.masked_names = list(self.blob_names)
        for name in self.masked_names:
            mask = self._filled(f"{name}_mask_filler", tuple(getattr(self, name).shape))
            self.register_buffer(f"{name}_mask", mask)
            self.blob_names.append(f"{name}_mask")

    def _filled(self, field: str, shape: Shape) -> Tensor:
        # Caffe's default filler is constant 0, which would cut all weights
        if not self.compression_settings.HasField(field):
            return torch.ones(shape, dtype=torch.bool)
        values = fill(getattr(self.compression_settings, field), shape)
        if not bool(((values == 0) | (values == 1)).all()):
            raise MethodError(f"{field} produces values other than 0 and 1")
        return values.bool()

    def mask(self, name: str) -> Tensor:
        """Returns the mask of blob ``name``."""
        found: Tensor = getattr(self, f"{name}_mask")
        return found

    def masked(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Returns name -> (values, mask), for weight and bias."""
        return {name: (getattr(self, name), self.mask(name)) for name in self.masked_names}

    def compression(self) -> EntryCount:
        """Counts the kept entries of weight and bias."""
        masks = [mask for _, mask in self.masked().values()]
        return EntryCount(sum(int(torch.count_nonzero(m)) for m in masks), sum(m.numel() for m in masks))
