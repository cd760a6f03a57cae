"""Any number of inputs, cut into batches of the net's size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Protocol

import numpy as np

from demitasse.caffe.blob import Blob
from demitasse.caffe.blob_memory import Array
from demitasse.pycaffe.errors import ArgumentError

Arrays = dict[str, Array]


class Runs(Protocol):
    """What can be run batch by batch: :class:`demitasse.pycaffe.net.Net`."""

    inputs: list[str]
    outputs: list[str]

    @property
    def blobs(self) -> Mapping[str, Blob]:
        """name -> blob, in net order."""

    def forward(
        self, blobs: list[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: np.ndarray
    ) -> Arrays:
        """Computes the layers; see :meth:`demitasse.pycaffe.net.Net.forward`."""

    def backward(
        self, diffs: list[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: np.ndarray
    ) -> Arrays:
        """Computes the gradients; see :meth:`demitasse.pycaffe.net.Net.backward`."""


def batches(net: Runs, blobs: Mapping[str, np.ndarray]) -> Iterator[Arrays]:
    """Yields the arrays cut into batches; the last one is filled up with zeros.

    Args:
        net: its first blob tells the size of a batch.
        blobs: name -> array, all with as many rows.
    """
    if not blobs:
        return
    size = next(iter(net.blobs.values())).shape[0]
    for start in range(0, _rows(blobs), size):
        batch = {name: np.asarray(array[start : start + size]) for name, array in blobs.items()}
        yield {name: _filled(rows, size) for name, rows in batch.items()}


def _rows(blobs: Mapping[str, np.ndarray]) -> int:
    if not blobs:
        raise ArgumentError("no inputs: give an array for each of the net's")
    return len(next(iter(blobs.values())))


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    missing = size - len(rows)
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)]) if missing else rows


def forward_all(net: Runs, blobs: list[str] | None = None, **kwargs: np.ndarray) -> Arrays:
    """Runs the net forward over all rows.

    Args:
        net: the net.
        blobs: names of blobs to return besides the outputs.
        kwargs: rows of the inputs, any number.

    Returns:
        name -> as many rows; of a blob without an axis for the batch, one value a batch.
    """
    found: dict[str, list[np.ndarray]] = {}
    count = _rows(kwargs)
    for batch in batches(net, kwargs):
        _collect(found, net.forward(blobs, None, None, **batch))
    return _joined(found, count)


def forward_backward_all(
    net: Runs, blobs: list[str] | None = None, diffs: list[str] | None = None, **kwargs: np.ndarray
) -> tuple[Arrays, Arrays]:
    """Runs the net forward and backward over all rows.

    Args:
        net: the net.
        blobs: as in :func:`forward_all`.
        diffs: names of blobs whose gradients to return besides the inputs'.
        kwargs: rows of the inputs, and of the outputs' gradients.

    Returns:
        Outputs and gradients, as in :func:`forward_all`.
    """
    count = _rows(kwargs)
    forward = batches(net, {name: kwargs[name] for name in net.inputs if name in kwargs})
    backward = batches(net, {name: kwargs[name] for name in net.outputs if name in kwargs})
    values: dict[str, list[np.ndarray]] = {}
    gradients: dict[str, list[np.ndarray]] = {}
    nothing: Arrays = {}
    for fed, given in zip_longest(forward, backward, fillvalue=nothing):
        _collect(values, net.forward(blobs, None, None, **fed))
        _collect(gradients, net.backward(diffs, None, None, **given))
    return _joined(values, count), _joined(gradients, count)


def _collect(found: dict[str, list[np.ndarray]], batch: Arrays) -> None:
    for name, array in batch.items():
        found.setdefault(name, []).append(np.atleast_1d(array).copy())


def _joined(found: dict[str, list[np.ndarray]], count: int) -> Arrays:
    return {name: np.concatenate(parts)[:count] for name, parts in found.items()}
