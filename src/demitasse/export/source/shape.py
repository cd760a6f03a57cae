"""Translations of layers that move values without changing them."""

from __future__ import annotations

from demitasse.export.source.base import SOURCE, Code, call


@SOURCE.register("Concat")
def concat(code: Code, *bottoms: str) -> str:
    listed = f"({', '.join(bottoms)}{',' if len(bottoms) == 1 else ''})"
    return call("torch.cat", listed, dim=code.settings.axis)


@SOURCE.register("Slice")
def slices(code: Code, x: str) -> str:
    given = code.settings
    return call("torch.split", x, str(given.sizes), dim=given.axis)


@SOURCE.register("Crop")
def crop(code: Code, x: str, reference: str) -> str:
    given = code.settings
    cuts = [":"] * given.axis
    for axis, start in enumerate(given.offset, given.axis):
        size = f"{reference}.shape[{axis}]"
        cuts.append(f"{start} : {start} + {size}" if start else f": {size}")
    return f"{x}[{', '.join(cuts)}]"


@SOURCE.register("Tile")
def tile(code: Code, x: str) -> str:
    given = code.settings
    times = [given.tiles if axis == given.axis else 1 for axis in range(len(code.shapes[0]))]
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
    given = code.settings
    end = [] if given.end_axis == len(code.shapes[0]) - 1 else [given.end_axis]
    return call(f"{x}.flatten", given.axis, *end)


@SOURCE.register("Reshape")
def reshape(code: Code, x: str) -> str:
    given, ndim = code.settings, len(code.shapes[0])
    kept = f"{x}.shape[{{}}]"
    before = [kept.format(axis) for axis in range(given.start)]
    middle = [str(size) if size else kept.format(given.start + i) for i, size in enumerate(given.dims)]
    behind = [kept.format(axis) for axis in range(given.end, ndim)]
    return call(f"{x}.reshape", *before, *middle, *behind)
