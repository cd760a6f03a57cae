"""Nets for other runtimes: ONNX, programs of torch.export, PyTorch source; and C for microcontrollers.

To add a target, register it under its ending in :data:`TARGETS`, in a file that is imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from demitasse.errors import UsageError
from demitasse.export import onnx, program, source
from demitasse.export.c_source import CReport, c
from demitasse.export.c_source.report import CostReport, cost_report
from demitasse.export.check import OutputComparison, compare
from demitasse.export.targets import TARGETS
from demitasse.files import write_bytes
from demitasse.graph import Model
from demitasse.graph.caffe import of_files, of_net
from demitasse.registry import suggest

__all__ = [
    "TARGETS",
    "CReport",
    "CostReport",
    "ExportReport",
    "Model",
    "OutputComparison",
    "c",
    "cost_report",
    "export",
    "of_files",
    "of_net",
]

_FILES = (onnx, program, source)


class ExportReport(NamedTuple):
    """What an export wrote.

    Attributes:
        files: paths of the files; the first one is the path that was asked for.
        about: a short description of them.
        rows: how far each output is from that of the net; empty where nothing was compared.
    """

    files: list[Path]
    about: str
    rows: list[OutputComparison]


def export(model: nn.Module | Model, path: str | Path, check: bool = True) -> ExportReport:
    """Writes a net for another runtime. If the file computed something else, nothing is written.

    Args:
        model: a Caffe net, or a model of :func:`of_net` or :func:`of_files`.
        path: the file to write; its suffix says which target it is for: ``.onnx``, ``.pt2`` (torch.export) or ``.py``
            (PyTorch source, whose weights are written beside it as ``.safetensors``).
        check: whether to run both on random inputs and compare the outputs.

    Returns:
        The files, and by how much the outputs differ.

    Raises:
        UsageError: there is no target with this suffix, or a package that it needs is not installed.
        ExportError: the target cannot express the net, or computes something else.
    """
    path = Path(path)
    if path.suffix not in TARGETS:
        near = suggest(path.suffix, list(TARGETS)) if path.suffix != ".c" else "demitasse.export.c writes C"
        raise UsageError(f"{path}: there is no export target for the suffix {path.suffix!r}; {near}")
    target = TARGETS[path.suffix]
    model = model if isinstance(model, Model) else of_net(model)
    made = target.make(model)
    rows = compare(model, lambda inputs: target.run(made.files, inputs), target.tolerance) if check else []
    written = []
    # the weights are there before the source that loads them
    for suffix, content in reversed(made.files.items()):
        written.append(path.with_suffix(suffix))
        write_bytes(written[-1], content)
    return ExportReport(written[::-1], made.about, rows)
