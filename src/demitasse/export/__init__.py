"""Caffe nets for other runtimes: ONNX, programs of torch.export, PyTorch source. One target a file.

To add a target, register it under its ending in :data:`TARGETS`, in a file that is imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from demitasse.errors import UsageError
from demitasse.export import onnx, program, source
from demitasse.export.check import Row, compare
from demitasse.export.targets import TARGETS
from demitasse.files import write_bytes
from demitasse.graph import Model
from demitasse.graph.caffe import of_files, of_net
from demitasse.registry import suggest

__all__ = ["TARGETS", "Model", "Report", "Row", "export", "of_files", "of_net"]

_FILES = (onnx, program, source)


class Report(NamedTuple):
    """What an export wrote.

    Attributes:
        files: the files.
        about: a few words on them.
        rows: an entry for each output: how far it is from the net's; none where nothing was compared.
    """

    files: list[Path]
    about: str
    rows: list[Row]


def export(model: nn.Module | Model, path: str | Path, check: bool = True) -> Report:
    """Writes a net for another runtime; nothing is written if it computes something else there.

    Args:
        model: a Caffe net, or a model of :func:`of_net` or :func:`of_files`.
        path: the file to be written; its ending tells the form: ``.onnx``, ``.pt2`` or ``.py``. The weights of
            ``.py`` stand beside it in ``.safetensors``.
        check: run both on random inputs, and compare the outputs.

    Returns:
        The files, and by how much the outputs differ.

    Raises:
        UsageError: the ending is none of a target, or a package is not installed.
        ExportError: the target cannot express the net, or gives something else than the net.
    """
    path = Path(path)
    if path.suffix not in TARGETS:
        near = suggest(path.suffix, list(TARGETS))
        raise UsageError(f"{path}: no export has the ending {path.suffix or 'nothing'!r}; {near}")
    target = TARGETS[path.suffix]
    model = model if isinstance(model, Model) else of_net(model)
    made = target.make(model)
    rows = compare(model, lambda inputs: target.run(made.files, inputs), target.tolerance) if check else []
    written = []
    # what others need is there before the file that asks for it
    for suffix, content in reversed(made.files.items()):
        written.append(path.with_suffix(suffix))
        write_bytes(written[-1], content)
    return Report(written[::-1], made.about, rows)
