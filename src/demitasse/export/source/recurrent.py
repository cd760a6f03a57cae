"""Translations of LSTM and RNN, by modules that the source defines."""

from __future__ import annotations

from demitasse.export.source.base import SOURCE, Code, call


@SOURCE.register("LSTM")
def lstm(code: Code, *bottoms: str) -> str:
    return _recurrent(code, "_LSTM", bottoms)


@SOURCE.register("RNN")
def rnn(code: Code, *bottoms: str) -> str:
    return _recurrent(code, "_RNN", bottoms, output=("output_weight", "output_bias"))


def _recurrent(code: Code, kind: str, bottoms: tuple[str, ...], **linear: tuple[str, str]) -> str:
    given, weights = code.settings, code.weights
    # modules of the source -> their weight and bias
    parts: dict[str, tuple[str, str]] = {"input": ("weight", "bias"), "hidden": ("hidden_weight", ""), **linear}
    sizes = [weights["weight"].shape[1], given.units]
    if given.has_static:
        parts["static"] = ("static_weight", "")
        sizes.append(weights["static_weight"].shape[1])
    tensors = {
        f"{name}.{role}": weights.get(blob)
        for name, pair in parts.items()
        for role, blob in zip(("weight", "bias"), pair, strict=True)
    }
    name = code.module(call(code.helper(kind), *sizes), **tensors)
    x, cont, *rest = bottoms
    static = rest[:1] if given.has_static else ["None"] if rest else []
    result = call(name, x, cont, *static, *rest[given.has_static :])
    return result if given.exposes else f"{result}[0]"
