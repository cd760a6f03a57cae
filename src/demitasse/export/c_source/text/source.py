"""The .c and the .h of a net, put together."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from demitasse.export.c_source.adaptive import contexts
from demitasse.export.c_source.integers import IntegerNet
from demitasse.export.c_source.layout import ArenaLayout, laid_out, sums_of
from demitasse.export.c_source.net import Addition, CNet, COperation, GreatestPlace, PlanePooling, WeightedSum
from demitasse.export.c_source.streams import WeightStream, smallest_streams, stream
from demitasse.export.c_source.text.dialect import Dialect, Table
from demitasse.export.c_source.text.float_text import FloatDialect
from demitasse.export.c_source.text.header import header_text
from demitasse.export.c_source.text.integer_text import IntegerDialect
from demitasse.export.c_source.text.lines import TakenWords, comment, filled, table
from demitasse.export.c_source.text.main_program import main_text
from demitasse.export.c_source.text.readers import CODER, CODER_START, CURSOR
from demitasse.export.c_source.text.simple import greatest_text, pointwise_text, pooling_text
from demitasse.export.c_source.text.weighted import weighted_text
from demitasse.export.names import identifier, identifiers

_SOURCE = """
/* $about */
#include "$stem.h"

/* constant tables: in flash also on AVR, where they are read by special instructions */
#if defined(__AVR__)
#include <avr/pgmspace.h>
#define ${NAME}_FLASH PROGMEM
#define ${NAME}_BYTE(pointer) pgm_read_byte(pointer)
#define ${NAME}_FLOAT(pointer) pgm_read_float(pointer)
#else
#define ${NAME}_FLASH
#define ${NAME}_BYTE(pointer) (*(pointer))
#define ${NAME}_FLOAT(pointer) (*(pointer))
#endif

/* compilation stops here if a shift to the right of a negative number does not round down, which C leaves open */
typedef char ${name}_shifts_round_down[(-3 >> 1) == -2 ? 1 : -1];

$helpers

$layers

$arena
int ${name}_run(const ${name}_input_t *input, ${name}_output_t *output)
{
    if (input == 0 || output == 0) {
        return -1;
    }
    $calls
    return 0;
}
"""

_ARENA = """
/* what layers pass on: those that are not needed at the same time share their bytes */
static union {
    $members
} ${name}_arena;
"""


@dataclass
class WrittenLayer:
    """One operation in C.

    Attributes:
        operation: the operation.
        stream: its weights; None without any.
        tables: its constant tables.
        text: tables and functions.
    """

    operation: COperation
    stream: WeightStream | None = None
    tables: list[Table] = field(default_factory=list)
    text: str = ""

    @property
    def flash(self) -> int:
        """Bytes of its tables."""
        return sum(len(each.values) * (4 if each.ctype == "float" else 1) for each in self.tables)


@dataclass
class WrittenNet:
    """A net in C.

    Attributes:
        files: suffix -> text; that of the program is ``_main.c``.
        layers: its operations.
        layout: where it lies in RAM.
        net: the net.
        name: its name in C.
    """

    files: dict[str, str]
    layers: list[WrittenLayer]
    layout: ArenaLayout
    net: CNet
    name: str


def written(net: CNet | IntegerNet, stem: str, about: str, smallest: bool = False) -> WrittenNet:
    """Returns the C of a net.

    Args:
        net: the net, in integers or to be computed in floats.
        stem: the name of the file without its suffix; the names in C begin with it.
        about: where the net comes from; any text.
        smallest: whether weights are to take little flash rather than little time; of a net in integers.
    """
    plain = net.net if isinstance(net, IntegerNet) else net
    name = identifier(stem, "net", frozenset()).lower()
    index = "int" if _largest(plain) < 1 << 15 else "int32_t"
    dialect: Dialect = (
        IntegerDialect(net, name, index) if isinstance(net, IntegerNet) else FloatDialect(net, name, index)
    )
    return _Writer(net, plain, dialect, stem, about, smallest).written()


def _largest(net: CNet) -> int:
    """Returns the largest index that occurs: of a value, and of a weight with the gap after it."""
    largest = max(tensor.size for tensor in net.tensors)
    for operation in net.operations:
        if isinstance(operation, WeightedSum):
            places = np.flatnonzero(np.append(operation.weight.reshape(-1), 1.0))
            gap = int(np.diff(places, prepend=-1).max())
            area = operation.windows.sizes[0] * operation.windows.sizes[1] if operation.windows else 0
            largest = max(largest, operation.weight.shape[1] + gap, area)
    return largest


class _Writer:
    def __init__(
        self, given: CNet | IntegerNet, net: CNet, dialect: Dialect, stem: str, about: str, smallest: bool
    ) -> None:
        self.given, self.net, self.dialect, self.stem, self.about = given, net, dialect, stem, about
        self.name = dialect.name
        self.layout = laid_out(net, dialect.ctype)
        blobs = [*net.inputs, *net.outputs]
        self.fields = identifiers(blobs, "blob", TakenWords(self.name))
        self.readers: dict[str, str] = {}
        self.streams = self._streams(smallest)
        adaptive = [each.width for each in self.streams.values() if each.form == "adaptive"]
        self.coder = filled(CODER, contexts=contexts(max(adaptive))) if adaptive else ""

    def _streams(self, smallest: bool) -> dict[int, WeightStream]:
        """Returns the weights of each operation that has any."""
        codes = {
            index: self.dialect.weights(index, each, self._function(index)).codes
            for index, each in enumerate(self.net.operations)
            if isinstance(each, WeightedSum)
        }
        found = smallest_streams(list(codes.values())) if smallest else map(stream, codes.values())
        return dict(zip(codes, found, strict=True))

    def written(self) -> WrittenNet:
        layers = [self._layer(index) for index in range(len(self.net.operations))]
        calls = "\n".join(self._call(index) for index in range(len(layers)))
        body = "\n".join(layer.text for layer in layers)
        arena = self._arena()
        source = filled(
            _SOURCE,
            about=self._about(layers),
            stem=self.stem,
            NAME=self.name.upper(),
            name=self.name,
            helpers=self._helpers(body),
            layers=body,
            arena=arena,
            calls=calls,
        )
        formats = dict(enumerate(self.given.formats)) if isinstance(self.given, IntegerNet) else None
        header = header_text(self.net, formats, self.name, self.fields, self.layout.size, self._about(layers))
        main = main_text(self.net, self.name, self.stem, self.fields, formats is None)
        files = {
            ".c": re.sub(r"\n{3,}", "\n\n", source) + "\n",
            ".h": re.sub(r"\n{3,}", "\n\n", header),
            "_main.c": main,
        }
        return WrittenNet(files, layers, self.layout, self.net, self.name)

    def _about(self, layers: list[WrittenLayer]) -> str:
        kind, name = "integers" if isinstance(self.given, IntegerNet) else "floats", comment(self.net.name) or "a net"
        return (
            f"{name}, written by demitasse from {comment(self.about)}: computed in {kind};\n"
            f"   {sum(layer.flash for layer in layers)} bytes of tables, {self.layout.size} bytes of RAM"
        )

    def _function(self, index: int) -> str:
        operation = self.net.operations[index]
        return f"{self.name}_{index + 1}_{identifier(operation.name, 'layer', frozenset())}"

    def _layer(self, index: int) -> WrittenLayer:
        operation, function = self.net.operations[index], self._function(index)
        made = WrittenLayer(operation)
        if isinstance(operation, WeightedSum):
            end, band = CODER_START if self.coder else "", self.layout.bands.get(index, 0)
            text = weighted_text(self.net, index, function, self.dialect, band, self.streams[index], end)
            made.stream, made.tables, functions = text.stream, text.tables, text.functions
            self.readers[text.stream.form] = text.reader.functions
        elif isinstance(operation, PlanePooling):
            functions = pooling_text(self.net, index, function, self.dialect)
        elif isinstance(operation, GreatestPlace):
            functions = greatest_text(self.net, index, function, self.dialect)
        else:
            layer, functions = pointwise_text(self.net, index, function, self.dialect)
            made.tables = layer.tables
        flash = f"{self.name.upper()}_FLASH"
        tables = "\n".join(table(each.ctype, each.name, each.values, flash) for each in made.tables)
        made.text = f"/* {self._described(operation, made)} */\n{tables}{functions}\n"
        return made

    def _described(self, operation: COperation, made: WrittenLayer) -> str:
        before, after = (self.net.tensors[number] for number in (operation.input, operation.output))
        shapes = " -> ".join(" x ".join(map(str, (each.channels, *each.plane))) for each in (before, after))
        text = f"{comment(operation.name)}: {shapes}"
        if isinstance(operation, WeightedSum) and made.stream:
            kind = "convolution" if operation.windows else "inner product"
            kept = np.count_nonzero(operation.weight)
            text += f", {kind}{' and pooling' if operation.pooling else ''}; {kept} of {operation.weight.size} weights"
            text += f" in {len(made.stream.content)} bytes ({made.stream.form})"
        elif isinstance(operation, PlanePooling):
            text += f", pooling {operation.pooling.method}"
        elif isinstance(operation, Addition):
            text += ", sum"
        elif isinstance(operation, GreatestPlace):
            text += ", place of the greatest value"
        return text

    def _helpers(self, body: str) -> str:
        """Returns the functions that layers call, and those that these call."""
        texts = (
            [self._put(CURSOR, value=self.dialect.cursor, coder=self.coder), *map(self._put, self.readers.values())]
            if self.readers
            else []
        )
        for key, template in self.dialect.helpers.items():
            if re.search(rf"\b{self.name}_{key}\(", body):
                texts.append(self._put(template))
        return "\n".join(texts)

    def _put(self, template: str, **values: str) -> str:
        return filled(template, name=self.name, NAME=self.name.upper(), index=self.dialect.index, **values) + "\n"

    def _arena(self) -> str:
        members = [
            self._member(start, self.dialect.ctype(number), f"tensor_{number}", self.net.tensors[number].size)
            for number, start in self.layout.tensors.items()
        ]
        for index, start in self.layout.sums.items():
            operation = self.net.operations[index]
            assert isinstance(operation, WeightedSum)
            size = sums_of(operation, self.layout.bands[index])
            members.append(self._member(start, self.dialect.sum_type, f"sums_{index + 1}", size))
        return filled(_ARENA, name=self.name, members="\n".join(members)) + "\n" if members else ""

    def _member(self, start: int, ctype: str, member: str, size: int) -> str:
        before = f"uint8_t before[{start}]; " if start else ""
        return f"struct {{ {before}{ctype} values[{size}]; }} {member};"

    def _call(self, index: int) -> str:
        operation = self.net.operations[index]
        arguments = [*map(self._place, operation.inputs), self._place(operation.output)]
        if index in self.layout.sums:
            arguments.append(f"{self.name}_arena.sums_{index + 1}.values")
        return f"{self._function(index)}({', '.join(arguments)});"

    def _place(self, number: int) -> str:
        root, start = self.net.root(number)
        offset = f" + {start}" if start else ""
        for kind, numbers in (("output", self.net.outputs), ("input", self.net.inputs)):
            for blob, each in numbers.items():
                if each == root:
                    return f"{kind}->{self.fields[blob]}{offset}"
        return f"{self.name}_arena.tensor_{root}.values{offset}"
