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


@SOURCE.register("Crop")
def crop(code: Code, x: str, reference: str) -> str:
    layer = code.step.layer
    cuts = [":"] * layer.axis
    for axis, start in enumerate(layer.offset, layer.axis):
        size = f"{reference}.shape[{axis}]"
        cuts.append(f"{start} : {start} + {size}" if start else f": {size}")
    return f"{x}[{', '.join(cuts)}]"


@SOURCE.register("Tile")
def tile(code: Code, x: str) -> str:
    layer = code.step.layer
    times = [layer.tiles if axis == layer.axis else 1 for axis in range(len(code.shapes[0]))]
    return call(f"{x}.repeat", *times)


@SOURCE.register("BatchReindex")
def batch_reindex(code: Code, x: str, numbers: str) -> str:
    return f"{x}[{numbers}.long()]"


@SOURCE.register("Filter")
def filtered(code: Code, *bottoms: str) -> list[str]:
    *taken, selector = bottoms
    return [f"{x}[{selector}.flatten() != 0]" for x in taken]


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
