"""The file of a solverstate, protobuf or HDF5, in Caffe's own layout."""

from __future__ import annotations

from pathlib import Path

from demitasse.caffe import schema
from demitasse.caffe.models.messages import is_hdf5, parse_message, read_bytes
from demitasse.errors import FileFormatError
from demitasse.files import write_bytes


def write(state: schema.SolverState, path: str | Path, hdf5: bool = False) -> None:
    """Writes a SolverState, atomically.

    Raises:
        WriteError: the file cannot be written; an older one is as before.
        MissingPackageError: ``hdf5`` and h5py is not installed.
    """
    if hdf5:
        from demitasse.caffe.training.solverstate_hdf5 import hdf5_bytes

        write_bytes(path, hdf5_bytes(state))
    else:
        write_bytes(path, state.SerializeToString())


def read(path: str | Path) -> schema.SolverState:
    """Reads a solverstate of either form (told by content) into a SolverState message.

    Raises:
        FileFormatError: missing, cut short, or of another kind.
        MissingPackageError: it is in HDF5 and h5py is not installed.
    """
    data = read_bytes(path)
    if is_hdf5(data):
        from demitasse.caffe.training.solverstate_hdf5 import read_hdf5

        state = read_hdf5(path)
    else:
        state = parse_message(schema.SolverState(), data, path)
    if not state.HasField("iter") or state.iter < 0 or not state.learned_net:
        raise FileFormatError(f"{path}: not a solverstate (no iteration or no name of a caffemodel)")
    return state
