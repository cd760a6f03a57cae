"""demitasse makes neural networks small.

The names below are loaded when they are first used: importing demitasse is light and touches no device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from demitasse._version import __version__

if TYPE_CHECKING:
    from demitasse.formats import load, open, save
    from demitasse.methods.batch_norm import recalibrate_batch_norm
    from demitasse.methods.incremental import IncrementalQuantization
    from demitasse.methods.magnitude import MagnitudePruning
    from demitasse.methods.sensitivity import sensitivity
    from demitasse.methods.surgery import Surgery
    from demitasse.reorder import reorder_units

_PLACES = {
    "IncrementalQuantization": "demitasse.methods.incremental",
    "MagnitudePruning": "demitasse.methods.magnitude",
    "Surgery": "demitasse.methods.surgery",
    "load": "demitasse.formats",
    "open": "demitasse.formats",
    "optim": "",
    "recalibrate_batch_norm": "demitasse.methods.batch_norm",
    "reorder_units": "demitasse.reorder",
    "save": "demitasse.formats",
    "sensitivity": "demitasse.methods.sensitivity",
}

__all__ = [
    "IncrementalQuantization",
    "MagnitudePruning",
    "Surgery",
    "__version__",
    "load",
    "open",
    "recalibrate_batch_norm",
    "reorder_units",
    "save",
    "sensitivity",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'demitasse' has no attribute {name!r}")
    place = _PLACES[name]
    return getattr(import_module(place), name) if place else import_module(f"demitasse.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
