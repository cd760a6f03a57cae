"""Layers that a user writes in Python: their base class, where they may run, and how their errors surface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from demitasse.caffe import schema
from demitasse.caffe.blob import Blob, BlobVec
from demitasse.errors import PythonLayerError, parameter

Blobs = Sequence[Blob]


class PythonLayer:
    """Base of a user's layer: pycaffe's ``Layer``.

    A subclass defines ``setup(bottom, top)``, ``reshape(bottom, top)``, which gives the tops their shapes before
    each pass, ``forward(bottom, top)``, and ``backward(top, propagate_down, bottom)``, which writes the bottoms' and
    the own blobs' ``diff``. ``setup`` may add blobs that are learnt: ``self.blobs.add_blob(3, 4)``.

    Attributes:
        param_str: the string of the net's ``python_param``.
        phase: ``TRAIN`` or ``TEST``.
        blobs: what the layer learns.
        type: "Python".
    """

    def __init__(self, layer_param: schema.LayerParameter) -> None:
        self.type = str(layer_param.type)
        self.param_str = str(layer_param.python_param.param_str)
        self.phase = int(layer_param.phase)
        self.blobs = BlobVec()

    @property
    def param_str_(self) -> str:
        """``param_str`` by the name that it had until 2015."""
        return self.param_str

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        """Prepares the layer, once."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        """Gives the tops their shapes, before each pass."""


# by importing demitasse.pycaffe, and for the duration of a command
_by_import = False
_by_command: bool | None = None


def allow() -> None:
    """Lets Python layers run in this process, unless a command says otherwise."""
    global _by_import
    _by_import = True


@contextmanager
def allowing(decision: bool) -> Iterator[None]:
    """Lets Python layers run, or not, for the duration of a command."""
    global _by_command
    before, _by_command = _by_command, decision
    try:
        yield
    finally:
        _by_command = before


def create_user_layer(spec: schema.LayerParameter) -> PythonLayer:
    """Imports the module of a Python layer and returns an instance of its class.

    Raises:
        PythonLayerError: Python layers may not run here, or there is no such module or class in it.
    """
    param = spec.python_param
    if not (_by_import if _by_command is None else _by_command):
        raise PythonLayerError(
            f"a Python layer runs the code of module {param.module!r}, which is not allowed here; if you trust it, "
            f"give {parameter('python_layer.allowing(True)')} to train, test or time, or import demitasse.pycaffe"
        )
    with user_code(f"module {param.module!r}"):
        found = getattr(import_module(param.module), param.layer)
    if not (isinstance(found, type) and issubclass(found, PythonLayer)):
        raise PythonLayerError(f"{param.module}.{param.layer} is no subclass of caffe.Layer (demitasse.pycaffe.Layer)")
    with user_code(f"{param.module}.{param.layer}"):
        return found(spec)


@contextmanager
def user_code(place: str) -> Iterator[None]:
    """Raises what a user's code raises as a PythonLayerError that says where, and is of the user's type, too."""
    try:
        yield
    except Exception as error:
        detail = f": {error}" if str(error) else ""
        raise _both(type(error), f"{place}: {type(error).__name__}{detail}") from error


def _both(kind: type[Exception], message: str) -> PythonLayerError:
    try:
        made: PythonLayerError = type(kind.__name__, (PythonLayerError, kind), {"__module__": kind.__module__})(message)
    except TypeError:  # an exception of several arguments
        return PythonLayerError(message)
    return made
