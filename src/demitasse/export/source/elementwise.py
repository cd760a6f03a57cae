"""Entry by entry: activations, elementary functions, and several bottoms of one shape; sums over axes."""

from __future__ import annotations

from functools import reduce

from demitasse.export.source.base import SOURCE, Code, call, number, other_than


@SOURCE.register("ReLU")
def relu(code: Code, x: str) -> str:
    slope = code.step.layer.slope
    return call("F.leaky_relu", x, slope) if slope else call("F.relu", x)


@SOURCE.register("Sigmoid")
def sigmoid(code: Code, x: str) -> str:
    return call("torch.sigmoid", x)


@SOURCE.register("TanH")
def tanh(code: Code, x: str) -> str:
    return call("torch.tanh", x)


@SOURCE.register("Dropout")
def dropout(code: Code, x: str) -> str:
    layer = code.step.layer
    top = call("F.dropout", x, layer.ratio, training="True" if layer.samples else "self.training")
    return top if layer.factor == 1 else f"{top} * {layer.factor!r}"


@SOURCE.register("ELU")
def elu(code: Code, x: str) -> str:
    return call("F.elu", x, **other_than(alpha=(code.step.layer.alpha, 1.0)))


@SOURCE.register("Swish")
def swish(code: Code, x: str) -> str:
    beta = code.step.layer.beta
    return call("F.silu", x) if beta == 1 else f"{x} * torch.sigmoid({number(beta)} * {x})"


@SOURCE.register("BNLL")
def bnll(code: Code, x: str) -> str:
    return call("F.softplus", x, threshold=50)


@SOURCE.register("Clip")
def clip(code: Code, x: str) -> str:
    layer = code.step.layer
    return call("torch.clamp", x, layer.min, layer.max)


@SOURCE.register("Threshold")
def threshold(code: Code, x: str) -> str:
    return f"({x} > {number(code.step.layer.threshold)}).to({x}.dtype)"


@SOURCE.register("AbsVal")
def absolute(code: Code, x: str) -> str:
    return call("torch.abs", x)


@SOURCE.register("Exp")
def exp(code: Code, x: str) -> str:
    layer = code.step.layer
    return call("torch.exp", _linear(x, layer.scale, layer.shift))


@SOURCE.register("Log")
def log(code: Code, x: str) -> str:
    layer = code.step.layer
    found = call("torch.log", _linear(x, layer.scale, layer.shift))
    return found if layer.factor == 1 else f"{number(layer.factor)} * {found}"


def _linear(x: str, scale: float, shift: float) -> str:
    scaled = x if scale == 1 else f"{number(scale)} * {x}"
    return scaled if shift == 0 else f"{scaled} + {number(shift)}".replace("+ -", "- ")


@SOURCE.register("Power")
def power(code: Code, x: str) -> str:
    layer = code.step.layer
    linear = _linear(x, layer.scale, layer.shift)
    if layer.power == 1:
        return linear if linear != x else f"{x}.clone()"
    return f"{linear if linear == x else f'({linear})'} ** {number(layer.power)}"


@SOURCE.register("Eltwise")
def eltwise(code: Code, *bottoms: str) -> str:
    layer = code.step.layer
    if layer.operation == "MAX":
        return reduce(lambda left, right: call("torch.maximum", left, right), bottoms)
    if layer.operation == "PROD":
        return " * ".join(bottoms)
    terms = [_term(bottom, coeff) for bottom, coeff in zip(bottoms, layer.coeff or [1.0] * len(bottoms), strict=True)]
    return " + ".join(terms).replace("+ -", "- ")


def _term(bottom: str, coeff: float) -> str:
    if abs(coeff) == 1:
        return bottom if coeff == 1 else f"-{bottom}"
    return f"{number(coeff)} * {bottom}"


@SOURCE.register("Softmax")
def softmax(code: Code, x: str) -> str:
    return call("F.softmax", x, dim=code.step.layer.axis)


@SOURCE.register("Reduction")
def reduction(code: Code, x: str) -> str:
    layer = code.step.layer
    rows = x if layer.axis == len(code.shapes[0]) - 1 else f"{x}.flatten({layer.axis})"
    terms = {"SUM": "", "ASUM": ".abs()", "SUMSQ": ".square()", "MEAN": ""}[layer.operation]
    reduced = f"{rows}{terms}.{'mean' if layer.operation == 'MEAN' else 'sum'}(-1)"
    return reduced if layer.coeff == 1 else f"{number(layer.coeff)} * {reduced}"


@SOURCE.register("ArgMax")
def argmax(code: Code, x: str) -> str:
    layer = code.step.layer
    rank = code.helper("_rank")
    if layer.axis is not None:
        return f"{call(rank, x, layer.axis, layer.top_k)}[{0 if layer.with_scores else 1}]"
    ones = len(code.shapes[0]) - 3
    settings = other_than(scores=(layer.with_scores, False), ones=(max(ones, 0), 0))
    return call(code.helper("_rank_items"), x, layer.top_k, **settings)
