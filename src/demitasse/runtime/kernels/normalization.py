"""Local response normalization."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.graph.graph import Step

# values of a piece; with what it is computed from, a piece stays in the cache
_PIECE = 1 << 18


class LRNKernel:
    """LRN across channels, channels last and piece by piece; the values are the layer's to the bit."""

    def __init__(self, step: Step) -> None:
        self._layer = step.call

    def __call__(self, bottom: Tensor) -> Tensor:
        """Returns the normalized images, (n, channels, height, width) float32."""
        channels = bottom.shape[1]
        bottom = bottom.contiguous(memory_format=torch.channels_last)
        top = torch.empty_like(bottom)
        rows, results = (images.movedim(1, -1).view(-1, channels) for images in (bottom, top))
        size = max(1, _PIECE // channels)
        for piece, result in zip(torch.split(rows, size), torch.split(results, size), strict=True):
            result.copy_(self._layer(piece[..., None, None])[..., 0, 0])
        return top
