"""The HDF5 form of a solverstate, in Caffe's own layout."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.models import hdf5_file
from demitasse.caffe.models.blobs import array_blob, blob_array
from demitasse.errors import FileFormatError
from demitasse.extras import needs

with needs("h5py"):
    import h5py


def hdf5_bytes(state: schema.SolverState) -> bytes:
    """Returns a solverstate as the content of an HDF5 file, laid out as Caffe does."""
    buffer = io.BytesIO()  # HDF5 itself crashes when the disk is full
    with h5py.File(buffer, "w") as file:
        file["iter"] = np.array([state.iter], np.int32)
        file["learned_net"] = np.array(state.learned_net.encode() + b"\0", dtype=np.bytes_)
        file["current_step"] = np.array([state.current_step], np.int32)
        history = file.create_group("history")
        for index, blob in enumerate(state.history):
            history[str(index)] = blob_array(blob)
        for field in ("json", "torch_rng"):
            file[f"resume/{field}"] = np.frombuffer(getattr(state.resume, field), np.uint8)
    return buffer.getvalue()


def read_hdf5(path: str | Path) -> schema.SolverState:
    """Reads a solverstate in HDF5.

    Raises:
        FileFormatError: the file is damaged, or of another format.
    """
    with hdf5_file.open_hdf5(path, "a solverstate in HDF5") as file:
        with hdf5_file.reading(f"{path}: not a solverstate in HDF5"):  # also for values of other types
            state = schema.SolverState(
                iter=int(_required(file, "iter", path)[0]),
                learned_net=bytes(_required(file, "learned_net", path)[()]).rstrip(b"\0").decode(),
                current_step=int(_required(file, "current_step", path)[0]),
            )
            history = _required(file, "history", path)
            count = len(history)
        for index in range(count):
            array = hdf5_file.dataset_array(_required(history, str(index), path), f"{path}: history {index}")
            state.history.append(array_blob(array))
        for field in ("json", "torch_rng"):
            if (found := hdf5_file.find_object(file, f"resume/{field}", str(path))) is not None:
                with hdf5_file.reading(f"{path}: resume/{field}"):
                    setattr(state.resume, field, found[()].tobytes())
    return state


def _required(group: h5py.Group, name: str, path: str | Path) -> h5py.Group | h5py.Dataset:
    found = hdf5_file.find_object(group, name, str(path))
    if found is None:
        raise FileFormatError(f"{path}: not a solverstate in HDF5: there is no {name!r}")
    return found
