"""Pooling."""

from __future__ import annotations

from demitasse.caffe.layers.pooling import Pooling
from demitasse.export.source.base import SOURCE, Code, call, other_than


@SOURCE.register("Pooling")
def pooling(code: Code, x: str) -> str:
    layer = code.step.layer
    return _with_places(code, layer, x) if len(code.step.tops) > 1 else _pooled(code, layer, x, "share")


def _with_places(code: Code, layer: Pooling, x: str) -> str:
    settings = other_than(padding=((0, 0) if layer.margin else layer.pad, 0), ceil_mode=(layer.ceil_mode, False))
    if layer.margin:
        settings = {"margin": f"({', '.join(map(str, layer.margin))})"}
    return call(code.helper("_max_pool"), x, layer.kernel, layer.stride, **settings)


@SOURCE.register("SPP")
def pyramid(code: Code, x: str) -> str:
    levels = code.step.layer.levels
    pooled = [_pooled(code, level, x, f"share{index}") for index, level in enumerate(levels)]
    return (
        pooled[0]
        if len(pooled) == 1
        else f"torch.cat(({', '.join(f'{_grouped(each)}.flatten(1)' for each in pooled)}), dim=1)"
    )


def _grouped(expression: str) -> str:
    return f"({expression})" if " * " in expression else expression


def _pooled(code: Code, layer: Pooling, x: str, share: str) -> str:
    if layer.method == "STOCHASTIC":
        code.refuse("expected MAX or AVE")
    function = "max" if layer.method == "MAX" else "avg"
    if layer.kernel == layer.plane and not any(layer.pad):
        return call(f"F.adaptive_{function}_pool2d", x, 1)
    if layer.margin:
        return _padded(code, layer, x, share)
    settings = other_than(
        stride=(layer.stride, layer.kernel), padding=(layer.pad, 0), ceil_mode=(layer.ceil_mode, False)
    )
    return call(f"F.{function}_pool2d", x, layer.kernel, **settings)


def _padded(code: Code, layer: Pooling, x: str, share: str) -> str:
    """Windows that torch's own rules do not give, of a bottom that is padded to fit."""
    margin = f"({', '.join(map(str, layer.margin))})"
    settings = other_than(stride=(layer.stride, layer.kernel))
    if layer.method == "MAX":
        padded = call("F.pad", x, margin, value="torch.finfo(torch.float32).min")
        return call("F.max_pool2d", padded, layer.kernel, **settings)
    total = call("F.avg_pool2d", call("F.pad", x, margin), layer.kernel, **settings, divisor_override=1)
    return f"{total} * {code.buffer(share, layer.share)}"
