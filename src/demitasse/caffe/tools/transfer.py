"""Carries converted layers into the net they are meant for, and writes that net's model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from demitasse.caffe.layers import Layer
from demitasse.caffe.model_file import save_weights
from demitasse.caffe.net import Net
from demitasse.caffe.tools.layer_rule import LayerRule
from demitasse.caffe.tools.say import log_initial
from demitasse.caffe.tools.source_model import Array, SourceLayer

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

    The layers that the rule takes are converted. Of the others, by the rule of types, those of the same name and
    shapes in the target are copied (BatchNorm, Scale); all else keeps its initial values, which is logged.

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
    net = Net.from_file(target)
    known = net.named_layers()
    loaded = set()
    for each in source:
        if rule.takes(each.name, each.kind, fire):
            blobs = convert(each, net.layer(each.name))
        elif rule is LayerRule.TYPE and each.name in known and _fits(each, known[each.name]):
            blobs = each.blobs
        else:
            continue
        net.load_blobs(each.name, blobs, f"for {target}")
        loaded.add(each.name)
    log_initial(net, loaded)
    save_weights(net, out)


def has_masks(layer: Layer) -> bool:
    """Returns whether a layer keeps a mask beside every blob."""
    return any(name.endswith("_mask") for name in layer.blob_names)


def _fits(source: SourceLayer, layer: Layer) -> bool:
    return [blob.shape for blob in source.blobs] == [tuple(blob.shape) for blob in layer.blobs()]
