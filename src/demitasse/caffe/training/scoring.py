"""The batches of a net, and what its outputs say of all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.training.detection_scores import DetectionScores
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


class MeanScores:
    """The sums of a net's outputs, flattened and in float64."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, net: Net, blobs: dict[str, Tensor]) -> None:
        """Adds the outputs of one batch."""
        for name in net.outputs:
            values = blobs[name].detach().flatten().double()
            self._sums[name] = self._sums[name] + values if name in self._sums else values

    def means(self, batches: int) -> dict[str, list[float]]:
        """Returns name of output -> its values, averaged over the batches."""
        return {name: (values / batches).tolist() for name, values in self._sums.items()}


Scores = MeanScores | DetectionScores


def solver_scores(param: schema.SolverParameter) -> Scores:
    """Returns what collects the outputs of a solver's test, by its ``eval_type``."""
    if param.eval_type == "detection":
        return DetectionScores(param.ap_version, param.show_per_class_result)
    return MeanScores()


def net_scores(net: Net) -> Scores:
    """Returns what collects the outputs of a net without a solver: precisions if they are of DetectionEvaluate."""
    judges = {top for spec in net.spec.layer if spec.type == "DetectionEvaluate" for top in spec.top}
    return DetectionScores() if net.outputs and judges.issuperset(net.outputs) else MeanScores()
