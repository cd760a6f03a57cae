"""Reads and writes solverstate files, protobuf or HDF5, in Caffe's layout."""

from __future__ import annotations

from pathlib import Path

from demitasse.caffe import schema
from demitasse.caffe.models.messages import is_hdf5, parse_message, read_bytes
from demitasse.errors import FileFormatError
from demitasse.files import write_bytes


def write(state: schema.SolverState, path: str | Path, hdf5: bool = False) -> None:
    """Writes a SolverState, atomically.

    Raises:
        WriteError: the file cannot be written; an existing file is unchanged.
        MissingPackageError: ``hdf5`` is true and h5py is not installed.
    """
    if hdf5:
        from demitasse.caffe.training.solverstate_hdf5 import hdf5_bytes

        write_bytes(path, hdf5_bytes(state))
    else:
        write_bytes(path, state.SerializeToString())


def read(path: str | Path) -> schema.SolverState:
    """Reads a solverstate, protobuf or HDF5 as the content shows, into a SolverState message.

    Raises:
        FileFormatError: the file is missing, cut short, or of another format.
        MissingPackageError: it is HDF5 and h5py is not installed.
    """
    data = read_bytes(path)
    if is_hdf5(data):
        from demitasse.caffe.training.solverstate_hdf5 import read_hdf5

        state = read_hdf5(path)
    else:
        state = parse_message(schema.SolverState(), data, path)
    if not state.HasField("iter") or state.iter < 0 or not state.learned_net:
        raise FileFormatError(f"{path}: not a solverstate: it has no iteration or no path of a caffemodel")
    return state
