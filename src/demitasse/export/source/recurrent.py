"""LSTM and RNN, by modules that the source defines."""

from __future__ import annotations

from typing import Any

from demitasse.caffe.layers.recurrent import Recurrent
from demitasse.export.source.base import SOURCE, Code, call


@SOURCE.register("LSTM")
def lstm(code: Code, *bottoms: str) -> str:
    return _recurrent(code, "_LSTM", bottoms)


@SOURCE.register("RNN")
def rnn(code: Code, *bottoms: str) -> str:
    layer = code.step.layer
    return _recurrent(code, "_RNN", bottoms, output=(layer.output_weight, layer.output_bias))


def _recurrent(code: Code, kind: str, bottoms: tuple[str, ...], **linear: tuple[Any, Any]) -> str:
    layer = code.step.layer
    assert isinstance(layer, Recurrent)
    parts = {"input": (layer.weight, layer.bias), "hidden": (layer.hidden_weight, None), **linear}
    sizes = [layer.weight.shape[1], layer.units]
    if layer.has_static:
        parts["static"] = (layer.static_weight, None)
        sizes.append(layer.static_weight.shape[1])
    tensors = {
        f"{name}.{role}": value
        for name, pair in parts.items()
        for role, value in zip(("weight", "bias"), pair, strict=True)
    }
    name = code.module(call(code.helper(kind), *sizes), **tensors)
    x, cont, *rest = bottoms
    static = rest[:1] if layer.has_static else ["None"] if rest else []
    result = call(name, x, cont, *static, *rest[layer.has_static :])
    return result if layer.exposes else f"{result}[0]"
