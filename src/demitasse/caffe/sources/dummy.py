"""DummyData: makes blobs by fillers."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.fillers import fill
from demitasse.caffe.sizes import check_size
from demitasse.caffe.sources.base import SOURCES, Shape, Source
from demitasse.errors import NetError

T = TypeVar("T")


@SOURCES.register("DummyData")
class DummyData(Source):
    """Fills tops with one filler and shape for all, or one for each; without fillers the tops are 0.

    Constant tops are filled once, all others for each batch, from torch's global generator like all fillers.
    """

    splits_by_rank = True  # nothing is read; each process makes its own batches

    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        super().__init__(spec, phase)
        param = spec.dummy_data_param
        count = len(spec.top)
        self.shapes = _one_a_top("shape", _shapes(param), count)
        for name, shape in zip(spec.top, self.shapes, strict=True):
            check_size(shape, f"top {name!r}")
        fillers = list(param.data_filler) or [schema.FillerParameter()]
        self._fillers = _one_a_top("data_filler", fillers, count)
        self._constants = {
            index: fill(filler, shape)
            for index, (filler, shape) in enumerate(zip(self._fillers, self.shapes, strict=True))
            if filler.type == "constant"
        }

    @override
    def constants(self) -> dict[int, Tensor]:
        return dict(self._constants)

    @override
    def next_batch(self) -> list[Tensor]:
        return [
            self._constants[index].clone() if index in self._constants else fill(filler, shape)
            for index, (filler, shape) in enumerate(zip(self._fillers, self.shapes, strict=True))
        ]


def _shapes(param: schema.DummyDataParameter) -> list[Shape]:
    legacy = {axis: list(getattr(param, axis)) for axis in ("num", "channels", "height", "width")}
    if param.shape and any(legacy.values()):
        raise NetError("dummy_data_param has both shape and num, channels, height, width; give one of them")
    if param.shape:
        return [tuple(shape.dim) for shape in param.shape]
    count = max(map(len, legacy.values()))
    return list(zip(*(_one_a_top(axis, values, count) for axis, values in legacy.items()), strict=True))


def _one_a_top(what: str, given: list[T], count: int) -> list[T]:
    if len(given) not in (1, count) or not given:
        raise NetError(
            f"dummy_data_param: {what} is given {len(given)} times for {count} tops; expected once, or once for each"
        )
    return given if len(given) == count else given * count
