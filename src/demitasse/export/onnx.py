"""ONNX: a graph of few, ordinary operators, named after the layers and blobs of the net."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from demitasse.errors import ExportError
from demitasse.export.graph import Graph, traced
from demitasse.export.model import Model
from demitasse.export.onnx_forms import OPSET, form
from demitasse.export.onnx_names import rename
from demitasse.export.targets import TARGETS, Files, Made, Target
from demitasse.extras import needs

# what protobuf, and so a file without others beside it, can hold
_LARGEST = 2**31 - 2**20


def make(model: Model) -> Made:
    """Returns a model with its weights as one file.

    Raises:
        MissingPackageError: onnx or onnxscript is not installed.
        ExportError: the net cannot be expressed in ONNX, or is larger than a file of it may be.
    """
    for package in ("onnx", "onnxscript"):  # torch imports them
        with needs(package):
            import_module(package)
    size = sum(blob.tensor.nbytes for blob in model.net.learnable)
    if size > _LARGEST:
        raise ExportError(f"the weights are {size:,} bytes; one file of ONNX holds up to {_LARGEST:,}")
    graph = Graph(model, form)
    program = traced(graph, model)
    with _quiet():
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(model.inputs),
            output_names=list(model.outputs),
            verbose=False,
        )
    assert made is not None
    rename(made.model, model.name, graph.names)
    message = made.model_proto
    _check(message)
    return Made({".onnx": message.SerializeToString()}, f"opset {OPSET}, {len(message.graph.node)} nodes")


def run(files: Files, inputs: dict[str, Tensor]) -> list[Tensor] | None:
    """Returns the outputs that onnxruntime computes; None where it is not installed."""
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(files[".onnx"], options, providers=["CPUExecutionProvider"])
    fed = {each.name: inputs[each.name].numpy() for each in session.get_inputs()}
    return [torch.from_numpy(array) for array in session.run(None, fed)]


TARGETS.register(".onnx")(Target(make, run, tolerance=1e-4))


def _check(message: Any) -> None:
    import onnx

    try:
        onnx.checker.check_model(message, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"what torch.onnx made of the net is not valid: {str(error).splitlines()[0]}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps torch.onnx from speaking of packages that a Caffe net does not need."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
