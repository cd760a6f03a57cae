"""Caffe's Python interface without Caffe: ``from demitasse import pycaffe as caffe``.

Importing it allows Python layers in this process.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from demitasse.caffe import python_layer
from demitasse.caffe.blob import Blob as Blob
from demitasse.caffe.layers import LAYERS
from demitasse.caffe.python_layer import PythonLayer as Layer
from demitasse.caffe.schema import TEST, TRAIN
from demitasse.caffe.sources import SOURCES
from demitasse.pycaffe import io, proto
from demitasse.pycaffe.classifier import Classifier
from demitasse.pycaffe.detector import Detector
from demitasse.pycaffe.messages import init_log, log
from demitasse.pycaffe.mode import (
    NCCL,
    has_nccl,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from demitasse.pycaffe.naming import as_caffe, install_as_caffe
from demitasse.pycaffe.net import Net
from demitasse.pycaffe.net_spec import NetSpec, layers, params, to_proto
from demitasse.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    LarsSGDSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
    get_solver_from_file,
)
from demitasse.pycaffe.timer import Timer

# the version of Caffe's interface, not of demitasse
__version__ = "1.0.0"

__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Classifier",
    "Detector",
    "LarsSGDSolver",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
    "__version__",
    "as_caffe",
    "get_solver",
    "get_solver_from_file",
    "has_nccl",
    "init_log",
    "install_as_caffe",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "params",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]

python_layer.allow()


def __getattr__(name: str) -> ModuleType:
    if name not in ("coord_map", "draw"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")  # imported when used, since not every script draws


def layer_type_list() -> list[str]:
    """Returns the types of all layers, including data layers, sorted."""
    return sorted([*LAYERS, *SOURCES])
