"""Copies converted layers into the target net, and writes its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.layers import Layer
from demitasse.caffe.models.blobs import Array
from demitasse.caffe.tools.source_model import SourceLayer
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
    """Writes a model for the target net, whose data is not needed.

    The layers that the rule selects are converted. If the rule goes by types, other layers that have the same name and
    shapes in the target (BatchNorm, Scale) are copied. All remaining layers keep their initial values, or are left out
    if their shapes depend on the data; both is logged.

    Args:
        source: the layers of the source.
        target: prototxt of the target net.
        out: the caffemodel to write.
        convert: returns the blobs for a layer of the target, given the layer of the source and of the target.
        rule: which layers are converted.
        fire: see :meth:`LayerRule.takes`.

    Raises:
        NetError: the target has no layer with the name of a converted layer, or cannot be built.
        WeightsError: blobs do not match; the message has the blob and both shapes.
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
                f"layer {name!r} shares a blob with another layer of {target}, but their converted blobs differ; "
                "give each layer its own blobs there"
            )
    net.save(out)


def has_masks(layer: Layer) -> bool:
    """Returns whether a layer has masks."""
    return any(name.endswith("_mask") for name in layer.blob_names)


def _fits(source: SourceLayer, layer: Layer) -> bool:
    return [blob.shape for blob in source.blobs] == [tuple(blob.shape) for blob in layer.blobs()]
