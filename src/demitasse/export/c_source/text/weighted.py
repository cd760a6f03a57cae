"""C of convolutions and inner products: each weight is read once a row, or once a band of rows of a plane."""

from __future__ import annotations

from typing import NamedTuple

from demitasse.export.c_source.layout import result_rows
from demitasse.export.c_source.net import CNet, PlaneWindows, Pooling2d, WeightedSum
from demitasse.export.c_source.streams import WeightStream
from demitasse.export.c_source.text.dialect import Dialect, LayerText, Table, WeightText
from demitasse.export.c_source.text.lines import filled
from demitasse.export.c_source.text.pooling import pool
from demitasse.export.c_source.text.readers import StreamReader, reader

_INNER_PRODUCT = """
static void ${function}(const $from *input, $to *output)
{
    $opening
    ${name}_cursor at = $cursor;
    $index row;
    $first
    for (row = 0; row != $rows; ++row) {
        $channel
        $sum_type sum = $start;
        while (at.column < $columns) {
            $each
            ++at.column;
            $move
        }
        at.column -= $columns;
        output[row] = ($to)$result;
    }
}
"""

_CONVOLUTION = """
static void ${function}(const $from *input, $to *output, $sum_type *sums)
{
    $opening
    ${name}_cursor at = $cursor, from_here;
    $index channel;
    $groups_opening
    $first
    for (channel = 0; channel != $channels; ++channel) {
        $groups
        $channel_opening
        $index row = 0, y = $top, seen = $seen$seen_opening;
        from_here = at;
        while (row != $rows) {
            const $index last_row = $last_row;
            const $from *plane = input;
            $sum_type *sum_line;
            const $sum_type *end = sums + $size;
            $index first_y = y, last_y = y + $height, line = seen, start = 0, i$lines;
            $clip
            for (sum_line = sums; sum_line != end; ++sum_line) {
                *sum_line = $start;
            }
            at = from_here;
            while (at.column < $columns) {
                $each
                ++at.column;
                $move
            }
            $finish
            $down
            $seen_down
            seen += $seen_step;
        }
        at.column -= $columns;
    }
}
"""

# adds one weight to a band: ``place`` is the index of the first value that the line of sums takes from the plane
_SPREAD = """
$find_plane
{
    $declared
    $moves
    sum_line = sums$skip;
    for (i = first_y; i != last_y; ++i) {
        $spread
        sum_line += $width;
        $y_step
        place += $pitch;
    }
}
"""


class WeightedText(NamedTuple):
    """A weighted sum in C.

    Attributes:
        stream: its weights.
        tables: its tables.
        functions: its functions.
        reader: how the stream is read.
    """

    stream: WeightStream
    tables: list[Table]
    functions: str
    reader: StreamReader


def weighted_text(
    net: CNet, index: int, function: str, dialect: Dialect, band: int, found: WeightStream, cursor_end: str
) -> WeightedText:
    """Returns the C of a weighted sum.

    Args:
        net: the net.
        index: the number of the operation.
        function: the name of its function.
        dialect: of the arithmetic.
        band: rows of the result that are computed at once, of a convolution.
        found: the stream of its codes.
        cursor_end: the last of what cursors are initialized with.
    """
    operation = net.operations[index]
    assert isinstance(operation, WeightedSum)
    layer, weights = dialect.layer(index, operation, function), dialect.weights(index, operation, function)
    read = reader(found, dialect.name)
    common = {
        "function": function,
        "name": dialect.name,
        "index": dialect.index,
        "from": dialect.ctype(operation.input),
        "to": dialect.ctype(operation.output),
        "sum_type": dialect.sum_type,
        "cursor": f"{{{function}_stream, 0, 0, 0{', 0' * bool(dialect.cursor)}{cursor_end}}}",
        "first": "\n".join(filter(None, [weights.first, read.begin, read.move])),
        "opening": layer.opening,
        "start": weights.start,
        "columns": operation.weight.shape[1],
        "move": read.move,
    }
    if operation.windows is None:
        each = f"const {dialect.sum_type} value = input[at.column];\n{weights.term}"
        made = filled(
            _INNER_PRODUCT,
            **common,
            rows=len(operation.weight),
            channel=layer.channel,
            each=_each(weights, read, each),
            result=layer.result,
        )
    else:
        made = _convolution(operation, common, weights, read, dialect, layer, band)
    tables = [Table("uint8_t", f"{function}_stream", [str(each) for each in found.content])]
    return WeightedText(found, [*tables, *weights.tables, *layer.tables], f"{layer.functions}\n{made}", read)


def _each(weights: WeightText, read: StreamReader, statements: str) -> str:
    """Returns the statements for a weight; a code of 0 is passed over."""
    if not read.has_zeros:
        return f"{weights.weight.replace('RANK', read.code)}\n{statements}"
    body = f"{weights.weight.replace('RANK', 'code - 1')}\n{statements}"
    return filled(
        "{\n    const uint8_t code = $code;\n    if (code != 0) {\n        $body\n    }\n}", code=read.code, body=body
    )


class _Band(NamedTuple):
    """How bands of rows of the result follow one another.

    Attributes:
        rows: of the result in a band.
        top: the first row of sums that the first row of the result takes; negative where it takes padding.
        down: rows of sums from one row of the result to the next.
        span: rows of sums in a band, if none is outside.
        leaves: whether a band may reach below the last row of sums.
    """

    rows: int
    top: int
    down: int
    span: int
    leaves: bool


def _band(operation: WeightedSum, rows: int) -> _Band:
    assert operation.windows
    pooling = operation.pooling
    top, down, kernel = (
        (-pooling.windows.pad[0], pooling.windows.stride[0], pooling.windows.kernel[0]) if pooling else (0, 1, 1)
    )
    span = (rows - 1) * down + kernel
    last = -(-result_rows(operation) // rows) - 1
    return _Band(rows, top, down, span, top + last * rows * down + span > operation.windows.sizes[0])


def _convolution(
    operation: WeightedSum,
    common: dict[str, object],
    weights: WeightText,
    read: StreamReader,
    dialect: Dialect,
    layer: LayerText,
    band_size: int,
) -> str:
    windows, pooling = operation.windows, operation.pooling
    assert windows
    band, rows, (height, width) = _band(operation, band_size), result_rows(operation), windows.sizes
    down, pitch = windows.stride[0], windows.stride[0] * windows.plane[1]
    watches = bool(_row_conditions(windows))  # whether a window may see lines that are not in the plane
    pools_outside = pooling is not None and "y + " in _pooled(pooling, dialect, "")
    clip = []
    if band.top < 0:
        clip += ["while (first_y < 0) {", "    ++first_y;", f"    end -= {width};", f"    line += {pitch};"]
        clip += [f"    line_y += {down};"] * watches + [f"    window -= {width};"] * (pooling is not None) + ["}"]
    if band.leaves:
        clip += [f"while (last_y > {height}) {{", "    last_y--;", f"    end -= {width};", "}"]
    grouped = operation.groups > 1
    seen_top = band.top * down - windows.pad[0]
    planes = operation.weight.shape[1] // (windows.kernel[0] * windows.kernel[1])
    step = band.rows * band.down
    return filled(
        _CONVOLUTION,
        **common,
        channels=len(operation.weight),
        groups_opening=f"{dialect.index} group = 0; /* channels of the group that are done */" if grouped else "",
        groups=filled(
            """
            if (group == $size) {
                group = 0;
                input += $planes;
            }
            ++group;
            """,
            size=len(operation.weight) // operation.groups,
            planes=planes * windows.plane[0] * windows.plane[1],
        )
        if grouped
        else "",
        channel_opening=layer.channel,
        top=band.top,
        seen_opening=f", seen_y = {seen_top}" if watches else "",
        seen=seen_top * windows.plane[1],
        rows=rows,
        last_row=f"row + {band.rows}"
        if rows % band.rows == 0
        else f"row + {band.rows} < {rows} ? row + {band.rows} : {rows}",
        height=band.span,
        size=band.span * width,
        lines=(", line_y = seen_y" if watches else "") + (f", window = {-pooling.windows.pad[1]}" if pooling else ""),
        clip="\n".join(clip),
        width=width,
        each=_each(weights, read, _spread(windows, weights, dialect.index)),
        finish=_finish(pooling, layer.result, dialect, str(common["to"])),
        down="" if pools_outside else f"y += {step};",
        seen_down=f"seen_y += {step * down};" if watches else "",
        seen_step=step * pitch,
    )


def _row_conditions(windows: PlaneWindows) -> list[str]:
    """Returns the conditions for a line to be in the plane, of those that windows do not meet anyway."""
    end = (windows.sizes[0] - 1) * windows.stride[0] + windows.reach[0] - windows.pad[0]
    return ["y_here >= 0"] * (windows.pad[0] > 0) + [f"y_here < {windows.plane[0]}"] * (end > windows.plane[0])


def _spread(windows: PlaneWindows, weights: WeightText, index: str) -> str:
    """Returns the statements that add one weight to a band."""
    (height, width), left, (down, across) = windows.plane, windows.pad[1], windows.stride
    (kernel_height, kernel_width), columns = windows.kernel, windows.sizes[1]
    last, area, conditions = (columns - 1) * across, kernel_height * kernel_width, _row_conditions(windows)
    overhangs = last + windows.reach[1] - left > width
    declared = ["place = line", *["rest = at.column - start"] * (area > 1), *["y_here = line_y"] * bool(conditions)]
    declared += [f"x_here = {-left}"] * (kernel_width > 1 or left > 0 or overhangs) + ["x = 0"] * (left > 0)
    moves = []
    if kernel_height > 1:
        moves += [f"while (rest >= {kernel_width}) {{", f"    rest -= {kernel_width};"]
        moves += [f"    y_here += {windows.dilation[0]};"] * bool(conditions)
        moves += [f"    place += {windows.dilation[0] * width};", "}"]
    if kernel_width > 1:
        step = windows.dilation[1]
        moves += ["x_here += rest;"] if step == 1 else ["for (; rest != 0; rest--) {", f"    x_here += {step};", "}"]
    if left > 0 or overhangs:
        moves.append(f"count = {columns};")
    if overhangs:
        moves += [f"for (last = x_here + {last}; last >= {width}; last -= {across}) {{", "    count--;", "}"]
    if left > 0:
        moves += ["while (x_here < 0) {", f"    x_here += {across};", "    ++x;", "    count--;", "}"]
    if any(each.startswith("x_here") for each in declared):
        moves.append("place += x_here;")
    declared += ["count"] * (left > 0 or overhangs) + ["last"] * overhangs
    function, argument = weights.add
    count = "count" if "count" in declared else str(columns)
    call = f"{function}(sum_line, plane + place, {count}, {across}, {argument});"
    return filled(
        _SPREAD,
        find_plane=f"while (at.column - start >= {area}) {{\n    start += {area};\n    plane += {height * width};\n}}",
        declared=f"{index} {', '.join(declared)};",
        moves="\n".join(moves),
        skip=" + x" if left > 0 else "",
        spread=f"if ({' && '.join(conditions)}) {{\n    {call}\n}}" if conditions else call,
        width=columns,
        y_step=f"y_here += {down};" if conditions else "",
        pitch=down * width,
    )


def _finish(pooling: Pooling2d | None, result: str, dialect: Dialect, to: str) -> str:
    """Returns the loops that make results of the sums of a band."""
    store = f"*sum_line = {result};" if pooling else f"*output = ({to}){result};\n++output;"
    return filled(
        """
        for (sum_line = sums; sum_line != end; ++sum_line) {
            const $sum_type sum = *sum_line;
            $store
        }
        $ending
        """,
        sum_type=dialect.sum_type,
        store=store,
        ending=_pooled(pooling, dialect, to) if pooling else "row = last_row;",
    )


def _pooled(pooling: Pooling2d, dialect: Dialect, to: str) -> str:
    return pool(pooling, "sums", to, dialect)
