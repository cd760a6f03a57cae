"""A plain net, or one after surgery -> one for incremental quantization to start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.layers import Layer
from demitasse.caffe.tools import statistics
from demitasse.caffe.tools.say import Say, silent
from demitasse.caffe.tools.source_model import Array, SourceLayer, read_source
from demitasse.caffe.tools.transfer import has_masks, transfer


def model2inq_raw(
    net: str | Path,
    model: str | Path,
    target: str | Path,
    out: str | Path,
    zeros_are_pruned: bool = False,
    rule: LayerRule = LayerRule.TYPE,
    say: Say = silent,
) -> list[statistics.Kept]:
    """Gives every blob a mask: 1 is still free, 0 is frozen, which weights cut by surgery are.

    Args:
        net: prototxt of the model.
        model: its caffemodel.
        target: prototxt with INQ layers of the same names.
        out: the caffemodel to be written.
        zeros_are_pruned: freeze the zeros of plain layers, too.
        rule: which layers are converted.
        say: takes the lines of the report.

    Returns:
        How much of each layer surgery had kept.

    Raises:
        DemitasseError: a file cannot be read, or the nets do not fit.
    """

    def convert(each: SourceLayer, layer: Layer) -> list[Array]:
        masks = _masks(each, zeros_are_pruned) if has_masks(layer) else []
        return [*each.effective(), *masks]

    source = read_source(net, model)
    counted = statistics.count([each for each in source if rule.takes(each.name, each.kind, fire=True)])
    transfer(source, target, out, convert, rule, fire=True)
    for line in statistics.lines(counted):
        say(line)
    say(f"Model({Path(model).name}) has been converted to INQ raw model, saved as {out}")
    say(" ")
    say(f"Model {out} is ready for INQ training.")
    return counted


def _masks(each: SourceLayer, zeros_are_pruned: bool) -> list[Array]:
    if each.is_pruned or each.masks or zeros_are_pruned:
        return [kept.astype(np.float32) for kept in each.kept()]
    return [np.ones(blob.shape, np.float32) for blob in each.blobs]
