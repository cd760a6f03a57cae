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
    """Keeps layers from writing files, with a warning for each.

    Args:
        layers: the layers of a net.
        hint: the end of the warning, how to allow writing.
    """
    for layer in layers:
        if isinstance(layer, HDF5Output):
            layer.writes = False
            name = layer.spec.hdf5_output_param.file_name
            log.warning("hdf5_output_layer.cpp:52", f"layer {layer.spec.name!r} does not write {name!r}{hint}")


@LAYERS.register("HDF5Output")
class HDF5Output(Layer):
    """Writes two bottoms as the datasets ``data`` and ``label`` of ``file_name``, float32 with four axes.

    Each forward replaces the file, completely or not at all. (In Caffe, the second forward fails.)

    Attributes:
        writes: whether the layer writes; commands that only inspect a net turn it off.
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
            raise NetError(f"found bottoms of shapes {[list(shape) for shape in shapes]}; expected at most four axes")
        if len({shape[:1] for shape in shapes}) > 1:
            raise NetError(
                f"found bottoms of shapes {[list(shape) for shape in shapes]}; expected the same number of rows"
            )

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
