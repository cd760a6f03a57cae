"""The C of the arithmetic ``int``: shifts, sums and comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from demitasse.export.c_source.integers import Finish, IntegerNet, PowerSum, ShiftSum, ShiftTerm
from demitasse.export.c_source.net import COperation, WeightedSum
from demitasse.export.c_source.powers import PowerRows
from demitasse.export.c_source.streams import Codes, by_frequency, numbers
from demitasse.export.c_source.text.dialect import LayerText, Table, WeightText
from demitasse.export.c_source.text.lines import filled

_NUMBER = """
/* the next number of a table: seven bits a byte, the lowest first; the sign is the lowest bit of all */
static int32_t ${name}_number(const uint8_t **numbers)
{
    uint32_t found = 0;
    uint8_t place = 0, byte;
    do {
        byte = ${NAME}_BYTE(*numbers);
        ++*numbers;
        found |= (uint32_t)(byte & 127) << place;
        place = (uint8_t)(place + 7);
    } while (byte & 128);
    return found & 1 ? -(int32_t)(found >> 1) - 1 : (int32_t)(found >> 1);
}
"""

_TERMS = """
/* x times a factor, which is a sum of powers of two: their number, then for each 128 for a minus and 32 + the shift */
static int32_t ${name}_terms(int32_t x, const uint8_t *terms)
{
    uint8_t count = ${NAME}_BYTE(terms);
    int32_t sum = 0;
    while (count != 0) {
        uint8_t byte;
        int8_t right;
        int32_t part;
        ++terms;
        byte = ${NAME}_BYTE(terms);
        right = (int8_t)((byte & 127) - 32);
        part = right >= 0 ? x >> right : (int32_t)((uint32_t)x << -right);
        sum = byte & 128 ? sum - part : sum + part;
        count--;
    }
    return sum;
}
"""

_ADD = """
/* adds a line of values, shifted to the left, to a line of sums, or subtracts it */
static void ${name}_add_$type(int32_t *sum, const ${type} *value, $index count, $index step, uint8_t power)
{
    const uint8_t left = power >> 1;
    if (power & 1) {
        for (; count > 0; count--) {
            *sum -= (int32_t)((uint32_t)*value << left);
            ++sum;
            value += step;
        }
    } else {
        for (; count > 0; count--) {
            *sum += (int32_t)((uint32_t)*value << left);
            ++sum;
            value += step;
        }
    }
}
"""

_FINISH = """
static int32_t ${function}_finish(int32_t sum$parameter)
{
    $slopes
    $shift
    return $limits;
}
"""


class IntegerDialect:
    """Writes a net in integers.

    Args:
        net: the net.
        name: its name in C.
        index: the type of indices.
    """

    sum_type, zero, least, cursor = "int32_t", "0", "-2147483647", ""

    def __init__(self, net: IntegerNet, name: str, index: str) -> None:
        self.integers, self.net, self.name, self.index = net, net.net, name, index
        types = sorted({each.ctype for each in net.formats})
        self.helpers = {"number": _NUMBER, "terms": _TERMS}
        self.helpers |= {f"add_{each}": _ADD.replace("${type}", each).replace("$type", each) for each in types}

    def ctype(self, tensor: int) -> str:
        """Returns the type of a tensor's values."""
        return self.integers.formats[tensor].ctype

    def mean(self, count: str) -> str:
        """Returns the rounded quotient of ``total`` and a count."""
        half = f"{count} / 2" if count == "count" else int(count) // 2
        return f"(total >= 0 ? (total + {half}) / {count} : -(({half} - total) / {count}))"

    def layer(self, index: int, operation: COperation, function: str) -> LayerText:
        """Returns the parts of an operation."""
        form = self.integers.forms[index]
        if form is None:
            return LayerText([], "", "", "", "sum")
        finish = form.finish
        per_channel = len(finish.slopes) > 1
        streams: list[bytes] = []
        if isinstance(form, PowerSum):
            for row, bias in enumerate(form.biases):
                slopes = _bytes(finish.slopes[row]) if per_channel else b""
                streams.append(numbers([int(bias)]) + (_bytes(form.factors[row]) if form.factors else b"") + slopes)
        elif per_channel:
            streams = [_bytes(terms) for terms in finish.slopes]
        tables = [Table("uint8_t", f"{function}_numbers", _texts(b"".join(streams)))] if streams else []
        if finish.slopes and not per_channel:
            tables.append(Table("uint8_t", f"{function}_slopes", _texts(_bytes(finish.slopes[0]))))
        opening = f"const uint8_t *numbers = {function}_numbers;" if streams else ""
        channel, result = "", "sum"
        if isinstance(form, PowerSum):
            channel = f"const int32_t bias_here = {self.name}_number(&numbers);"
            if form.factors:
                channel += f"\nconst uint8_t *factor = {self._taken('factor')}"
                result = f"{self.name}_terms(sum, factor) + bias_here"
        if per_channel:
            channel += f"\nconst uint8_t *slope = {self._taken('slope')}"
        arguments = ", slope" if per_channel else ""
        return LayerText(
            tables,
            _finish(function, finish, self.name),
            opening,
            channel.strip(),
            f"{function}_finish({result}{arguments})",
        )

    def _taken(self, variable: str) -> str:
        """Returns the rest of a declaration that takes terms from the table of numbers."""
        return f"numbers;\nnumbers += 1 + {self.name.upper()}_BYTE({variable});"

    def weights(self, index: int, operation: WeightedSum, function: str) -> WeightText:
        """Returns the other parts of a weighted sum."""
        form = self.integers.forms[index]
        assert isinstance(form, PowerSum)
        codes, powers = _codes(form.rows)
        table = Table("uint8_t", f"{function}_powers", list(map(str, powers)))
        power = f"const uint8_t power = {self.name.upper()}_BYTE({table.name} + RANK);"
        shifted = "(int32_t)((uint32_t)value << (power >> 1))"
        return WeightText(
            codes,
            [table],
            "",
            "0" if form.factors else "bias_here",
            power,
            f"sum = power & 1 ? sum - {shifted} : sum + {shifted};",
            (f"{self.name}_add_{self.ctype(operation.input)}", "power"),
        )

    def summands(self, index: int, operation: COperation) -> str:
        """Returns the sum of shifted inputs."""
        form = self.integers.forms[index]
        assert isinstance(form, ShiftSum)
        text = ""
        for number, (left, sign) in enumerate(zip(form.lefts, form.signs, strict=True)):
            shifted = f"(int32_t)((uint32_t)input{number}[i] << {left})" if left else f"input{number}[i]"
            text += f" {'+-'[sign < 0]} {shifted}"
        return text.removeprefix(" + ").replace(" - ", "-", 1) if text.startswith(" -") else text.removeprefix(" + ")


def _codes(rows: PowerRows) -> tuple[Codes, list[int]]:
    """Returns the code of each weight, and what codes stand for, from 1 on: 2 * shift + negative."""
    used = rows.signs != 0
    powers, places = by_frequency(2 * rows.shifts[used] + (rows.signs[used] < 0))
    codes = np.zeros(used.shape, np.int64)
    codes[used] = 1 + places
    return codes, [int(each) for each in powers]


def _bytes(terms: Sequence[ShiftTerm]) -> bytes:
    return bytes([len(terms), *((128 if term.sign < 0 else 0) | (term.right + 32) for term in terms)])


def _texts(content: bytes) -> list[str]:
    return [str(each) for each in content]


def _finish(function: str, finish: Finish, name: str) -> str:
    per_channel = len(finish.slopes) > 1
    slope = "slope" if per_channel else f"{function}_slopes"
    return filled(
        _FINISH,
        function=function,
        parameter=", const uint8_t *slope" if per_channel else "",
        slopes=f"if (sum < 0) {{\n    sum = {name}_terms(sum, {slope});\n}}" if finish.slopes else "",
        shift=f"sum = (sum + {1 << finish.right >> 1}) >> {finish.right};" if finish.right else "",
        limits=f"sum < {finish.low} ? {finish.low} : sum > {finish.high} ? {finish.high} : sum",
    )
