"""Converts a net after incremental quantization to a plain one: the weights stay, masks are dropped."""

from __future__ import annotations

from pathlib import Path

from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.layers import Layer
from demitasse.caffe.models.blobs import Array
from demitasse.caffe.tools.say import Say, silent
from demitasse.caffe.tools.source_model import SourceLayer, read_source
from demitasse.caffe.tools.transfer import transfer


def inq_to_normal(
    net: str | Path,
    model: str | Path,
    target: str | Path,
    out: str | Path,
    rule: LayerRule = LayerRule.TYPE,
    say: Say = silent,
) -> None:
    """Converts a model with INQ layers; see ``dns_to_normal`` for arguments and errors."""

    def convert(each: SourceLayer, _: Layer) -> list[Array]:
        say(f"{f'converting layer [{each.name}] ...':45}[done]")
        return each.effective()

    transfer(read_source(net, model), target, out, convert, rule, fire=True)
    say(f"Success: Model has been converted from INQ to normal, saved as {out}")
