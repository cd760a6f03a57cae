"""Carries converted layers into the net they are meant for, and writes that net's model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from demitasse.caffe.layers import Layer
from demitasse.caffe.tools.layer_rule import LayerRule
from demitasse.caffe.tools.source_model import Array, SourceLayer
from demitasse.caffe.tools.target import open_target

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
    for each in source:
        if rule.takes(each.name, each.kind, fire):
            net.load(each.name, convert(each, net.layer(each.name, each.blobs)))
        elif rule is LayerRule.TYPE and net.has(each.name) and _fits(each, net.layer(each.name, each.blobs)):
            net.load(each.name, each.blobs)
    net.save(out)


def has_masks(layer: Layer) -> bool:
    """Returns whether a layer keeps a mask beside every blob."""
    return any(name.endswith("_mask") for name in layer.blob_names)


def _fits(source: SourceLayer, layer: Layer) -> bool:
    return [blob.shape for blob in source.blobs] == [tuple(blob.shape) for blob in layer.blobs()]
