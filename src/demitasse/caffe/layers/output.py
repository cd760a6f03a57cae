"""HDF5Output and MatWrite: layers that write their bottoms to files."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor
from typing_extensions import override

from demitasse.caffe import log
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.list_file import read_lines
from demitasse.errors import DataError, NetError
from demitasse.extras import needs
from demitasse.files import system_path, write_bytes


class FileOutput(Layer, ABC):
    """Base of layers that write files, each completely or not at all.

    Attributes:
        writes: whether the layer writes; commands that only inspect a net turn it off.
    """

    writes = True

    top_count = (0, 0)

    @property
    @abstractmethod
    def target(self) -> str:
        """The file, or the beginning of the names of the files."""

    @abstractmethod
    def write(self, *bottoms: Tensor) -> None:
        """Writes the bottoms."""

    @override
    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        if self.writes:
            self.write(*(bottom.detach().cpu().float() for bottom in bottoms))
        return ()


def disable_file_output(layers: Iterable[Layer], hint: str = "") -> None:
    """Keeps layers from writing files, with a warning for each.

    Args:
        layers: the layers of a net.
        hint: the end of the warning, how to allow writing.
    """
    for layer in layers:
        if isinstance(layer, FileOutput):
            layer.writes = False
            log.warning("hdf5_output_layer.cpp:52", f"layer {layer.spec.name!r} does not write {layer.target!r}{hint}")


@LAYERS.register("HDF5Output")
class HDF5Output(FileOutput):
    """Writes two bottoms as the datasets ``data`` and ``label`` of ``file_name``, float32 with four axes.

    Each forward replaces the file. (In Caffe, the second forward fails.)
    """

    bottom_count = (2, 2)

    @property
    @override
    def target(self) -> str:
        return self.spec.hdf5_output_param.file_name

    @override
    def setup(self, *shapes: Shape) -> None:
        self._path = Path(system_path(self.target))
        if not self._path.name:
            raise NetError("hdf5_output_param needs a file_name")
        _check_axes(shapes)
        if len({shape[:1] for shape in shapes}) > 1:
            raise NetError(
                f"found bottoms of shapes {[list(shape) for shape in shapes]}; expected the same number of rows"
            )

    @override
    def write(self, *bottoms: Tensor) -> None:
        with needs("h5py"):
            import h5py
        buffer = io.BytesIO()  # HDF5 itself crashes when the disk is full
        with h5py.File(buffer, "w") as file:
            for name, bottom in zip(("data", "label"), bottoms, strict=True):
                file[name] = bottom.reshape((*bottom.shape, 1, 1, 1, 1)[:4]).numpy()
        write_bytes(self._path, buffer.getvalue())


@LAYERS.register("MatWrite")
class MatWrite(FileOutput):
    """Writes each bottom as ``data`` of a MATLAB file, (width, height, channels, n), at every ``period``-th forward.

    DeepLab's. The file of bottom i is ``<prefix><name>_blob_<i>.mat``. The names are the first words of the lines of
    ``source``, in order, without their last ``strip`` characters; or else ``iter_<number of the forward>``.
    """

    bottom_count = (1, None)

    @property
    @override
    def target(self) -> str:
        return self.spec.mat_write_param.prefix

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.mat_write_param
        if settings.strip < 0 or settings.period < 1:
            raise NetError(f"strip is {settings.strip} and period {settings.period}; expected 0 or more, 1 or more")
        _check_axes(shapes)
        self._period, self._count = settings.period, 0
        self._names: list[str] | None = None

    @override
    def write(self, *bottoms: Tensor) -> None:
        number, self._count = self._count, self._count + 1
        if number % self._period:
            return
        with needs("scipy", "pycaffe"):
            from scipy import io as matlab
        name = self._name(number)
        for index, bottom in enumerate(bottoms):
            buffer = io.BytesIO()
            matlab.savemat(buffer, {"data": bottom.reshape((*bottom.shape, 1, 1, 1, 1)[:4]).numpy().T})
            write_bytes(Path(system_path(f"{self.target}{name}_blob_{index}.mat")), buffer.getvalue())

    def _name(self, number: int) -> str:
        """Returns the name of the files of a forward.

        Raises:
            DataError: the list cannot be read, has no line for it, or a name is too short.
        """
        settings = self.spec.mat_write_param
        if not settings.HasField("source"):
            return f"iter_{number}"
        if self._names is None:
            self._names = [line.split()[0] for line in read_lines(settings.source, "a list of names") if line.split()]
        if number >= len(self._names):
            raise DataError(f"{settings.source}: the list has {len(self._names)} names; this is forward {number + 1}")
        name = self._names[number]
        if len(name) <= settings.strip:
            raise DataError(f"{settings.source}: {name!r} has {len(name)} characters; strip is {settings.strip}")
        return name[: len(name) - settings.strip]


def _check_axes(shapes: tuple[Shape, ...]) -> None:
    if max(map(len, shapes)) > 4:
        raise NetError(f"found bottoms of shapes {[list(shape) for shape in shapes]}; expected at most four axes")
