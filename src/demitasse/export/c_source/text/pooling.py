"""C that pools a plane, or a band of it."""

from __future__ import annotations

import numpy as np

from demitasse.export.c_source.evaluation import counts
from demitasse.export.c_source.net import PlaneWindows, Pooling2d
from demitasse.export.c_source.text.dialect import Dialect
from demitasse.export.c_source.text.lines import filled

_LOOPS = """
for (; row != last_row; ++row) {
    $index line = window$x;
    $index column;
    for (column = 0; column != $columns; ++column) {
        $index window_y, window_x, place = line;
        $begin
        for (window_y = 0; window_y != $height; ++window_y) {
            for (window_x = 0; window_x != $width; ++window_x) {
                $take
            }
            place += $pitch;
        }
        *output = ($to)$result;
        ++output;
        line += $across;
        $x_step
    }
    window += $down_pitch;
    $y_step
}
"""


def pool(pooling: Pooling2d, source: str, to: str, dialect: Dialect) -> str:
    """Returns loops that pool rows ``row`` to ``last_row``, of which the first window begins at row ``y`` of a plane.

    Args:
        pooling: the pooling.
        source: the array of the plane, or of a band of it; ``window`` is the index of the first window in it.
        to: the type of the results.
        dialect: of the arithmetic.
    """
    windows = pooling.windows
    areas = counts(windows)
    differ = pooling.method == "AVE" and bool(np.any(areas != areas[0, 0]))
    if pooling.method == "MAX":
        begin = f"{dialect.sum_type} best = {dialect.least};"
        take = f"if ({source}[place + window_x] > best) {{\n    best = {source}[place + window_x];\n}}"
        result = "best"
    else:
        begin = f"{dialect.sum_type} total = {dialect.zero};"
        take = f"total += {source}[place + window_x];"
        result = dialect.mean("count" if differ else str(int(areas[0, 0])))
    inside = [*_inside("y + window_y", windows, 0), *_inside("x + window_x", windows, 1)]
    if inside:
        take = filled("if ($inside) {\n    $take\n}", inside=" && ".join(inside), take=take)
    if differ:
        begin += f"\n{dialect.sum_type} count = {dialect.zero};"
        ends = [length + pad for length, pad in zip(windows.plane, windows.pad, strict=True)]
        take = f"if (y + window_y < {ends[0]} && x + window_x < {ends[1]}) {{\n    count += 1;\n}}\n{take}"
    return filled(
        _LOOPS,
        index=dialect.index,
        x=f", x = {-windows.pad[1]}" if "x + window_x" in take else "",
        x_step=f"x += {windows.stride[1]};" if "x + window_x" in take else "",
        y_step=f"y += {windows.stride[0]};" if "y + window_y" in take else "",
        columns=windows.sizes[1],
        begin=begin,
        height=windows.kernel[0],
        width=windows.kernel[1],
        take=take,
        pitch=windows.plane[1],
        to=to,
        result=result,
        across=windows.stride[1],
        down_pitch=windows.stride[0] * windows.plane[1],
    )


def _inside(place: str, windows: PlaneWindows, axis: int) -> list[str]:
    """Returns the conditions for a place to be in the plane, of those that windows do not meet anyway."""
    end = (windows.sizes[axis] - 1) * windows.stride[axis] + windows.kernel[axis] - windows.pad[axis]
    length = windows.plane[axis]
    return [f"{place} >= 0"] * (windows.pad[axis] > 0) + [f"{place} < {length}"] * (end > length)
