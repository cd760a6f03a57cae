"""Checks the settings of a solver before it trains: its types, and whether its snapshots can be written."""

from __future__ import annotations

import os
from pathlib import Path

from demitasse.caffe import schema
from demitasse.caffe.list_file import is_text
from demitasse.caffe.net import Net
from demitasse.caffe.training import lr_policy
from demitasse.caffe.training.average_precision import VERSIONS
from demitasse.caffe.training.optimizers import OPTIMIZERS, Optimizer
from demitasse.errors import PrototxtError, SnapshotError, UnknownNameError
from demitasse.files import system_path


def snapshot_prefix(param: schema.SolverParameter, origin: str) -> str:
    """Returns ``snapshot_prefix`` or, as in Caffe, the solver's path without its extension."""
    prefix = system_path(param.snapshot_prefix or os.path.splitext(origin)[0])
    return os.path.join(prefix, Path(origin).stem) if os.path.isdir(prefix) else prefix


def optimizer_type(param: schema.SolverParameter, origin: str) -> type[Optimizer]:
    """Returns the optimizer class of a solver, after checking that its ``lr_policy`` is known too.

    Raises:
        UnknownNameError: the solver type or the policy is unknown.
    """
    try:
        if param.lr_policy:
            lr_policy.LR_POLICIES[param.lr_policy]
        return OPTIMIZERS[param.type]
    except UnknownNameError as error:
        raise error.within(origin) from error


def check_evaluation(param: schema.SolverParameter, origin: str) -> None:
    """Checks how a solver's tests judge the outputs of their nets.

    Raises:
        PrototxtError: ``eval_type`` or ``ap_version`` is unknown.
    """
    for field, known in (("eval_type", ("classification", "detection")), ("ap_version", tuple(VERSIONS))):
        if (found := getattr(param, field)) not in known:
            raise PrototxtError(f"{origin}: {field} is {found!r}; expected {', '.join(known[:-1])} or {known[-1]}")


def check_names(param: schema.SolverParameter, net: Net) -> None:
    """Checks that snapshots in HDF5 can be written, before the training and not at the first snapshot.

    Raises:
        WeightsError: HDF5 cannot hold the name of a layer.
        MissingPackageError: h5py is not installed.
    """
    if param.snapshot_format == schema.SolverParameter.HDF5 and (param.snapshot or param.snapshot_after_train):
        from demitasse.caffe.models.hdf5_file import check_name

        for label in net.labels:
            check_name(label)


def check_prefix(param: schema.SolverParameter, prefix: str) -> None:
    """Raises SnapshotError if snapshots are requested but cannot be written."""
    folder = os.path.dirname(prefix) or "."
    if not is_text(prefix):
        raise SnapshotError(f"snapshot_prefix {prefix!r} is not UTF-8; a solverstate cannot store such a name")
    if "\0" in prefix or ((param.snapshot or param.snapshot_after_train) and not os.access(folder, os.W_OK)):
        raise SnapshotError(f"snapshot_prefix {prefix!r}: the folder {folder!r} does not exist or is read-only")
