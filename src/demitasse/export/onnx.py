"""ONNX: a graph of few, ordinary operators, named after the layers and blobs of the net."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from demitasse.errors import ExportError
from demitasse.export.module import GraphModule, prepared, traced
from demitasse.export.onnx_forms import OPSET, form
from demitasse.export.onnx_names import rename
from demitasse.export.suppression import translations
from demitasse.export.targets import TARGETS, Files, Made, Target
from demitasse.extras import needs
from demitasse.graph import Model

if TYPE_CHECKING:
    import onnx

# the most that protobuf can hold, and so one file without external data
_LARGEST = 2**31 - 2**20


def make(model: Model) -> Made:
    """Returns a model and its weights as one file.

    Raises:
        MissingPackageError: onnx or onnxscript is not installed.
        ExportError: ONNX cannot express the net, or its weights are too large for one file.
    """
    for package in ("onnx", "onnxscript"):  # torch imports them
        with needs(package):
            import_module(package)
    weights = {tensor.data_ptr(): tensor.nbytes for step in model.graph.steps for tensor in step.tensors.values()}
    size = sum(weights.values())
    if size > _LARGEST:
        raise ExportError(f"the weights are {size:,} bytes; one file of ONNX holds up to {_LARGEST:,}")
    module = GraphModule(prepared(model), form)
    program = traced(module, model)
    with _quiet():
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(model.inputs),
            output_names=list(model.outputs),
            verbose=False,
            custom_translation_table=translations(),
        )
    assert made is not None
    rename(made.model, model.name, module.names)
    message = made.model_proto
    _check(message)
    return Made({".onnx": message.SerializeToString()}, f"opset {OPSET}, {len(message.graph.node)} nodes")


def run(files: Files, inputs: dict[str, Tensor]) -> list[Tensor] | None:
    """Returns the outputs that onnxruntime computes, or None where it is not installed."""
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(files[".onnx"], options, providers=["CPUExecutionProvider"])
    fed = {each.name: inputs[each.name].numpy() for each in session.get_inputs()}
    return [torch.from_numpy(array) for array in session.run(None, fed)]


TARGETS.register(".onnx")(Target(make, run, tolerance=1e-4))


def _check(message: onnx.ModelProto) -> None:
    import onnx

    try:
        onnx.checker.check_model(message, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"torch.onnx made an invalid model of the net: {str(error).splitlines()[0]}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the warnings of torch.onnx about packages that a Caffe net does not need."""
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
