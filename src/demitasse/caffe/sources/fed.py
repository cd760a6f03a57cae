"""Input: tops that the caller feeds."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.sources.base import SOURCES, Source
from demitasse.errors import DataError, NetError


@SOURCES.register("Input")
class Input(Source):
    """Tops with one shape for all, or one shape for each; without shapes the tops are scalars."""

    fed = True

    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        super().__init__(spec, phase)
        given = [tuple(shape.dim) for shape in spec.input_param.shape]
        if len(given) not in (0, 1, len(spec.top)):
            raise NetError(f"input_param has {len(given)} shapes for {len(spec.top)} tops; expected 1 or one for each")
        self.shapes = given if len(given) == len(spec.top) else (given or [()]) * len(spec.top)

    @override
    def next_batch(self) -> list[Tensor]:
        raise DataError("an Input layer has no data of its own; its tops must be fed by the caller")
