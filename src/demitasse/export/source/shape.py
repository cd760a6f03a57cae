"""Values moved without being changed."""

from __future__ import annotations

from demitasse.export.source.base import SOURCE, Code, call


@SOURCE.register("Concat")
def concat(code: Code, *bottoms: str) -> str:
    listed = f"({', '.join(bottoms)}{',' if len(bottoms) == 1 else ''})"
    return call("torch.cat", listed, dim=code.step.layer.axis)


@SOURCE.register("Slice")
def slices(code: Code, x: str) -> str:
    layer = code.step.layer
    return call("torch.split", x, str(layer.sizes), dim=layer.axis)


@SOURCE.register("Flatten")
def flatten(code: Code, x: str) -> str:
    layer = code.step.layer
    end = [] if layer.end_axis == len(code.shapes[0]) - 1 else [layer.end_axis]
    return call(f"{x}.flatten", layer.axis, *end)


@SOURCE.register("Reshape")
def reshape(code: Code, x: str) -> str:
    layer, ndim = code.step.layer, len(code.shapes[0])
    kept = f"{x}.shape[{{}}]"
    before = [kept.format(axis) for axis in range(layer.start)]
    middle = [str(size) if size else kept.format(layer.start + i) for i, size in enumerate(layer.dims)]
    behind = [kept.format(axis) for axis in range(layer.end, ndim)]
    return call(f"{x}.reshape", *before, *middle, *behind)
