"""Converts a plain net, or a net after surgery, to the starting point of incremental quantization."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.layers import Layer
from demitasse.caffe.models.blobs import Array
from demitasse.caffe.tools import statistics
from demitasse.caffe.tools.say import Say, silent
from demitasse.caffe.tools.source_model import SourceLayer, read_source
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
    """Adds a mask to every blob: 1 marks free values, 0 frozen ones, such as weights that surgery has cut.

    Args:
        net: prototxt of the model.
        model: its caffemodel.
        target: prototxt with INQ layers of the same names.
        out: the caffemodel to write.
        zeros_are_pruned: also freeze the zeros of plain layers.
        rule: which layers are converted.
        say: called with each line of the report.

    Returns:
        The number of values of each layer that surgery had kept.

    Raises:
        DemitasseError: a file cannot be read, or the nets do not match.
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
