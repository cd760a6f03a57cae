"""Translations of layers with weights: convolutions, inner products, normalizations, scales."""

from __future__ import annotations

from demitasse.export.source.base import SOURCE, Code, call, literal, number, other_than


@SOURCE.register("Convolution", "Deconvolution")
def convolution(code: Code, *bottoms: str) -> list[str]:
    given, weight, bias = code.settings, code.weights["weight"], code.weights.get("bias")
    axes = len(given.kernel)
    if given.axis != 1 or not 1 <= axes <= 3:
        code.refuse(f"it has {axes} spatial axes from axis {given.axis + 1} on; nn has 1 to 3 from axis 2 on")
    settings = other_than(
        stride=(given.stride, 1),
        padding=(given.pad, 0),
        dilation=(given.dilation, 1),
        groups=(given.group, 1),
        bias=(bias is not None, True),
    )
    transposed = code.step.kind == "Deconvolution"
    outputs = weight.shape[1] * given.group if transposed else len(weight)
    kind = f"nn.ConvTranspose{axes}d" if transposed else f"nn.Conv{axes}d"
    made = call(kind, code.shapes[0][1], outputs, kernel_size=given.kernel, **settings)
    name = code.module(made, weight=weight, bias=bias)
    return [f"{name}({bottom})" for bottom in bottoms]


@SOURCE.register("InnerProduct")
def inner_product(code: Code, x: str) -> str:
    axis, weight, bias = code.settings.axis, code.weights["weight"], code.weights.get("bias")
    outputs, inputs = weight.shape
    settings = {} if bias is not None else {"bias": False}
    name = code.module(call("nn.Linear", inputs, outputs, **settings), weight=weight, bias=bias)
    return f"{name}({x})" if axis == len(code.shapes[0]) - 1 else f"{name}({x}.flatten({axis}))"


@SOURCE.register("BatchNorm")
def batch_norm(code: Code, x: str) -> str:
    weights, shape = code.weights, code.shapes[0]
    if len(shape) < 2 or len(shape) > 5 or "mean" not in weights:
        code.refuse("expected 2 to 5 axes, and the statistics of training")
    scaled = "weight" in weights
    settings = other_than(eps=(code.settings.eps, 1e-5), affine=(scaled, True))
    mean = weights["mean"]
    tensors = {name: weights[name] for name in ("weight", "bias")} if scaled else {}
    tensors |= {"running_mean": mean, "running_var": weights["variance"]}
    tensors["num_batches_tracked"] = mean.new_zeros(()).long()
    name = code.module(call(f"nn.BatchNorm{max(len(shape) - 2, 1)}d", shape[1], **settings), **tensors)
    return f"{name}({x})"


@SOURCE.register("Scale")
def scale(code: Code, x: str, *factor: str) -> str:
    by = _expanded(code, factor[0]) if factor else _operand(code, "weight")
    product = f"{x} * {by}"
    return f"{product} + {_operand(code, 'bias')}" if "bias" in code.weights else product


@SOURCE.register("Bias")
def bias(code: Code, x: str, *summand: str) -> str:
    return f"{x} + {_expanded(code, summand[0]) if summand else _operand(code, 'bias')}"


def _operand(code: Code, name: str) -> str:
    """Returns the parameter that a Scale or a Bias broadcasts."""
    return code.parameter(name, code.weights[name].reshape(code.settings.expanded))


def _expanded(code: Code, operand: str) -> str:
    """Returns the second bottom with axes of size 1 appended, so that it is broadcast."""
    behind = len(code.settings.expanded) - len(code.shapes[1])
    return f"{operand}[{', '.join(['...', *['None'] * behind])}]" if behind else operand


@SOURCE.register("PReLU")
def prelu(code: Code, x: str) -> str:
    weight = code.weights["weight"].reshape(-1)
    settings = {} if len(weight) == 1 else {"num_parameters": len(weight)}
    return f"{code.module(call('nn.PReLU', *settings.values()), weight=weight)}({x})"


@SOURCE.register("Parameter")
def parameter(code: Code) -> str:
    return code.parameter("weight", code.weights["weight"])


@SOURCE.register("Embed")
def embed(code: Code, x: str) -> str:
    weight, bias = code.weights["weight"], code.weights.get("bias")
    name = code.module(call("nn.Embedding", *weight.shape), weight=weight)
    rows = f"{name}({x}.long())"
    return rows if bias is None else f"{rows} + {code.parameter('bias', bias)}"


@SOURCE.register("MVN")
def mvn(code: Code, x: str) -> str:
    given = code.settings
    settings = other_than(axis=(given.axes, 2), divides=(given.divides, True), eps=(given.eps, 1e-9))
    return call(code.helper("_mvn"), x, **settings)


@SOURCE.register("LRN")
def lrn(code: Code, x: str) -> str:
    given = code.settings
    if given.across:
        settings = other_than(alpha=(given.alpha, 1e-4), beta=(given.beta, 0.75), k=(given.k, 1.0))
        return call("F.local_response_norm", x, given.size, **settings)
    mean = call("F.avg_pool2d", f"{x}.square()", given.size, stride=1, padding=given.size // 2)
    return f"{x} * (1 + {number(given.alpha)} * {mean}) ** -{literal(given.beta)}"
