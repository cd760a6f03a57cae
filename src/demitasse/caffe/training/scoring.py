"""The batches of a net, and the sums of its outputs over them."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.caffe.net import Net
from demitasse.errors import DataError


def next_batch(net: Net, device: torch.device) -> dict[str, Tensor]:
    """Returns the next batch of a net's sources, on the device.

    Raises:
        DataError: the net has Input layers, which only a caller can feed.
    """
    if net.inputs:
        names = ", ".join(map(repr, net.inputs))
        raise DataError(f"there is no data for {names}: an Input layer must be fed by the caller; use a data layer")
    batch = net.next_batch()
    if device.type == "cpu":
        return batch
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def accumulate(scores: dict[str, Tensor], net: Net, blobs: dict[str, Tensor]) -> None:
    """Adds the outputs of one batch to their sums, flattened and in float64."""
    for name in net.outputs:
        values = blobs[name].detach().flatten().double()
        scores[name] = scores[name] + values if name in scores else values
