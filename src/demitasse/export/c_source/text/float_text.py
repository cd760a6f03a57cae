"""The C of the arithmetic ``float``: any weights; few different ones are a palette, which codes point into."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from demitasse.export.c_source.net import CNet, COperation, Limits, WeightedSum
from demitasse.export.c_source.streams import by_frequency
from demitasse.export.c_source.text.dialect import LayerText, Table, WeightText
from demitasse.export.c_source.text.lines import filled, float_literal
from demitasse.graph.weights import Doubles

# the most values of a palette, whose codes are bytes from 1 on; a weight with more has a list of them all
_PALETTE = 255

_ADD = """
/* adds a line of values times a weight to a line of sums */
static void ${name}_add(float *sum, const float *value, $index count, $index step, float weight)
{
    for (; count > 0; count--) {
        *sum += *value * weight;
        ++sum;
        value += step;
    }
}
"""

_FINISH = """
static float ${function}_finish(float sum$parameter)
{
    $lines
    return sum;
}
"""


class FloatDialect:
    """Writes a net in float32.

    Args:
        net: the net.
        name: its name in C.
        index: the type of indices.
    """

    sum_type, zero, least = "float", "0.0f", "-3.402823466e38f"

    def __init__(self, net: CNet, name: str, index: str) -> None:
        self.net, self.name, self.index = net, name, index
        self.cursor = "    const float *value;  /* the next one, of a weight without a palette */"
        self.helpers = {"add": _ADD}

    def ctype(self, tensor: int) -> str:
        """Returns the type of a tensor's values."""
        return "float"

    def mean(self, count: str) -> str:
        """Returns the quotient of ``total`` and a count."""
        return f"(total / {count})" if count == "count" else f"(total / {count}.0f)"

    def layer(self, index: int, operation: COperation, function: str) -> LayerText:
        """Returns the parts of an operation."""
        tables: list[Table] = []
        opening: list[str] = []
        channel: list[str] = []

        def each_channel(name: str, values: Doubles) -> None:
            tables.append(Table("float", f"{function}_{name}", _literals(values)))
            opening.append(f"const float *{name} = {function}_{name};")
            channel.append(f"const float {name}_here = {self._float(name)};\n++{name};")

        slopes = operation.limits.slopes
        if isinstance(operation, WeightedSum):
            each_channel("bias", operation.bias)
        if slopes is not None and len(slopes) > 1:
            each_channel("slope", slopes)
        finish, arguments = _finish(function, operation.limits)
        result = f"{function}_finish(sum{arguments})" if finish else "sum"
        return LayerText(tables, finish, "\n".join(opening), "\n".join(channel), result)

    def _float(self, pointer: str) -> str:
        return f"{self.name.upper()}_FLOAT({pointer})"

    def weights(self, index: int, operation: WeightedSum, function: str) -> WeightText:
        """Returns the other parts of a weighted sum."""
        weight = operation.weight.astype(np.float32)
        used = weight != 0
        palette, places = by_frequency(weight[used])
        name = f"{function}_weights"
        if len(palette) <= _PALETTE:
            made = np.zeros(weight.shape, np.int64)
            made[used] = 1 + places
            table, first = Table("float", name, _literals(palette)), ""
            take = f"const float weight = {self._float(f'{name} + RANK')};"
        else:
            made = used.astype(np.int64)
            table, first = Table("float", name, _literals(weight[used])), f"at.value = {name};"
            take = f"const float weight = {self._float('at.value')};\n(void)(RANK);\n++at.value;"
        return WeightText(
            made, [table], first, "bias_here", take, "sum += value * weight;", (f"{self.name}_add", "weight")
        )

    def summands(self, index: int, operation: COperation) -> str:
        """Returns the sum of inputs with their signs."""
        signs = getattr(operation, "signs", [1])
        return " ".join(f"{'+-'[sign < 0]} input{number}[i]" for number, sign in enumerate(signs)).removeprefix("+ ")


def _literals(values: npt.ArrayLike) -> list[str]:
    return [float_literal(float(each)) for each in np.asarray(values, np.float32)]


def _finish(function: str, limits: Limits) -> tuple[str, str]:
    """Returns the function that applies limits, empty if there are none, and its other arguments."""
    per_channel = limits.slopes is not None and len(limits.slopes) > 1
    slope = (
        "slope" if per_channel else "" if limits.slopes is None else float_literal(float(np.float32(limits.slopes[0])))
    )
    lines = [f"if (sum < 0.0f) {{\n    sum = sum * {slope};\n}}"] if slope else []
    for sign, limit in (("<", limits.low), (">", limits.high)):
        if np.isfinite(np.float32(limit)):
            text = float_literal(float(np.float32(limit)))
            lines.append(f"if (sum {sign} {text}) {{\n    sum = {text};\n}}")
    if not lines:
        return "", ""
    parameter = ", float slope" if per_channel else ""
    made = filled(_FINISH, function=function, parameter=parameter, lines="\n".join(lines))
    return made, ", slope_here" if per_channel else ""
