"""MultiStageMeanfield: the conditional random field of CRF-RNN."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.layers.permutohedral import PermutohedralLattice
from demitasse.errors import DataError, NetError

_TINY = 1e-20
_MOST_ITERATIONS = 1000  # a file shall not make a net that never ends


@LAYERS.register("MultiStageMeanfield")
class MultiStageMeanfield(Layer):
    """The scores of pixels after ``num_iterations`` mean-field updates of a fully connected CRF, (n, classes, h, w).

    Bottoms: the scores; the scores that the first update begins with, of the same shape; and the image, (n, 3, h, w).
    An update is s - C (W_s F_s + W_b F_b) for the scores s, where F are the softmax of the scores so far, filtered by
    a Gaussian of positions (``theta_gamma``) and one of positions (``theta_alpha``) and colours (``theta_beta``).

    Blobs: spatial and bilateral, W_s and W_b, (1, 1, classes, classes), filled with the numbers of
    ``spatial_filter_weights_str`` and ``bilateral_filter_weights_str`` in the diagonal, or with
    ``spatial_filter_weight`` and ``bilateral_filter_weight``, else with 0; and compatibility, C, filled with -1 in the
    diagonal.

    Reference: Zheng, Jayasumana, Romera-Paredes, Vineet, Su, Du, Huang, Torr 2015, algorithm 1.
    """

    bottom_count = (3, 3)
    has_blobs = True
    without_gradient = (2,)
    spatial: Tensor
    bilateral: Tensor
    compatibility: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.multi_stage_meanfield_param
        self.iterations = settings.num_iterations
        self.near, self.far, self.colour = settings.theta_gamma, settings.theta_alpha, settings.theta_beta
        widths = self.far, self.colour, self.near
        if not 0 < self.iterations <= _MOST_ITERATIONS or not all(0 < width < math.inf for width in widths):
            raise NetError(
                f"num_iterations is {self.iterations} and theta_alpha, theta_beta and theta_gamma are {list(widths)}; "
                f"expected positive numbers, and at most {_MOST_ITERATIONS} iterations"
            )
        scores = shapes[0]
        if len(scores) != 4 or shapes[1:] != (scores, (scores[0], 3, *scores[2:])) or not math.prod(scores[1:]):
            raise NetError(
                f"found bottoms of shapes {[list(shape) for shape in shapes]}; expected (n, classes, h, w) twice and "
                "(n, 3, h, w)"
            )
        classes = scores[1]
        diagonals = {name: _diagonal(self, name, classes) for name in ("spatial", "bilateral")}
        for name, diagonal in (diagonals | {"compatibility": [-1.0] * classes}).items():
            is_new = name not in self.blob_names
            self.add_blob(name, (1, 1, classes, classes))
            if is_new:
                self.write_blob(name, torch.tensor(diagonal).diag())

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [shapes[0]]

    @override
    def forward(self, scores: Tensor, first: Tensor, image: Tensor) -> Tensor:
        filters = _Filters(scores, image.detach(), self)
        spatial, bilateral, compatibility = (blob[0, 0] for blob in (self.spatial, self.bilateral, self.compatibility))
        found = first
        for _ in range(self.iterations):
            by_place, by_colour = filters(found.softmax(1))
            messages = spatial @ by_place + bilateral @ by_colour
            found = scores - (compatibility @ messages).reshape(scores.shape)
        return found


class _Filters:
    """The two filters of each item of a batch, normalized so that they keep a constant."""

    def __init__(self, scores: Tensor, image: Tensor, layer: MultiStageMeanfield) -> None:
        height, width = scores.shape[2:]
        rows, columns = np.divmod(np.arange(height * width), width)
        places = np.stack([columns, rows], 1)
        colours = image.flatten(2).transpose(1, 2).double().cpu().numpy() / layer.colour
        features = [places / layer.near, *(np.concatenate([places / layer.far, each], 1) for each in colours)]
        try:
            lattices = [PermutohedralLattice(each) for each in features]
        except DataError as error:
            raise error.within(f"layer {layer.spec.name!r}") from error
        ones = scores.new_ones(height * width, 1)
        self._near, *self._far = [(lattice, 1 / (lattice.filter(ones) + _TINY)) for lattice in lattices]

    def __call__(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Returns values, (n, channels, h, w), filtered by positions, and by positions and colours."""
        points = values.flatten(2).transpose(1, 2)
        near = [self._near[0].filter(each) * self._near[1] for each in points]
        far = [lattice.filter(each) * norm for each, (lattice, norm) in zip(points, self._far, strict=True)]
        return torch.stack(near).transpose(1, 2), torch.stack(far).transpose(1, 2)


def _diagonal(layer: MultiStageMeanfield, name: str, classes: int) -> list[float]:
    """Returns the diagonal that a blob is filled with."""
    settings = layer.spec.multi_stage_meanfield_param
    text: str = getattr(settings, f"{name}_filter_weights_str")
    if not text:
        return [getattr(settings, f"{name}_filter_weight")] * classes
    try:
        numbers = [float(each) for each in text.split()]
    except ValueError as error:
        raise NetError(f"{name}_filter_weights_str is {text!r}; expected {classes} numbers") from error
    if len(numbers) != classes:
        raise NetError(
            f"{name}_filter_weights_str has {len(numbers)} numbers; expected one for each of {classes} classes"
        )
    return numbers
