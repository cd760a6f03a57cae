"""The mean average precision of a detector over the batches of a test."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from torch import Tensor

from demitasse.caffe import log
from demitasse.caffe.net import Net
from demitasse.caffe.training.average_precision import average_precision
from demitasse.errors import NetError

_ROW = 5  # item, label, score, true, false
_NUMBER_OF_BOXES = -1  # the item of a row that says how many boxes a label has


class DetectionScores:
    """Collects the rows of DetectionEvaluate layers, the only outputs of a test net of ``eval_type: "detection"``.

    Args:
        version: see :func:`~demitasse.caffe.training.average_precision.average_precision`.
        per_class: whether the log has a line for each class.
    """

    def __init__(self, version: str = "Integral", per_class: bool = False) -> None:
        self._version, self._per_class = version, per_class
        self._rows: defaultdict[str, list[np.ndarray]] = defaultdict(list)

    def add(self, net: Net, blobs: dict[str, Tensor]) -> None:
        """Adds the outputs of one batch.

        Raises:
            NetError: an output is not that of a DetectionEvaluate layer.
        """
        for name in net.outputs:
            shape = tuple(blobs[name].shape)
            if len(shape) != 4 or shape[3] != _ROW:
                raise NetError(
                    f"output {name!r} of the test net has shape {list(shape)}; expected rows of DetectionEvaluate, "
                    'since eval_type is "detection"; end other outputs in a Silence layer'
                )
            self._rows[name].append(blobs[name].detach().cpu().double().numpy().reshape(-1, _ROW))

    def means(self, batches: int) -> dict[str, list[float]]:
        """Returns name of output -> its mean average precision; logs that of each class, if it is asked for."""
        return {name: [self._mean(np.concatenate(rows))] for name, rows in self._rows.items()}

    def _mean(self, rows: np.ndarray) -> float:
        counts: defaultdict[int, int] = defaultdict(int)
        for _, label, count, _, _ in rows[rows[:, 0] == _NUMBER_OF_BOXES]:
            counts[int(label)] += int(count)
        # a box found of a difficult one is neither true nor false
        found = rows[(rows[:, 0] != _NUMBER_OF_BOXES) & (rows[:, 3] + rows[:, 4] > 0)]
        total = 0.0
        for label in sorted(counts):
            mine = found[found[:, 1] == label]
            if not len(mine):
                log.warning("solver.cpp:546", f"Missing true_pos for label: {label}")
            precision = average_precision(mine[:, 2], mine[:, 3] > 0, counts[label], self._version)
            if self._per_class:
                log.info("solver.cpp:560", f"class{label}: {log.number(precision)}")
            total += precision
        return total / max(len(counts), 1)
