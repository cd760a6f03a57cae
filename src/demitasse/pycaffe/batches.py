"""Runs a net over any number of rows, in batches of the net's size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Protocol

import numpy as np

from demitasse.caffe.blob import Blob
from demitasse.caffe.blob_memory import Array
from demitasse.pycaffe.errors import ArgumentError

Arrays = dict[str, Array]


class BatchNet(Protocol):
    """The interface of a net that is run in batches: :class:`demitasse.pycaffe.net.Net`."""

    inputs: list[str]
    outputs: list[str]

    @property
    def blobs(self) -> Mapping[str, Blob]:
        """The blobs by name, in net order."""

    def forward(
        self, blobs: list[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: np.ndarray
    ) -> Arrays:
        """Computes the layers; see :meth:`demitasse.pycaffe.net.Net.forward`."""

    def backward(
        self, diffs: list[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: np.ndarray
    ) -> Arrays:
        """Computes the gradients; see :meth:`demitasse.pycaffe.net.Net.backward`."""


def batches(net: BatchNet, blobs: Mapping[str, np.ndarray]) -> Iterator[Arrays]:
    """Yields batches of the arrays; the last one is padded with zeros.

    Args:
        net: the net; its first blob determines the batch size.
        blobs: name -> array, all with the same number of rows.
    """
    if not blobs:
        return
    size = next(iter(net.blobs.values())).shape[0]
    for start in range(0, _rows(blobs), size):
        batch = {name: np.asarray(array[start : start + size]) for name, array in blobs.items()}
        yield {name: _filled(rows, size) for name, rows in batch.items()}


def _rows(blobs: Mapping[str, np.ndarray]) -> int:
    if not blobs:
        raise ArgumentError("no inputs are given; expected an array for each input of the net")
    return len(next(iter(blobs.values())))


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    missing = size - len(rows)
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)]) if missing else rows


def forward_all(net: BatchNet, blobs: list[str] | None = None, **kwargs: np.ndarray) -> Arrays:
    """Runs the net forward over all rows.

    Args:
        net: the net.
        blobs: names of blobs to return in addition to the outputs.
        kwargs: the inputs, with any number of rows.

    Returns:
        name -> array with the same number of rows; for a blob without a batch axis, one value for each batch.
    """
    found: dict[str, list[np.ndarray]] = {}
    count = _rows(kwargs)
    for batch in batches(net, kwargs):
        _collect(found, net.forward(blobs, None, None, **batch))
    return _joined(found, count)


def forward_backward_all(
    net: BatchNet, blobs: list[str] | None = None, diffs: list[str] | None = None, **kwargs: np.ndarray
) -> tuple[Arrays, Arrays]:
    """Runs the net forward and backward over all rows.

    Args:
        net: the net.
        blobs: see :func:`forward_all`.
        diffs: names of blobs whose gradients to return in addition to the inputs'.
        kwargs: the inputs, and the gradients of the outputs, with any number of rows.

    Returns:
        The outputs and the gradients, in the form of :func:`forward_all`.
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
