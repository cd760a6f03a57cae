"""Logs the progress of training: loss, speed and outputs, every ``display`` iterations."""

from __future__ import annotations

import time

from torch import Tensor

from demitasse.caffe import log, net_log
from demitasse.caffe.net import Net
from demitasse.caffe.training.ranks import Ranks


class Display:
    """Logs progress in Caffe's lines.

    Args:
        interval: the number of iterations between displays; 0 for none.
        ranks: the processes that train together; a single value, such as a loss, is averaged over them.
    """

    def __init__(self, interval: int, ranks: Ranks) -> None:
        self._interval, self._ranks = interval, ranks
        self._last = (time.perf_counter(), 0)

    def restart(self, iteration: int) -> None:
        """Measures the speed from this iteration on."""
        self._last = (time.perf_counter(), iteration)

    def is_due(self, iteration: int) -> bool:
        """Returns whether to display at this iteration."""
        return bool(self._interval) and iteration % self._interval == 0

    def log(self, iteration: int, loss: float, net: Net, blobs: dict[str, Tensor]) -> None:
        """Logs the smoothed loss, the speed since the last display, and the net's outputs."""
        now = time.perf_counter()
        before, last = self._last
        self._last = (now, iteration)
        speed = f"{log.number((iteration - last) / (now - before))} iter/s, {log.number(round(now - before, 3))}s"
        log.info(
            "solver.cpp:222",
            f"Iteration {iteration} ({speed}/{self._interval} iters), loss = {log.number(loss)}",
        )
        values = {name: self._mean(blobs[name]).flatten().tolist() for name in net.outputs}
        net_log.output_lines("solver.cpp:241", "    Train net output", net, values)

    def _mean(self, blob: Tensor) -> Tensor:
        """Returns the mean over the ranks of a single value, such as a loss; other blobs are those of rank 0."""
        return self._ranks.mean(blob) if blob.numel() == 1 else blob
