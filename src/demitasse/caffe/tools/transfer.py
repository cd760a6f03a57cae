"""Carries converted layers into the net they are meant for, and writes that net's model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.layers import Layer
from demitasse.caffe.tools.source_model import Array, SourceLayer
from demitasse.caffe.tools.target import open_target
from demitasse.errors import WeightsError

Convert = Callable[[SourceLayer, Layer], list[Array]]


def transfer(
    source: Sequence[SourceLayer],
    target: str | Path,
    out: str | Path,
    convert: Convert,
    rule: LayerRule,
    fire: bool = False,
) -> None:
    """Writes a model for the target net.

    The data of the target need not be there. The layers that the rule takes are converted. Of the others, by the rule
    of types, those of the same name and shapes in the target are copied (BatchNorm, Scale); all else keeps its initial
    values, or is left out where only the data tells its shape, which is logged.

    Args:
        source: the layers of the source.
        target: prototxt of the target net.
        out: the caffemodel to be written.
        convert: gives the blobs for a layer of the target.
        rule: which layers are converted.
        fire: see :meth:`LayerRule.takes`.

    Raises:
        NetError: the target has no layer of a converted layer's name, or cannot be built.
        WeightsError: the blobs do not fit; says which, and both shapes.
    """
    net = open_target(target)
    converted: dict[str, list[Array]] = {}
    for each in source:
        if rule.takes(each.name, each.kind, fire):
            converted[each.name] = convert(each, net.layer(each.name, each.blobs))
            net.load(each.name, converted[each.name])
        elif rule is LayerRule.TYPE and net.has(each.name) and _fits(each, net.layer(each.name, each.blobs)):
            net.load(each.name, each.blobs)
    for name, blobs in converted.items():
        held = net.layer(name, blobs).blobs()
        if not all(
            np.array_equal(blob.ravel(), now.detach().numpy().ravel(), equal_nan=True)
            for blob, now in zip(blobs, held, strict=False)
        ):
            raise WeightsError(
                f"layer {name!r} shares a blob with another layer of {target}, and their masks differ, so that one "
                "blob cannot be both; give the layers blobs of their own there"
            )
    net.save(out)


def has_masks(layer: Layer) -> bool:
    """Returns whether a layer keeps a mask beside every blob."""
    return any(name.endswith("_mask") for name in layer.blob_names)


def _fits(source: SourceLayer, layer: Layer) -> bool:
    return [blob.shape for blob in source.blobs] == [tuple(blob.shape) for blob in layer.blobs()]
