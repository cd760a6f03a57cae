"""The program that runs a net in C on inputs from a file: for tests, and as an example of use."""

from __future__ import annotations

from collections.abc import Mapping

from demitasse.export.c_source.net import CNet
from demitasse.export.c_source.text.lines import filled

_MAIN = """
/* reads inputs of float32, one after another, from standard input; prints the outputs as integers, or as floats with
   the argument "floats", a line an input; returns 1 if the last input is cut short */
#include <stdio.h>

#include "$stem.h"

int main(int count, char **arguments)
{
    static float $declared;
    static ${name}_input_t input;
    static ${name}_output_t output;
    int i;
    (void)arguments;
    for (;;) {
        size_t bytes = 0;
        $read
        if (bytes == 0) {
            return 0;
        }
        if (bytes != $bytes) {
            fputs("the last input is cut short\\n", stderr);
            return 1;
        }
        ${name}_from_floats($inputs, &input);
        if (${name}_run(&input, &output) != 0) {
            return 1;
        }
        if (count > 1) {
            ${name}_to_floats(&output, $outputs);
            $floats
        } else {
            $integers
        }
        printf("\\n");
    }
}
"""


def main_text(net: CNet, name: str, stem: str, fields: Mapping[str, str], is_float: bool) -> str:
    """Returns the program.

    Args:
        net: the net.
        name: its name in C.
        stem: the name of the header without its suffix.
        fields: name of an input or output -> its name in C.
        is_float: whether the outputs are floats.
    """
    sizes = {f"{fields[blob]}_in": net.tensors[number].size for blob, number in net.inputs.items()}
    outs = {f"{fields[blob]}_out": net.tensors[number].size for blob, number in net.outputs.items()}
    form = '"%.9g "' if is_float else '"%d "'
    cast = "(double)" if is_float else ""
    loop = "for (i = 0; i < {}; ++i) {{\n    printf({}, {});\n}}"
    return (
        filled(
            _MAIN,
            stem=stem,
            name=name,
            declared=", ".join(f"{field}[{size}]" for field, size in (sizes | outs).items()),
            read="\n".join(f"bytes += fread({field}, 1, sizeof {field}, stdin);" for field in sizes),
            bytes=" + ".join(f"sizeof {field}" for field in sizes),
            inputs=", ".join(sizes),
            outputs=", ".join(outs),
            floats="\n".join(loop.format(size, '"%.9g "', f"(double){field}[i]") for field, size in outs.items()),
            integers="\n".join(
                loop.format(net.tensors[number].size, form, f"{cast}output.{fields[blob]}[i]")
                for blob, number in net.outputs.items()
            ),
        )
        + "\n"
    )
