"""Translations of layers that only forks of Caffe have."""

from __future__ import annotations

from demitasse.export.source.base import SOURCE, Code, call, number


@SOURCE.register("Permute", "Transpose")
def permute(code: Code, x: str) -> str:
    return call(f"{x}.permute", *code.settings.order)


@SOURCE.register("Reverse")
def reverse(code: Code, x: str) -> str:
    return call(f"{x}.flip", code.settings.axis)


@SOURCE.register("ShuffleChannel")
def shuffle_channel(code: Code, x: str) -> str:
    if len(code.shapes[0]) == 4:
        return call("F.channel_shuffle", x, code.settings.group)
    return f"{x}.unflatten(1, ({code.settings.group}, -1)).transpose(1, 2).flatten(1, 2)"


@SOURCE.register("Axpy")
def axpy(code: Code, factor: str, x: str, y: str) -> str:
    factor = factor if len(code.shapes[0]) == 4 else f"{factor}[:, :, None, None]"
    return f"{factor} * {x} + {y}"


@SOURCE.register("ReLU6")
def relu6(code: Code, x: str) -> str:
    return f"torch.clamp({x}, 0, 6) + {number(code.settings.slope)} * torch.clamp({x}, max=0)"


@SOURCE.register("Interp")
def interp(code: Code, x: str, reference: str = "") -> str:
    start, end = code.settings.crop
    height, width = code.shapes[0][2:]
    cropped = f"{x}[:, :, {start}:{height - end}, {start}:{width - end}]" if start or end else x
    return call("F.interpolate", cropped, str(code.settings.plane), mode='"bilinear"', align_corners="True")


@SOURCE.register("Normalize")
def normalize(code: Code, x: str) -> str:
    axes = tuple(range(1, len(code.shapes[0]))) if code.settings.across else 1
    weight = code.parameter("weight", code.weights["weight"].reshape(-1, *[1] * (len(code.shapes[0]) - 2)))
    return f"{x} / ({x}.square().sum({axes}, keepdim=True) + {number(code.settings.eps)}).sqrt() * {weight}"


@SOURCE.register("Upsample")
def upsample(code: Code, x: str, *mask: str) -> str:
    if mask:
        return call(code.helper("_unpool"), x, mask[0], *code.settings.plane)
    return call("F.interpolate", x, scale_factor=code.settings.scale)
