"""Translations of Pooling and SPP."""

from __future__ import annotations

from types import SimpleNamespace

from demitasse.export.source.base import SOURCE, Code, call, other_than


@SOURCE.register("Pooling")
def pooling(code: Code, x: str) -> str:
    given = code.settings
    return _with_places(code, given, x) if len(code.step.outputs) > 1 else _pooled(code, given, x, "share")


def _with_places(code: Code, given: SimpleNamespace, x: str) -> str:
    settings = other_than(padding=((0, 0) if given.margin else given.pad, 0), ceil_mode=(given.ceil_mode, False))
    if given.margin:
        settings = {"margin": f"({', '.join(map(str, given.margin))})"}
    return call(code.helper("_max_pool"), x, given.kernel, given.stride, **settings)


@SOURCE.register("SPP")
def pyramid(code: Code, x: str) -> str:
    levels = enumerate(code.settings.levels)
    pooled = [_pooled(code, level, x, f"share{index}") for index, level in levels]
    return (
        pooled[0]
        if len(pooled) == 1
        else f"torch.cat(({', '.join(f'{_grouped(each)}.flatten(1)' for each in pooled)}), dim=1)"
    )


def _grouped(expression: str) -> str:
    return f"({expression})" if " * " in expression else expression


def _pooled(code: Code, given: SimpleNamespace, x: str, share: str) -> str:
    if given.method == "STOCHASTIC":
        code.refuse("expected MAX or AVE")
    function = "max" if given.method == "MAX" else "avg"
    if given.kernel == given.plane and not any(given.pad):
        return call(f"F.adaptive_{function}_pool2d", x, 1)
    if given.margin:
        return _padded(code, given, x, share)
    settings = other_than(
        stride=(given.stride, given.kernel), padding=(given.pad, 0), ceil_mode=(given.ceil_mode, False)
    )
    return call(f"F.{function}_pool2d", x, given.kernel, **settings)


def _padded(code: Code, given: SimpleNamespace, x: str, share: str) -> str:
    """Returns the pooling of a bottom that is padded by hand, for windows that torch's own rules do not give."""
    margin = f"({', '.join(map(str, given.margin))})"
    settings = other_than(stride=(given.stride, given.kernel))
    if given.method == "MAX":
        padded = call("F.pad", x, margin, value="torch.finfo(torch.float32).min")
        return call("F.max_pool2d", padded, given.kernel, **settings)
    total = call("F.avg_pool2d", call("F.pad", x, margin), given.kernel, **settings, divisor_override=1)
    return f"{total} * {code.buffer(share, code.weights[share])}"
