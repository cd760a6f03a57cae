"""demitasse makes neural networks small.

Names and modules are loaded at their first use: importing demitasse is light and touches no device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from demitasse._version import __version__

if TYPE_CHECKING:
    from demitasse.formats import PackedFile, load, pack, save, unpack
    from demitasse.formats import open as open
    from demitasse.methods.batch_norm import recalibrate_batch_norm
    from demitasse.methods.incremental import IncrementalQuantization
    from demitasse.methods.magnitude import MagnitudePruning
    from demitasse.methods.sensitivity import sensitivity
    from demitasse.methods.surgery import Surgery
    from demitasse.preparation import Preparation
    from demitasse.reorder import reorder_units
    from demitasse.runtime import optimize
    from demitasse.shrinking import shrink

# name -> the module that defines it
_PLACES = {
    "IncrementalQuantization": "demitasse.methods.incremental",
    "MagnitudePruning": "demitasse.methods.magnitude",
    "PackedFile": "demitasse.formats",
    "Preparation": "demitasse.preparation",
    "Surgery": "demitasse.methods.surgery",
    "load": "demitasse.formats",
    "open": "demitasse.formats",
    "optimize": "demitasse.runtime",
    "pack": "demitasse.formats",
    "recalibrate_batch_norm": "demitasse.methods.batch_norm",
    "reorder_units": "demitasse.reorder",
    "save": "demitasse.formats",
    "sensitivity": "demitasse.methods.sensitivity",
    "shrink": "demitasse.shrinking",
    "unpack": "demitasse.formats",
}
_MODULES = (
    "compress",
    "datasets",
    "dnn",
    "errors",
    "export",
    "formats",
    "integrations",
    "methods",
    "optim",
    "packed",
    "pycaffe",
    "runtime",
    "zoo",
)

# demitasse.open is PackedFile; it is not in this list, so that `from demitasse import *` does not replace Python's open
__all__ = [
    "IncrementalQuantization",
    "MagnitudePruning",
    "PackedFile",
    "Preparation",
    "Surgery",
    "__version__",
    "compress",
    "datasets",
    "dnn",
    "errors",
    "export",
    "formats",
    "integrations",
    "load",
    "methods",
    "optim",
    "optimize",
    "pack",
    "packed",
    "pycaffe",
    "recalibrate_batch_norm",
    "reorder_units",
    "runtime",
    "save",
    "sensitivity",
    "shrink",
    "unpack",
    "zoo",
]


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    if name in _MODULES:
        return import_module(f"demitasse.{name}")
    raise AttributeError(f"module 'demitasse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
