"""What the loops of a layer leave to the arithmetic: types, codes of weights, and what becomes of a sum."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from demitasse.export.c_source.net import CNet, COperation, WeightedSum
from demitasse.export.c_source.streams import Codes


class Table(NamedTuple):
    """A constant table.

    Attributes:
        ctype: of its entries.
        name: its name.
        values: its entries, as text.
    """

    ctype: str
    name: str
    values: list[str]


class LayerText(NamedTuple):
    """What the loops of a layer put in.

    Attributes:
        tables: constant tables.
        functions: definitions of functions of this layer alone.
        opening: statements before all loops.
        channel: statements at the start of each output channel.
        result: an expression of the variable ``sum``.
    """

    tables: list[Table]
    functions: str
    opening: str
    channel: str
    result: str


class WeightText(NamedTuple):
    """What the loops of a weighted sum put in besides.

    Attributes:
        codes: (rows, columns), the code of each weight.
        tables: constant tables.
        first: a statement about the cursor ``at`` before all loops.
        start: the sum before the first weight, an expression.
        weight: statements that make something of ``RANK``, the expression of a code less one.
        term: a statement that adds ``value`` times the weight to ``sum``.
        add: the function that adds a line of values times the weight to a line of sums, and its last argument.
    """

    codes: Codes
    tables: list[Table]
    first: str
    start: str
    weight: str
    term: str
    add: tuple[str, str]


class Dialect(Protocol):
    """The C of an arithmetic.

    Attributes:
        net: the net.
        name: of the net in C.
        index: the type of indices.
        sum_type: of sums.
        zero: the sum of nothing.
        least: a value that is not greater than any other.
        cursor: members of the cursor that only this arithmetic needs.
        helpers: templates of functions that layers call, in order; those that nothing calls are left out.
    """

    net: CNet
    name: str
    index: str
    sum_type: str
    zero: str
    least: str
    cursor: str
    helpers: dict[str, str]

    def ctype(self, tensor: int) -> str:
        """Returns the type of a tensor's values."""

    def mean(self, count: str) -> str:
        """Returns the expression of ``total`` divided by a count."""

    def layer(self, index: int, operation: COperation, function: str) -> LayerText:
        """Returns the parts of an operation; ``index`` is its number, ``function`` the name of its function."""

    def weights(self, index: int, operation: WeightedSum, function: str) -> WeightText:
        """Returns the other parts of a weighted sum."""

    def summands(self, index: int, operation: COperation) -> str:
        """Returns the sum of the values at ``i`` of ``input0``, ``input1`` and so on, an expression."""
