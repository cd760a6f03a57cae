"""C of operations without weights: pooling of planes, sums of tensors, limits."""

from __future__ import annotations

from demitasse.export.c_source.net import CNet, GreatestPlace, PlanePooling
from demitasse.export.c_source.text.dialect import Dialect, LayerText
from demitasse.export.c_source.text.lines import filled
from demitasse.export.c_source.text.pooling import pool

_POOLING = """
static void ${function}(const $from *input, $to *output)
{
    $index channel;
    for (channel = 0; channel != $channels; ++channel) {
        const $index last_row = $rows;
        $index row = 0, window = $window$y;
        $pool
        input += $area;
    }
}
"""

_POINTWISE = """
static void ${function}($parameters, $to *output)
{
    $opening
    $index i, channel;
    for (channel = 0; channel != $channels; ++channel) {
        $channel
        for (i = 0; i != $area; ++i) {
            const $sum_type sum = $summands;
            output[i] = ($to)$result;
        }
        $advance
        output += $area;
    }
}
"""


_GREATEST = """
static void ${function}(const $from *input, $to *output)
{
    $index i, best = 0;
    for (i = 1; i != $count; ++i) {
        if (input[i] $sign input[best]) {
            best = i;
        }
    }
    *output = ($to)best;
}
"""


def pooling_text(net: CNet, index: int, function: str, dialect: Dialect) -> str:
    """Returns the C of pooling."""
    operation = net.operations[index]
    assert isinstance(operation, PlanePooling)
    windows, to = operation.pooling.windows, dialect.ctype(operation.output)
    loops = pool(operation.pooling, "input", to, dialect)
    return filled(
        _POOLING,
        function=function,
        to=to,
        index=dialect.index,
        channels=net.tensors[operation.input].channels,
        rows=windows.sizes[0],
        window=-windows.pad[0] * windows.plane[1] - windows.pad[1],
        y=f", y = {-windows.pad[0]}" if "y + " in loops else "",
        pool=loops,
        area=windows.plane[0] * windows.plane[1],
        **{"from": dialect.ctype(operation.input)},
    )


def pointwise_text(net: CNet, index: int, function: str, dialect: Dialect) -> tuple[LayerText, str]:
    """Returns the parts of a sum of tensors, or of limits alone, and its functions."""
    operation = net.operations[index]
    layer, tensor = dialect.layer(index, operation, function), net.tensors[operation.output]
    channels, area = (tensor.channels, tensor.area) if layer.channel else (1, tensor.size)
    inputs = range(len(operation.inputs))
    types = [dialect.ctype(number) for number in operation.inputs]
    made = filled(
        _POINTWISE,
        function=function,
        parameters=", ".join(f"const {types[number]} *input{number}" for number in inputs),
        to=dialect.ctype(operation.output),
        opening=layer.opening,
        index=dialect.index,
        channels=channels,
        channel=layer.channel,
        area=area,
        sum_type=dialect.sum_type,
        summands=dialect.summands(index, operation),
        result=layer.result,
        advance="\n".join(f"input{number} += {area};" for number in inputs),
    )
    return layer, f"{layer.functions}\n{made}"


def greatest_text(net: CNet, index: int, function: str, dialect: Dialect) -> str:
    """Returns the C that finds the place of the greatest value."""
    operation = net.operations[index]
    assert isinstance(operation, GreatestPlace)
    return filled(
        _GREATEST,
        function=function,
        to=dialect.ctype(operation.output),
        index=dialect.index,
        count=net.tensors[operation.input].size,
        sign=">=" if operation.last else ">",
        **{"from": dialect.ctype(operation.input)},
    )
