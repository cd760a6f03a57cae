"""Which steps are convolutions and inner products that can be computed from their weights."""

from __future__ import annotations

from demitasse.graph.graph import Step


def is_convolution(step: Step) -> bool:
    """Tells whether a step is one convolution of (n, channels, 1 to 3 spatial axes).

    Caffe has others, which only their layers compute: over more axes, and of several inputs with the same weights.
    """
    if step.kind != "Convolution" or len(step.outputs) != 1:
        return False
    return step.settings.axis == 1 and 1 <= len(step.settings.kernel) <= 3


def is_inner_product(step: Step) -> bool:
    """Tells whether a step is an inner product."""
    return step.kind == "InnerProduct"
