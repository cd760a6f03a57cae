"""HDF5Data: reads rows of the HDF5 files in a list, with one dataset for each top."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.list_file import read_lines, require_regular
from demitasse.caffe.sources.base import SOURCES, Source, State
from demitasse.errors import DataError, FileFormatError, NetError
from demitasse.extras import needs
from demitasse.files import system_path

if TYPE_CHECKING:
    import h5py

Array = NDArray[np.float32]


@SOURCES.register("HDF5Data")
class HDF5Data(Source):
    """Reads files in the order of the list and rows in file order; batches may span files, and wrap around.

    With ``shuffle``, the files of an epoch and the rows of each file are in random order. Only one file at a time is
    in memory.
    """

    splits_by_rank = True

    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        param = spec.hdf5_data_param
        if not param.batch_size:
            raise NetError("hdf5_data_param needs a batch_size above 0")
        self._names = list(spec.top)
        self._shuffle = param.shuffle
        self._files = _read_list(param.source)
        self._loaded: tuple[str, dict[str, Array]] = ("", {})
        super().__init__(spec, phase)
        self.shapes = [(param.batch_size, *self._data[name].shape[1:]) for name in self._names]

    @override
    def seed(self, value: int) -> None:
        super().seed(value)
        self._start_epoch()

    @override
    def epoch(self) -> int:
        return sum(_count_rows(path, self._names) for path in self._files)

    @override
    def next_batch(self) -> list[Tensor]:
        wanted = self.shapes[0][0] * self.ranks
        own = self.rank
        parts: list[list[Array]] = []
        while wanted:
            if self._row == len(self._rows):
                self._next_file()
            rows = self._rows[self._row : self._row + wanted]
            parts.append([self._data[name][rows[own :: self.ranks]] for name in self._names])
            own = (own - len(rows)) % self.ranks
            self._row += len(rows)
            wanted -= len(rows)
        return [torch.from_numpy(np.concatenate(top)) for top in zip(*parts, strict=True)]

    @override
    def state(self) -> State:
        # the order of the rows is not stored; it is drawn again from the generator's state before the file
        return {"random": self._before, "order": self._order, "file": self._file, "row": self._row}

    @override
    def restore(self, state: State) -> None:
        order = state["order"]
        if sorted(order) != list(range(len(self._files))):
            raise DataError(f"the state has {len(order)} HDF5 files, but the list has {len(self._files)}")
        super().restore(state)
        self._order = order
        self._open(state["file"])
        self._row = state["row"]
        if self._row > len(self._rows):
            raise DataError(f"{self._loaded[0]}: the state is at row {self._row} of {len(self._rows)}")

    def _start_epoch(self) -> None:
        count = len(self._files)
        self._order = self.random.permutation(count).tolist() if self._shuffle else list(range(count))
        self._open(0)

    def _next_file(self) -> None:
        if self._file + 1 == len(self._files):
            self._start_epoch()
        else:
            self._open(self._file + 1)

    def _open(self, index: int) -> None:
        self._file, self._row = index, 0
        self._data = self._load(self._files[self._order[index]])
        self._before = self.random.bit_generator.state
        count = len(self._data[self._names[0]])
        self._rows = self.random.permutation(count) if self._shuffle else np.arange(count)

    def _load(self, path: str) -> dict[str, Array]:
        if self._loaded[0] != path:
            data = _read_file(path, self._names)
            for name, array in self._loaded[1].items():
                if data[name].shape[1:] != array.shape[1:]:
                    raise DataError(
                        f"{path}: rows of dataset {name!r} have shape {list(data[name].shape[1:])}, "
                        f"those of {self._loaded[0]} {list(array.shape[1:])}"
                    )
            self._loaded = (path, data)
        return self._loaded[1]


def _read_list(path: str) -> list[str]:
    files = [name for line in read_lines(path, "a list of HDF5 files") for name in _names(line.strip())]
    if not files:
        raise DataError(f"{path}: the list contains no HDF5 files")
    return files


def _names(line: str) -> list[str]:
    """Returns the files in a line: one, whose name may contain spaces, or several existing ones, as in Caffe."""
    words = line.split()
    several = len(words) > 1 and not _exists(line) and all(map(_exists, words))
    return words if several or not line else [line]


def _exists(path: str) -> bool:
    return os.path.exists(system_path(path))


def _read_file(path: str, names: list[str]) -> dict[str, Array]:
    """Returns the datasets as float32, all with the same number of rows."""
    from demitasse.caffe.models.hdf5_file import dataset_array

    with _opened(path, names) as datasets:
        return {
            name: dataset_array(dataset, f"{path}: dataset {dataset.name!r}").astype(np.float32)
            for name, dataset in datasets.items()
        }


def _count_rows(path: str, names: list[str]) -> int:
    with _opened(path, names) as datasets:
        return len(datasets[names[0]])


@contextmanager
def _opened(path: str, names: list[str]) -> Iterator[dict[str, h5py.Dataset]]:
    """Opens the datasets of a file, all with the same number of rows."""
    with needs("h5py"):
        import h5py
    from demitasse.caffe.models.hdf5_file import find_object, open_hdf5, reading

    datasets: dict[str, h5py.Dataset] = {}
    require_regular(path, "not an HDF5 file that can be read")
    try:
        with open_hdf5(path, "an HDF5 file that can be read") as file:
            for name in names:
                datasets[name] = find_object(file, name, path)
                with reading(path):
                    known, has_rows = sorted(file), isinstance(datasets[name], h5py.Dataset) and datasets[name].ndim
                if not has_rows:
                    raise DataError(f"{path}: there is no dataset {name!r} with rows; the file has {known}")
            with reading(path):
                counts = {name: len(dataset) for name, dataset in datasets.items()}
            if len(set(counts.values())) > 1 or not counts[names[0]]:
                raise DataError(f"{path}: found numbers of rows {counts}; expected the same number above 0 for all")
            yield datasets
    except FileFormatError as error:
        raise DataError(str(error)) from error
