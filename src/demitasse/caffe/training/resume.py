"""The state of a run that Caffe does not store: validated when it is read, taken from and given back to the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demitasse.caffe.net import Net
from demitasse.caffe.sources.base import State
from demitasse.errors import SnapshotError

Resume = dict[str, Any]  # plain values for JSON
States = dict[str, State]


@contextmanager
def damage_reported(path: str | Path, place: str = "") -> Iterator[None]:
    """Converts errors of invalid values, raised while a state from a file is restored, to SnapshotError.

    Raises:
        SnapshotError: the file is damaged. Other exceptions are not converted.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        what = f"the stored state of the run is damaged: {place}{type(error).__name__}: {error}"
        raise SnapshotError(f"{path}: {what}") from error


# the entries of the state, with their types
_KINDS: dict[str, type] = {
    "net": str,
    "blobs": list,
    "seed": int,
    "generator": list,
    "cuda_rng": str,
    "other_ranks": list,
    "losses": list,
    "layers": dict,
    "sources": list,
}


def parse_resume(text: bytes) -> Resume:
    """Parses the state of a run in a snapshot; returns an empty dictionary for a snapshot of Caffe.

    Raises:
        ValueError: the text is not JSON, or an entry is missing or of another type.
    """
    if not text:
        return {}
    resume = json.loads(text)
    if not isinstance(resume, dict):
        raise ValueError(f"expected entries by name, found {type(resume).__name__}")
    for name, kind in _KINDS.items():
        if name in resume or name != "other_ranks":  # older versions did not write it
            _check_kind(resume.get(name), kind, name)
    for blob in resume["blobs"]:
        _check_kind(blob, list, "blobs")
        if len(blob) != 3:
            raise ValueError(f"blobs: expected layer, index and shape, found {blob}")
    for state in (*resume["sources"], *resume["layers"].values()):
        _check_kind(state, dict, "sources or layers")
    for loss in resume["losses"]:
        _check_kind(loss, float, "losses")
    return resume


def _check_kind(value: object, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{name}: expected {kind.__name__}, found {type(value).__name__}")


def torch_generators(device: torch.device) -> dict[str, str]:
    """Returns the states of this rank's torch generators, as plain values for JSON."""
    cuda = torch.cuda.get_rng_state(device).numpy().tobytes() if device.type == "cuda" else b""
    return {"cpu": torch.get_rng_state().numpy().tobytes().hex(), "cuda": cuda.hex()}


def set_torch_generators(states: dict[str, str], device: torch.device) -> None:
    """Restores the states of torch's generators.

    Raises:
        ValueError: a state does not match the installed version of torch.
    """
    try:
        torch.set_rng_state(_bytes_tensor(bytes.fromhex(states["cpu"])))
        if states["cuda"] and device.type == "cuda":
            torch.cuda.set_rng_state(_bytes_tensor(bytes.fromhex(states["cuda"])), device)
    except RuntimeError as error:  # the state has another size than in this version of torch
        raise ValueError(f"the state of a generator: {error}") from error


def source_states(net: Net) -> States:
    """Returns label -> state, for the sources of a net."""
    return {name: source.state() for name, source in net.sources.items()}


def restore_sources(net: Net, states: States) -> None:
    """Restores the sources of a net to the states returned by :func:`source_states`."""
    for name, source in net.sources.items():
        if name in states:
            source.restore(states[name])


def _bytes_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
