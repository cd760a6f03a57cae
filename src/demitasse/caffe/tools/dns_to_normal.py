"""Converts a net after surgery to a plain one: cut weights become 0, masks are dropped."""

from __future__ import annotations

from pathlib import Path

from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.tools import statistics
from demitasse.caffe.tools.say import Say, silent
from demitasse.caffe.tools.source_model import read_source
from demitasse.caffe.tools.transfer import transfer


def dns_to_normal(
    net: str | Path,
    model: str | Path,
    target: str | Path,
    out: str | Path,
    rule: LayerRule = LayerRule.TYPE,
    say: Say = silent,
) -> list[statistics.Kept]:
    """Converts a model with DNS layers, or with the layers of Guo's repository, whose masks may be missing.

    Args:
        net: prototxt of the model.
        model: its caffemodel.
        target: prototxt with plain layers of the same names.
        out: the caffemodel to write.
        rule: which layers are converted.
        say: called with each line of the report.

    Returns:
        The number of kept values of each layer.

    Raises:
        DemitasseError: a file cannot be read, or the nets do not match.
    """
    source = read_source(net, model)
    counted = statistics.count([each for each in source if rule.takes(each.name, each.kind)])
    transfer(source, target, out, lambda each, _: each.effective(), rule)
    for line in statistics.lines(counted):
        say(line)
    say(f"Model has been converted from DNS to normal, saved as {out}")
    return counted
