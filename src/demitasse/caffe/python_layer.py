"""Layers that a user writes in Python: their base class, the permission to run them, and their errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from demitasse.caffe import schema
from demitasse.caffe.blob import Blob, BlobVec
from demitasse.errors import PythonLayerError, parameter

Blobs = Sequence[Blob]


class PythonLayer:
    """Base class of a user's layer: pycaffe's ``Layer``.

    A subclass defines ``setup(bottom, top)``; ``reshape(bottom, top)``, which sets the shapes of the tops before each
    pass; ``forward(bottom, top)``; and ``backward(top, propagate_down, bottom)``, which writes the ``diff`` of the
    bottoms and of the layer's own blobs. ``setup`` may add learnable blobs: ``self.blobs.add_blob(3, 4)``.

    Attributes:
        param_str: the ``param_str`` of the net's ``python_param``.
        phase: ``TRAIN`` or ``TEST``.
        blobs: the learnable blobs of the layer.
        type: "Python".
    """

    def __init__(self, layer_param: schema.LayerParameter) -> None:
        self.type = str(layer_param.type)
        self.param_str = str(layer_param.python_param.param_str)
        self.phase = int(layer_param.phase)
        self.blobs = BlobVec()

    @property
    def param_str_(self) -> str:
        """The name of ``param_str`` until 2015."""
        return self.param_str

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        """Prepares the layer, once."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        """Sets the shapes of the tops, before each pass."""


# allowed by importing demitasse.pycaffe, and allowed or forbidden while a command runs
_by_import = False
_by_command: bool | None = None


def allow() -> None:
    """Allows Python layers in this process, except inside :func:`allowing` with False."""
    global _by_import
    _by_import = True


@contextmanager
def allowing(decision: bool) -> Iterator[None]:
    """Allows or forbids Python layers in the context, such as while a command runs."""
    global _by_command
    before, _by_command = _by_command, decision
    try:
        yield
    finally:
        _by_command = before


def _are_allowed() -> bool:
    return _by_import if _by_command is None else _by_command


def is_available(spec: schema.LayerParameter) -> bool:
    """Tells whether a layer in Python is allowed to run, and whether its module can be found."""
    if not _are_allowed():
        return False
    try:
        return find_spec(spec.python_param.module) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def create_user_layer(spec: schema.LayerParameter) -> PythonLayer:
    """Imports the module of a Python layer and returns an instance of its class.

    Raises:
        PythonLayerError: Python layers are not allowed, or there is no such module or class.
    """
    param = spec.python_param
    if not _are_allowed():
        raise PythonLayerError(
            f"the layer runs code of the Python module {param.module!r}, which is not allowed here; if you trust it, "
            f"give {parameter('python_layer.allowing(True)')} to train, test or time, or import demitasse.pycaffe"
        )
    with user_code(f"module {param.module!r}"):
        found = getattr(import_module(param.module), param.layer)
    if not (isinstance(found, type) and issubclass(found, PythonLayer)):
        raise PythonLayerError(
            f"{param.module}.{param.layer} is not a subclass of caffe.Layer (demitasse.pycaffe.Layer)"
        )
    with user_code(f"{param.module}.{param.layer}"):
        return found(spec)


@contextmanager
def user_code(place: str) -> Iterator[None]:
    """Converts exceptions of a user's code to a PythonLayerError with the place, which is also of the original type."""
    try:
        yield
    except Exception as error:
        detail = f": {error}" if str(error) else ""
        raise _both(type(error), f"{place}: {type(error).__name__}{detail}") from error


def _both(kind: type[Exception], message: str) -> PythonLayerError:
    try:
        made: PythonLayerError = type(kind.__name__, (PythonLayerError, kind), {"__module__": kind.__module__})(message)
    except TypeError:  # the exception takes several arguments
        return PythonLayerError(message)
    return made
