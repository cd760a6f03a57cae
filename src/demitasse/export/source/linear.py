"""Convolutions, inner products, normalizations and scales: what has weights."""

from __future__ import annotations

from demitasse.export.source.base import SOURCE, Code, call, literal, number, other_than
from demitasse.export.steps import statistics


def _window(layer: object, *names: str) -> dict[str, object]:
    defaults = {"stride": 1, "pad": 0, "dilation": 1, "group": 1}
    keys = {"pad": "padding", "group": "groups"}
    return other_than(**{keys.get(name, name): (getattr(layer, name), defaults[name]) for name in names})


@SOURCE.register("Convolution")
def convolution(code: Code, *bottoms: str) -> list[str]:
    layer = code.step.layer
    axes = len(layer.stride)
    if layer.axis != 1 or not 1 <= axes <= 3:
        code.refuse(f"it has {axes} spatial axes from axis {layer.axis + 1} on; nn has 1 to 3 from axis 2 on")
    settings = _window(layer, "stride", "pad", "dilation", "group")
    if layer.bias is None:
        settings["bias"] = False
    channels = code.shapes[0][1]
    kernel = tuple(layer.weight.shape[2:])
    made = call(f"nn.Conv{axes}d", channels, layer.weight.shape[0], kernel_size=kernel, **settings)
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
    mean, variance = statistics(layer)
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


@SOURCE.register("LRN")
def lrn(code: Code, x: str) -> str:
    layer = code.step.layer
    if layer.across:
        settings = other_than(alpha=(layer.alpha, 1e-4), beta=(layer.beta, 0.75), k=(layer.k, 1.0))
        return call("F.local_response_norm", x, layer.size, **settings)
    mean = call("F.avg_pool2d", f"{x}.square()", layer.size, stride=1, padding=layer.size // 2)
    return f"{x} * (1 + {number(layer.alpha)} * {mean}) ** -{literal(layer.beta)}"
