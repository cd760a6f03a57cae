"""Translations of what is computed entry by entry: activations, elementary functions, Eltwise; and reductions."""

from __future__ import annotations

from functools import reduce

from demitasse.export.source.base import SOURCE, Code, call, number, other_than


@SOURCE.register("ReLU")
def relu(code: Code, x: str) -> str:
    slope = code.settings.slope
    return call("F.leaky_relu", x, slope) if slope else call("F.relu", x)


@SOURCE.register("Sigmoid")
def sigmoid(code: Code, x: str) -> str:
    return call("torch.sigmoid", x)


@SOURCE.register("TanH")
def tanh(code: Code, x: str) -> str:
    return call("torch.tanh", x)


@SOURCE.register("Dropout")
def dropout(code: Code, x: str) -> str:
    given = code.settings
    top = call("F.dropout", x, given.ratio, training="True" if given.samples else "self.training")
    return top if given.factor == 1 else f"{top} * {given.factor!r}"


@SOURCE.register("SpatialDropout")
def spatial_dropout(code: Code, x: str) -> str:
    return call("F.dropout2d", x, code.settings.ratio, "self.training")


@SOURCE.register("ELU")
def elu(code: Code, x: str) -> str:
    return call("F.elu", x, **other_than(alpha=(code.settings.alpha, 1.0)))


@SOURCE.register("Swish")
def swish(code: Code, x: str) -> str:
    beta = code.settings.beta
    return call("F.silu", x) if beta == 1 else f"{x} * torch.sigmoid({number(beta)} * {x})"


@SOURCE.register("BNLL")
def bnll(code: Code, x: str) -> str:
    return call("F.softplus", x, threshold=50)


@SOURCE.register("HardSigmoid")
def hard_sigmoid(code: Code, x: str) -> str:
    return f"(0.2 * {x} + 0.5).clamp(0, 1)"


@SOURCE.register("Clip")
def clip(code: Code, x: str) -> str:
    given = code.settings
    return call("torch.clamp", x, given.min, given.max)


@SOURCE.register("Threshold")
def threshold(code: Code, x: str) -> str:
    return f"({x} > {number(code.settings.threshold)}).to({x}.dtype)"


@SOURCE.register("AbsVal")
def absolute(code: Code, x: str) -> str:
    return call("torch.abs", x)


@SOURCE.register("Exp")
def exp(code: Code, x: str) -> str:
    given = code.settings
    return call("torch.exp", _linear(x, given.scale, given.shift))


@SOURCE.register("Log")
def log(code: Code, x: str) -> str:
    given = code.settings
    found = call("torch.log", _linear(x, given.scale, given.shift))
    return found if given.factor == 1 else f"{number(given.factor)} * {found}"


def _linear(x: str, scale: float, shift: float) -> str:
    scaled = x if scale == 1 else f"{number(scale)} * {x}"
    return scaled if shift == 0 else f"{scaled} + {number(shift)}".replace("+ -", "- ")


@SOURCE.register("Power")
def power(code: Code, x: str) -> str:
    given = code.settings
    linear = _linear(x, given.scale, given.shift)
    if given.power == 1:
        return linear if linear != x else f"{x}.clone()"
    return f"{linear if linear == x else f'({linear})'} ** {number(given.power)}"


@SOURCE.register("Eltwise")
def eltwise(code: Code, *bottoms: str) -> str:
    given = code.settings
    if given.operation == "MAX":
        return reduce(lambda left, right: call("torch.maximum", left, right), bottoms)
    if given.operation == "PROD":
        return " * ".join(bottoms)
    terms = [_term(bottom, coeff) for bottom, coeff in zip(bottoms, given.coeff or [1.0] * len(bottoms), strict=True)]
    return " + ".join(terms).replace("+ -", "- ")


def _term(bottom: str, coeff: float) -> str:
    if abs(coeff) == 1:
        return bottom if coeff == 1 else f"-{bottom}"
    return f"{number(coeff)} * {bottom}"


@SOURCE.register("Softmax")
def softmax(code: Code, x: str) -> str:
    return call("F.softmax", x, dim=code.settings.axis)


@SOURCE.register("Reduction")
def reduction(code: Code, x: str) -> str:
    given = code.settings
    rows = x if given.axis == len(code.shapes[0]) - 1 else f"{x}.flatten({given.axis})"
    terms = {"SUM": "", "ASUM": ".abs()", "SUMSQ": ".square()", "MEAN": ""}[given.operation]
    reduced = f"{rows}{terms}.{'mean' if given.operation == 'MEAN' else 'sum'}(-1)"
    return reduced if given.coeff == 1 else f"{number(given.coeff)} * {reduced}"


@SOURCE.register("ArgMax")
def argmax(code: Code, x: str) -> str:
    given = code.settings
    rank = code.helper("_rank")
    if given.axis is not None:
        return f"{call(rank, x, given.axis, given.top_k)}[{0 if given.with_scores else 1}]"
    ones = len(code.shapes[0]) - 3
    settings = other_than(scores=(given.with_scores, False), ones=(max(ones, 0), 0))
    return call(code.helper("_rank_items"), x, given.top_k, **settings)
