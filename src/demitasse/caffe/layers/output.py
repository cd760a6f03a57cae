"""HDF5Output: a layer that writes its bottoms to a file."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor
from typing_extensions import override

from demitasse.caffe import log
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError
from demitasse.extras import needs
from demitasse.files import system_path, write_bytes


def disable_file_output(layers: Iterable[Layer], hint: str = "") -> None:
    """Lets the layers that write files write none; a warning tells of each.

    Args:
        layers: of a net.
        hint: how to let them write, for the warning.
    """
    for layer in layers:
        if isinstance(layer, HDF5Output):
            layer.writes = False
            name = layer.spec.hdf5_output_param.file_name
            log.warning("hdf5_output_layer.cpp:52", f"layer {layer.spec.name!r} does not write {name!r}{hint}")


@LAYERS.register("HDF5Output")
class HDF5Output(Layer):
    """Writes two bottoms as the datasets ``data`` and ``label`` of ``file_name``, float32 with four axes.

    Every forward writes the file anew, whole or not at all. (Caffe can write it once: its second forward fails.)

    Attributes:
        writes: whether it does; what only looks at a stranger's net lets it be.
    """

    writes = True

    bottom_count = (2, 2)
    top_count = (0, 0)

    @override
    def setup(self, *shapes: Shape) -> None:
        self._path = Path(system_path(self.spec.hdf5_output_param.file_name))
        if not self._path.name:
            raise NetError("hdf5_output_param needs a file_name")
        if max(map(len, shapes)) > 4:
            raise NetError(f"data and label have at most four axes, found {[list(shape) for shape in shapes]}")
        if len({shape[:1] for shape in shapes}) > 1:
            raise NetError(f"data and label need as many rows each, found shapes {[list(shape) for shape in shapes]}")

    @override
    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        if not self.writes:
            return ()
        with needs("h5py"):
            import h5py
        buffer = io.BytesIO()  # HDF5 itself crashes when the disk is full
        with h5py.File(buffer, "w") as file:
            for name, bottom in zip(("data", "label"), bottoms, strict=True):
                shape = (*bottom.shape, 1, 1, 1, 1)[:4]
                file[name] = bottom.detach().cpu().float().reshape(shape).numpy()
        write_bytes(self._path, buffer.getvalue())
        return ()
