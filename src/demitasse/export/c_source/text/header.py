"""The header of a net in C: what it takes and returns, and how floats become that."""

from __future__ import annotations

from collections.abc import Mapping

from demitasse.export.c_source.integers import NumberFormat
from demitasse.export.c_source.net import CNet
from demitasse.export.c_source.text.lines import comment, filled, float_literal

_HEADER = """
/* $about */
#ifndef ${NAME}_H
#define ${NAME}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* bytes of RAM that ${name}_run uses, besides its stack, the input and the output */
#define ${NAME}_ARENA_BYTES $arena

$types
/* computes the output of one input; returns 0, or -1 if a pointer is null */
int ${name}_run(const ${name}_input_t *input, ${name}_output_t *output);

$functions

#ifdef __cplusplus
}
#endif

#endif
"""

_FROM = """
/* the integer that is nearest to value / unit, halves rounded up; low for what is not a number */
static inline int32_t ${name}_rounded(float value, float units, int32_t low, int32_t high)
{
    const float scaled = value * units;
    int32_t found;
    if (!(scaled > (float)low)) {
        return low;
    }
    if (scaled >= (float)high) {
        return high;
    }
    found = (int32_t)scaled;
    if (scaled - (float)found >= 0.5f) {
        return found + 1;
    }
    return scaled - (float)found < -0.5f ? found - 1 : found;
}
"""

_SOFTMAX = """
/* exp(x) for x <= 0, to about 1e-7: 2^n exp(r), |r| <= ln(2) / 2, and a polynomial for exp(r) */
static inline float ${name}_exp(float x)
{
    int32_t n;
    float r, found;
    if (x < -87.0f) {
        return 0.0f;
    }
    n = (int32_t)(x * 1.4426950409f - 0.5f);
    r = x - (float)n * 0.693145751953f - (float)n * 1.42860682e-6f;
    found = 8.33333333e-3f + r * 1.38888889e-3f;
    found = 0.5f + r * (0.166666667f + r * (0.0416666667f + r * found));
    found = 1.0f + r * (1.0f + r * found);
    for (; n < 0; ++n) {
        found *= 0.5f;
    }
    return found;
}

static inline void ${name}_softmax(float *scores, int32_t count)
{
    float most = scores[0], total = 0.0f;
    int32_t i;
    for (i = 1; i < count; ++i) {
        most = scores[i] > most ? scores[i] : most;
    }
    for (i = 0; i < count; ++i) {
        scores[i] = ${name}_exp(scores[i] - most);
        total += scores[i];
    }
    for (i = 0; i < count; ++i) {
        scores[i] /= total;
    }
}
"""

_FLOATS = """
/* $about */
static inline void ${name}_$verb(${first}, ${second})
{
    int32_t i;
    $loops
}
"""


def header_text(
    net: CNet, formats: Mapping[int, NumberFormat] | None, name: str, fields: Mapping[str, str], arena: int, about: str
) -> str:
    """Returns the header.

    Args:
        net: the net.
        formats: of its tensors; None for floats.
        name: its name in C.
        fields: name of an input or output -> its name in C.
        arena: bytes of RAM.
        about: the first comment.
    """
    types = [
        _struct(net, formats, f"{name}_{kind}_t", names, fields, kind)
        for kind, names in (("input", net.inputs), ("output", net.outputs))
    ]
    functions = [_FROM] if formats else []
    functions += [_SOFTMAX] if net.softmax else []
    functions = [filled(each, name=name) for each in functions]
    functions += [_from_floats(net, formats, name, fields), _to_floats(net, formats, name, fields)]
    return (
        filled(
            _HEADER, NAME=name.upper(), name=name, about=about, arena=arena, types="\n".join(types),
            functions="\n\n".join(functions),
        )
        + "\n"
    )  # fmt: skip


def _struct(
    net: CNet, formats: Mapping[int, NumberFormat] | None, name: str, numbers: Mapping[str, int],
    fields: Mapping[str, str], kind: str,
) -> str:  # fmt: skip
    lines = ["typedef struct {"]
    for blob, number in numbers.items():
        tensor = net.tensors[number]
        shape = " x ".join(map(str, (tensor.channels, *tensor.plane))) if tensor.area > 1 else str(tensor.size)
        text = f"{comment(blob)}: {shape}"
        if formats:
            to = formats[number]
            text += f"; value = integer * 2^{to.exponent}, from {to.low} to {to.high}"
        if blob in net.softmax and kind == "output":
            text += "; scores before the softmax"
        ctype = formats[number].ctype if formats else "float"
        lines.append(f"    {ctype} {fields[blob]}[{tensor.size}]; /* {text} */")
    return "\n".join([*lines, f"}} {name};", ""])


def _from_floats(net: CNet, formats: Mapping[int, NumberFormat] | None, name: str, fields: Mapping[str, str]) -> str:
    loops = []
    for blob, number in net.inputs.items():
        value = f"{fields[blob]}[i]"
        if formats:
            to = formats[number]
            value = f"({to.ctype}){name}_rounded({value}, {float_literal(1 / to.unit)}, {to.low}, {to.high})"
        loops.append(_loop(net.tensors[number].size, f"input->{fields[blob]}[i] = {value};"))
    taken = ", ".join(f"const float *{fields[blob]}" for blob in net.inputs)
    about = "makes the input of floats"
    return filled(
        _FLOATS, about=about, name=name, verb="from_floats", first=taken, second=f"{name}_input_t *input",
        loops="\n".join(loops),
    )  # fmt: skip


def _to_floats(net: CNet, formats: Mapping[int, NumberFormat] | None, name: str, fields: Mapping[str, str]) -> str:
    loops = []
    for blob, number in net.outputs.items():
        field, size = fields[blob], net.tensors[number].size
        value = f"output->{field}[i]"
        if formats:
            value = f"(float){value} * {float_literal(formats[number].unit)}"
        loops.append(_loop(size, f"{field}[i] = {value};"))
        if blob in net.softmax:
            loops.append(f"{name}_softmax({field}, {size});")
    made = ", ".join(f"float *{fields[blob]}" for blob in net.outputs)
    about = "makes floats of the output" + (", and takes their softmax" if net.softmax else "")
    return filled(
        _FLOATS, about=about, name=name, verb="to_floats", first=f"const {name}_output_t *output", second=made,
        loops="\n".join(loops),
    )  # fmt: skip


def _loop(size: int, statement: str) -> str:
    return f"for (i = 0; i < {size}; ++i) {{\n    {statement}\n}}"
