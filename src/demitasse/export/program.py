"""Programs of torch.export, which run wherever PyTorch does, without demitasse."""

from __future__ import annotations

import io
import warnings

import torch
from torch import Tensor

from demitasse.export.module import GraphModule, prepared, traced
from demitasse.export.targets import TARGETS, Files, Made, Target
from demitasse.graph import Model


def make(model: Model) -> Made:
    """Returns the program of a model, which takes the inputs in order and returns the outputs by name.

    Raises:
        ExportError: torch.export cannot express the net.
    """
    program = traced(GraphModule(prepared(model)), model)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it contains paths of this machine
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.export.save(program, buffer)
    count = sum(node.op == "call_function" for node in program.graph.nodes)
    return Made({".pt2": buffer.getvalue()}, f"{count} operations")


def run(files: Files, inputs: dict[str, Tensor]) -> list[Tensor]:
    """Runs a program that :func:`make` has made."""
    with torch.no_grad():
        found: dict[str, Tensor] = torch.export.load(io.BytesIO(files[".pt2"])).module()(*inputs.values())
    return list(found.values())


TARGETS.register(".pt2")(Target(make, run, tolerance=1e-5))
