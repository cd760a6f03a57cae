"""Convolutions, inner products, normalizations and scales: what has weights."""

from __future__ import annotations

from demitasse.export.source.base import SOURCE, Code, call, literal, number, other_than


@SOURCE.register("Convolution", "Deconvolution")
def convolution(code: Code, *bottoms: str) -> list[str]:
    layer = code.step.layer
    window, axes = layer.window, len(layer.window.kernel)
    if layer.axis != 1 or not 1 <= axes <= 3:
        code.refuse(f"it has {axes} spatial axes from axis {layer.axis + 1} on; nn has 1 to 3 from axis 2 on")
    settings = other_than(
        stride=(window.stride, 1),
        padding=(window.pad, 0),
        dilation=(window.dilation, 1),
        groups=(layer.group, 1),
        bias=(layer.bias is not None, True),
    )
    kind = "nn.ConvTranspose" if code.step.kind == "Deconvolution" else "nn.Conv"
    sizes = code.shapes[0][1], layer.settings.num_output
    made = call(f"{kind}{axes}d", *sizes, kernel_size=window.kernel, **settings)
    name = code.module(made, weight=layer.weight, bias=layer.bias)
    return [f"{name}({bottom})" for bottom in bottoms]


@SOURCE.register("InnerProduct")
def inner_product(code: Code, x: str) -> str:
    layer = code.step.layer
    outputs, inputs = layer.weight.shape
    settings = {} if layer.bias is not None else {"bias": False}
    name = code.module(call("nn.Linear", inputs, outputs, **settings), weight=layer.weight, bias=layer.bias)
    return f"{name}({x})" if layer.axis == len(code.shapes[0]) - 1 else f"{name}({x}.flatten({layer.axis}))"


@SOURCE.register("BatchNorm")
def batch_norm(code: Code, x: str) -> str:
    layer, scale, shape = code.step.layer, code.step.scale, code.shapes[0]
    if len(shape) < 2 or len(shape) > 5 or layer.use_blobs is False:
        code.refuse("expected 2 to 5 axes, and the statistics of training")
    mean, variance = layer.statistics()
    settings = other_than(eps=(layer.eps, 1e-5), affine=(scale is not None, True))
    tensors = {"running_mean": mean, "running_var": variance, "num_batches_tracked": mean.new_zeros(()).long()}
    if scale is not None:
        bias = scale.bias if scale.has_bias else scale.weight.new_zeros(scale.weight.shape)
        tensors = {"weight": scale.weight, "bias": bias, **tensors}
    name = code.module(call(f"nn.BatchNorm{max(len(shape) - 2, 1)}d", shape[1], **settings), **tensors)
    return f"{name}({x})"


@SOURCE.register("Scale")
def scale(code: Code, x: str, *factor: str) -> str:
    layer = code.step.layer
    by = _expanded(code, factor[0]) if factor else code.parameter("weight", layer.weight.reshape(layer.expanded))
    product = f"{x} * {by}"
    return f"{product} + {code.parameter('bias', layer.bias.reshape(layer.expanded))}" if layer.has_bias else product


@SOURCE.register("Bias")
def bias(code: Code, x: str, *summand: str) -> str:
    layer = code.step.layer
    other = _expanded(code, summand[0]) if summand else code.parameter("bias", layer.bias.reshape(layer.expanded))
    return f"{x} + {other}"


def _expanded(code: Code, operand: str) -> str:
    """Returns the second bottom with axes of size 1 behind, so that it is broadcast."""
    behind = len(code.step.layer.expanded) - len(code.shapes[1])
    return f"{operand}[{', '.join(['...', *['None'] * behind])}]" if behind else operand


@SOURCE.register("PReLU")
def prelu(code: Code, x: str) -> str:
    weight = code.step.layer.weight.reshape(-1)
    settings = {} if len(weight) == 1 else {"num_parameters": len(weight)}
    return f"{code.module(call('nn.PReLU', *settings.values()), weight=weight)}({x})"


@SOURCE.register("Parameter")
def parameter(code: Code) -> str:
    return code.parameter("weight", code.step.layer.weight)


@SOURCE.register("Embed")
def embed(code: Code, x: str) -> str:
    layer = code.step.layer
    name = code.module(call("nn.Embedding", *layer.weight.shape), weight=layer.weight)
    rows = f"{name}({x}.long())"
    return rows if layer.bias is None else f"{rows} + {code.parameter('bias', layer.bias)}"


@SOURCE.register("MVN")
def mvn(code: Code, x: str) -> str:
    layer = code.step.layer
    settings = other_than(axis=(layer.axes, 2), divides=(layer.divides, True), eps=(layer.eps, 1e-9))
    return call(code.helper("_mvn"), x, **settings)


@SOURCE.register("LRN")
def lrn(code: Code, x: str) -> str:
    layer = code.step.layer
    if layer.across:
        settings = other_than(alpha=(layer.alpha, 1e-4), beta=(layer.beta, 0.75), k=(layer.k, 1.0))
        return call("F.local_response_norm", x, layer.size, **settings)
    mean = call("F.avg_pool2d", f"{x}.square()", layer.size, stride=1, padding=layer.size // 2)
    return f"{x} * (1 + {number(layer.alpha)} * {mean}) ** -{literal(layer.beta)}"
