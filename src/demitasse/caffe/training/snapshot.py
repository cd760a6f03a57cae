"""Snapshots: a caffemodel and a solverstate, from which training resumes as if it had never stopped.

The solverstate has Caffe's layout. State that Caffe does not store (positions in the data, generators, surgery
statistics, INQ stages, the window of the smoothed loss) is in the field ``resume``, which Caffe's readers skip.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from demitasse.caffe import log, schema
from demitasse.caffe.models.blobs import Array, array_blob, blob_array, blob_arrays
from demitasse.caffe.net import Net
from demitasse.caffe.training import lr_policy, solverstate
from demitasse.caffe.training.resume import (
    Resume,
    damage_reported,
    parse_resume,
    restore_sources,
    set_torch_generators,
    source_states,
    torch_generators,
)
from demitasse.caffe.training.run import SolverRun
from demitasse.caffe.weights import load_weights, save_weights
from demitasse.errors import FileFormatError, SnapshotError, WriteError
from demitasse.files import system_path, text_path


def write(run: SolverRun) -> Path:
    """Writes ``<prefix>_iter_<N>.caffemodel``, then the solverstate that refers to it, each atomically.

    Only rank 0 writes; its file also contains the states of the other ranks.

    Returns:
        The path of the solverstate.

    Raises:
        SnapshotError: a file cannot be written; earlier snapshots are unchanged.
    """
    hdf5 = run.param.snapshot_format == schema.SolverParameter.HDF5
    kind, ending = ("HDF5", ".h5") if hdf5 else ("binary proto", "")
    model = Path(f"{run.prefix}_iter_{run.iter}.caffemodel{ending}")
    path = Path(f"{run.prefix}_iter_{run.iter}.solverstate{ending}")
    generators = run.ranks.gather(torch_generators(run.device))
    if run.ranks.rank:
        return path
    state = _state(run, str(model), generators)
    try:
        log.info("solver.cpp:451", f"Snapshotting to {kind} file {model}")
        save_weights(run.net, model, hdf5)
        log.info("sgd_solver.cpp:343", f"Snapshotting solver state to {kind} file {path}")
        solverstate.write(state, path, hdf5)
    except WriteError as error:
        last = run.last_snapshot or "none"
        raise SnapshotError(f"{error}; the last good snapshot: {last}") from error
    return path


def restore(run: SolverRun, path: str | Path) -> None:
    """Restores a solver from a snapshot of demitasse or of Caffe.

    A solverstate of Caffe has no state of the data or of surgery: the data restarts at the first record, and surgery
    computes its statistics from the restored weights. A snapshot of another number of ranks resumes at the same
    record; additional ranks start with newly seeded dropout.

    Raises:
        SnapshotError: the snapshot belongs to another net, or its caffemodel is missing.
        FileFormatError: a file is cut short or of another format.
        WeightsError: the caffemodel belongs to another net.
    """
    state = solverstate.read(path)
    with damage_reported(path):
        resume = parse_resume(state.resume.json)
    history = _history(state, path)
    _check(run, resume, history, path)
    model = _model_path(state.learned_net, path)
    log.info("caffe.cpp:240", f"Resuming from {path} with the weights of {model}")
    load_weights(run.net, model)
    with torch.no_grad():
        for tensor, array in zip(run.optimizer.history, history, strict=True):
            tensor.copy_(torch.from_numpy(array))
    run.iter = state.iter
    for name, layer in run.net.named_layers().items():
        with damage_reported(path, f"layer {name!r}: "):
            layer.restore(resume.get("layers", {}).get(name, {}))
    if resume:
        with damage_reported(path):
            _restore_rest(run, resume, state.resume.torch_rng)
    else:
        log.warning(
            "solver.cpp:480",
            f"{path} has no state of the data and of surgery: the data restarts at the first record, "
            "surgery computes its statistics from the restored weights",
        )


def _state(run: SolverRun, model: str, generators: list[dict[str, str]]) -> schema.SolverState:
    state = schema.SolverState(
        iter=run.iter,
        learned_net=text_path(model),
        current_step=lr_policy.current_step(run.param, max(run.iter - 1, 0)),
    )
    state.history.extend(map(array_blob, blob_arrays(run.optimizer.history)))
    version, numbers, _ = run.generator.getstate()
    first, *others = generators
    resume: Resume = {
        "net": run.net.spec.name,
        "blobs": _blobs(run.net),
        "seed": run.seed,
        "generator": [version, numbers],
        "cuda_rng": first["cuda"],
        "other_ranks": others,
        "losses": [float(loss) for loss in run.losses],
        "layers": {name: layer.state() for name, layer in run.net.named_layers().items()},
        "sources": [source_states(net) for net in (run.net, *run.test_nets)],
    }
    resume["layers"] = {name: kept for name, kept in resume["layers"].items() if kept}
    state.resume.json = json.dumps(resume).encode()
    state.resume.torch_rng = bytes.fromhex(first["cpu"])
    return state


def _restore_rest(run: SolverRun, resume: Resume, torch_rng: bytes) -> None:
    run.seed = resume["seed"]
    version, numbers = resume["generator"]
    run.generator.setstate((version, tuple(numbers), None))
    generators = [{"cpu": torch_rng.hex(), "cuda": resume["cuda_rng"]}, *resume.get("other_ranks", [])]
    if run.ranks.rank < len(generators):
        set_torch_generators(generators[run.ranks.rank], run.device)
    run.losses.extend(resume["losses"])
    for net, states in zip((run.net, *run.test_nets), resume["sources"], strict=False):
        restore_sources(net, states)


def _blobs(net: Net) -> list[list[object]]:
    """Returns layer, index and shape of every learnable blob, to recognize the snapshot of another net."""
    return [[blob.layer, blob.index, list(blob.tensor.shape)] for blob in net.learnable]


def _check(run: SolverRun, resume: Resume, history: list[Array], path: str | Path) -> None:
    """Raises SnapshotError if the solverstate belongs to another net or another solver type."""
    ours = _blobs(run.net)
    if "blobs" in resume:
        for theirs, mine in zip(resume["blobs"], ours, strict=False):
            if theirs != mine:
                raise SnapshotError(
                    f"{path}: written by another net ({resume['net']!r}): it has blob {theirs[1]} of layer "
                    f"{theirs[0]!r} with shape {theirs[2]}, but this net has blob {mine[1]} of layer "
                    f"{mine[0]!r} with shape {mine[2]}"
                )
        if len(resume["blobs"]) != len(ours):
            raise SnapshotError(
                f"{path}: written by another net ({resume['net']!r}) with {len(resume['blobs'])} blobs; "
                f"this net has {len(ours)}"
            )
    expected = run.optimizer.history
    for index, (tensor, array) in enumerate(zip(expected, history, strict=False)):
        if tuple(tensor.shape) != array.shape:
            layer, blob, shape = ours[index % len(ours)]
            raise SnapshotError(
                f"{path}: written by another net: history {index} has shape {list(array.shape)}, "
                f"but blob {blob} of layer {layer!r} has {shape}"
            )
    if len(history) != len(expected):
        raise SnapshotError(
            f"{path}: found {len(history)} history blobs, but solver type {run.param.type} needs "
            f"{len(expected)} for this net: written by another net or another solver type"
        )


def _history(state: schema.SolverState, path: str | Path) -> list[Array]:
    try:
        return [blob_array(blob).copy() for blob in state.history]
    except FileFormatError as error:
        raise error.within(str(path)) from error


def _model_path(learned_net: str, path: str | Path) -> Path:
    """Returns the path of the caffemodel: as written (like Caffe), else beside the solverstate."""
    candidates = [Path(system_path(learned_net)), Path(path).parent / Path(system_path(learned_net)).name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    places = " or ".join(dict.fromkeys(map(str, candidates)))
    raise SnapshotError(f"{path}: its caffemodel is missing; expected it at {places}")
