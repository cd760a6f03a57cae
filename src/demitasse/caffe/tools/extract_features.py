"""Writes blobs of a net to databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.layers.output import disable_file_output
from demitasse.caffe.net import Net
from demitasse.caffe.sources.store import BACKENDS
from demitasse.caffe.training import solver_nets
from demitasse.caffe.training.scoring import next_batch
from demitasse.caffe.weights import load_weights
from demitasse.errors import UnknownNameError, UsageError
from demitasse.progress import tracked
from demitasse.registry import suggest


def extract_features(
    weights: str | Path,
    net_path: str | Path,
    blobs: Sequence[str],
    databases: Sequence[str | Path],
    batches: int,
    backend: str = "lmdb",
    device: torch.device | None = None,
) -> int:
    """Runs a net in phase TEST and writes some of its blobs, one Datum of floats per image, under the keys ``%010d``.

    Layers of the net that write files are kept from it.

    Args:
        weights: the caffemodel.
        net_path: the prototxt, with data layers.
        blobs: names of blobs with at most four axes, the first of which is the images.
        databases: the folders of the new databases, one for each blob.
        batches: the number of batches to run.
        backend: ``lmdb`` or ``leveldb``.
        device: the device to compute on; None is the CPU.

    Returns:
        The number of images in each database.

    Raises:
        UsageError: the numbers of blobs and databases differ, a blob does not exist or has no axis of images, a
            database exists already, or there is no such backend.
        DemitasseError: net, weights or data cannot be read.
    """
    if len(blobs) != len(databases):
        raise UsageError(f"found {len(databases)} databases for {len(blobs)} blobs; expected one for each")
    device = device or torch.device("cpu")
    net = solver_nets.move_to_device(Net.from_file(net_path, schema.TEST), device)
    disable_file_output(net.named_layers().values())
    for blob in blobs:
        _check(net, blob, str(net_path))
    load_weights(net, weights)
    count = 0
    with ExitStack() as stack:
        puts = [stack.enter_context(BACKENDS[backend].create(path)) for path in databases]
        for _ in tracked(range(batches), "Extracting"):
            with torch.no_grad():
                found = net(next_batch(net, device), keep=blobs)
            for put, blob in zip(puts, blobs, strict=True):
                for index, value in enumerate(_datums(found[blob]), start=count):
                    put(b"%010d" % index, value)
            count += len(found[blobs[0]])
    return count


def _check(net: Net, blob: str, origin: str) -> None:
    if blob not in net.shapes:
        raise UnknownNameError(f"{origin}: there is no blob {blob!r}; {suggest(blob, list(net.shapes))}")
    if not 1 <= len(net.shapes[blob]) <= 4:
        raise UsageError(f"{origin}: blob {blob!r} has shape {list(net.shapes[blob])}; expected one to four axes")


def _datums(blob: Tensor) -> Iterator[bytes]:
    """Yields a Datum for each row; missing axes have length 1."""
    rows = blob.cpu().float()
    shape = (*rows.shape[1:], 1, 1, 1)
    for row in rows.flatten(1) if rows.ndim > 1 else rows[:, None]:
        datum = schema.Datum(channels=shape[0], height=shape[1], width=shape[2], float_data=row.tolist())
        yield datum.SerializeToString()
