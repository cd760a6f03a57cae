"""What the compressing layers share: a mask beside every blob, and values to compute with made from both."""

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
    """How many entries of a layer are kept (surgery) or frozen (quantization), and how many there are."""

    marked: int
    total: int

    @property
    def share(self) -> float:
        """The marked entries by all."""
        return self.marked / self.total


class Masked(Layer):
    """Mixin for a layer with weight and bias: adds the blobs weight_mask and bias_mask, bool buffers.

    Blobs: weight, bias, weight_mask, bias_mask; without bias: weight, weight_mask.

    Attributes:
        parameter: the field of the LayerParameter that holds the settings.
        log_place: where the original logs, ``file:line``.
        iteration: the solver's, set before each iteration; counted from 0.
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
        """The message of the compression method."""
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
        # Caffe's default filler is constant 0, which would silence the layer
        if not self.compression_settings.HasField(field):
            return torch.ones(shape, dtype=torch.bool)
        values = fill(getattr(self.compression_settings, field), shape)
        if not bool(((values == 0) | (values == 1)).all()):
            raise MethodError(f"{field} fills in values other than 0 and 1")
        return values.bool()

    def mask(self, name: str) -> Tensor:
        """Returns the mask of blob ``name``."""
        found: Tensor = getattr(self, f"{name}_mask")
        return found

    def masked(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Returns name -> (values, mask) of weight and bias."""
        return {name: (getattr(self, name), self.mask(name)) for name in self.masked_names}

    def compression(self) -> EntryCount:
        """Counts the entries of weight and bias that are kept."""
        masks = [mask for _, mask in self.masked().values()]
        return EntryCount(sum(int(torch.count_nonzero(m)) for m in masks), sum(m.numel() for m in masks))
