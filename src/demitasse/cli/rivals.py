"""Other runtimes beside which bench measures a plan."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demitasse.errors import ExportError

if TYPE_CHECKING:
    from torch import Tensor

    from demitasse.graph.model import Model
    from demitasse.runtime import Plan

# greatest difference of an output, relative to its greatest magnitude
_TOLERANCE = 1e-4


def rivals(
    names: str, model: Path, plan: Plan, inputs: Mapping[str, Tensor], threads: int
) -> dict[str, Callable[[], object]]:
    """Returns name -> what computes the same batch with another runtime, from the net as ONNX.

    Args:
        names: of the runtimes, separated by commas; empty for none.
        model: the .demi file.
        plan: its plan; the outputs are compared with those of the plan.
        inputs: the batch by name.
        threads: that compute it.

    Raises:
        UnknownNameError: there is no such runtime.
        MissingPackageError: it is not installed.
        ExportError: ONNX cannot express the net, or a runtime computes something else.
    """
    from demitasse.runtime.rivals import RIVALS, require

    makers = {name: RIVALS[name] for name in dict.fromkeys(filter(None, names.replace(" ", "").split(",")))}
    if not makers:
        return {}
    for name in makers:
        require(name)  # fails before the export, not after it
    from demitasse.export import export

    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    expected = {name: tensor.numpy() for name, tensor in plan(inputs).items()}
    found: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory(prefix="demitasse-") as folder:
        path = Path(folder, "net.onnx")
        export(_exportable(model, plan, inputs), path, check=False)
        for name, make in makers.items():
            run = make(path, arrays, threads)
            for output, theirs in zip(expected, run(), strict=True):
                _compare(name, output, theirs, expected[output])
            found[name] = run
    return found


def _exportable(path: Path, plan: Plan, inputs: Mapping[str, Tensor]) -> Model:
    from demitasse.graph.caffe import of_files
    from demitasse.graph.model import Model
    from demitasse.graph.pytorch import Exported
    from demitasse.runtime.stored import stored_net

    found = stored_net(path)
    if not isinstance(found, Exported):
        return of_files(None, path)
    return Model(
        found.graph, {name: tuple(each.shape) for name, each in inputs.items()}, dict.fromkeys(inputs, 0), plan
    )


def _compare(rival: str, output: str, found: np.ndarray, expected: np.ndarray) -> None:
    largest = np.abs(expected).max(initial=0)
    difference = np.abs(found.reshape(expected.shape) - expected).max(initial=0)
    if not difference <= _TOLERANCE * largest:
        raise ExportError(
            f"output {output!r} of {rival} differs by {difference:.3g}, and its greatest magnitude is {largest:.3g}; "
            f"expected at most {_TOLERANCE:g} of that"
        )
