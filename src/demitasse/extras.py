"""Packages that one feature alone needs: each is in an extra, and is imported when the feature is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from demitasse.errors import MissingPackageError


class Need(NamedTuple):
    """What an optional package is for.

    Attributes:
        extra: of demitasse that installs it.
        feature: that needs it, in words for messages.
    """

    extra: str
    feature: str


# name to import -> what it is for; pyproject.toml says which versions
NEEDS = {
    "PIL": Need("images", "image files"),
    "h5py": Need("hdf5", "HDF5 files"),
    "jinja2": Need("report", "the report page"),
    "lightning": Need("lightning", "Lightning's callback"),
    "lmdb": Need("lmdb", "new LMDB databases"),
    "matplotlib": Need("plots", "plots"),
    "onnx": Need("onnx", "ONNX files"),
    "onnxruntime": Need("onnx", "measuring beside onnxruntime"),
    "onnxscript": Need("onnx", "the export to ONNX"),
    "openvino": Need("openvino", "measuring beside OpenVINO"),
    "plyvel": Need("leveldb", "LevelDB databases"),
    "pydot": Need("pycaffe", "pycaffe's graphs for Graphviz"),
    "scipy": Need("pycaffe", "pycaffe's image resizing and MATLAB files"),
    "sklearn": Need("digits", "the data set of digits"),
    "transformers": Need("huggingface", "the callback of Hugging Face's Trainer"),
    "vl_convert": Need("report", "the charts of the report page"),
}


def install(extra: str) -> str:
    """Returns the command that installs an extra."""
    return f"pip install 'demitasse[{extra}]'"


@contextmanager
def needs(package: str, extra: str | None = None) -> Iterator[None]:
    """Imports an optional package: the imports are the body of the ``with`` statement.

    Args:
        package: the name to import, one of :data:`NEEDS`.
        extra: the extra that the error names; by default the package's own.

    Raises:
        MissingPackageError: the package cannot be imported; names the feature that needs it and the extra.
    """
    need = NEEDS[package]
    try:
        yield
    except ImportError as error:
        raise MissingPackageError(
            f"{package} cannot be imported ({error}); it is needed for {need.feature}: {install(extra or need.extra)}"
        ) from error
