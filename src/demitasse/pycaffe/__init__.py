"""Caffe's Python interface without Caffe: ``from demitasse import pycaffe as caffe``.

Importing it allows Python layers to run in this process.
"""

from __future__ import annotations

from demitasse.caffe import python_layer
from demitasse.caffe.blob import Blob as Blob
from demitasse.caffe.layers import LAYERS
from demitasse.caffe.python_layer import PythonLayer as Layer
from demitasse.caffe.schema import TEST, TRAIN
from demitasse.caffe.sources import SOURCES
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

# layers, params, NetSpec, to_proto; io; Classifier; Detector; proto: their imports stand here

# of the interface, not of demitasse
__version__ = "1.0.0"

__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "LarsSGDSolver",
    "Layer",
    "NesterovSolver",
    "Net",
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
    "layer_type_list",
    "log",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
]

python_layer.allow()


def layer_type_list() -> list[str]:
    """Returns the types of all layers, data layers included, sorted."""
    return sorted([*LAYERS, *SOURCES])
