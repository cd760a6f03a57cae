"""The twin of the C code in Python: the same integers, bit for bit, for whole test sets at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from demitasse.export.c_source.evaluation import added, counts, evaluate, greatest, products, totals
from demitasse.export.c_source.integers import Finish, IntegerNet, PowerSum, ShiftSum, ShiftTerm
from demitasse.export.c_source.net import Addition, COperation, Pooling2d, WeightedSum
from demitasse.graph.weights import Doubles

# examples that are computed at once
_BATCH = 250


class CTwin:
    """Computes what the C code of a net computes, with the arithmetic ``int``.

    Args:
        net: the net.

    Attributes:
        net: the net.
    """

    def __init__(self, net: IntegerNet) -> None:
        self.net = net
        self._arithmetic = IntegerArithmetic(net)

    def quantized(self, inputs: Mapping[str, Doubles]) -> dict[str, Doubles]:
        """Returns the integers of inputs by name, as ``NAME_from_floats`` makes them."""
        formats, tensors = self.net.formats, self.net.net.inputs
        return {name: formats[number].rounded(inputs[name]) for name, number in tensors.items()}

    def __call__(self, inputs: Mapping[str, Doubles]) -> dict[str, Doubles]:
        """Returns the integers of the outputs by name, (n, values), for float inputs, (n, ...).

        They are float64, which holds them exactly.
        """
        given = self.quantized(inputs)
        size = len(next(iter(given.values())))
        parts: dict[str, list[Doubles]] = {name: [] for name in self.net.net.outputs}
        for start in range(0, size, _BATCH):
            batch = {name: values[start : start + _BATCH] for name, values in given.items()}
            for name, made in evaluate(self.net.net, self._arithmetic, batch).items():
                parts[name].append(made.reshape(len(made), -1))
        return {name: np.concatenate(made) for name, made in parts.items()}

    def floats(self, inputs: Mapping[str, Doubles]) -> dict[str, Doubles]:
        """Returns the outputs by name as numbers, as ``NAME_to_floats`` makes them, (n, values)."""
        found = {}
        for name, made in self(inputs).items():
            scores = made * self.net.formats[self.net.net.outputs[name]].unit
            found[name] = softmax(scores) if name in self.net.net.softmax else scores
        return found


def softmax(scores: Doubles) -> Doubles:
    """Returns exp(x) / sum(exp(x)) of each row."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    found: Doubles = powers / powers.sum(1, keepdims=True)
    return found


def shifted(x: Doubles, right: int) -> Doubles:
    """Returns integers shifted to the right, rounded down, or to the left where ``right`` is negative."""
    return np.floor(np.ldexp(x, -right))


def terms_of(x: Doubles, terms: Sequence[ShiftTerm]) -> Doubles:
    """Returns integers times the factor of some terms, each term rounded down."""
    return sum((term.sign * shifted(x, term.right) for term in terms), np.zeros_like(x))


class IntegerArithmetic:
    """Computes operations in integers.

    Args:
        net: the net.
    """

    def __init__(self, net: IntegerNet) -> None:
        self._forms = {each.output: form for each, form in zip(net.net.operations, net.forms, strict=True)}

    def weighted(self, operation: WeightedSum, x: Doubles) -> Doubles:
        """Returns the sums with limits applied, before pooling."""
        form = self._forms[operation.output]
        assert isinstance(form, PowerSum)
        sums = products(operation, form.rows.whole, x)
        if form.factors:
            for row, terms in enumerate(form.factors):
                sums[:, row] = terms_of(sums[:, row], terms)
        return finished(sums + form.biases[:, None, None], form.finish)

    def pooled(self, pooling: Pooling2d, x: Doubles) -> Doubles:
        """Returns pooled planes; a mean is rounded to the nearest, halves away from zero."""
        if pooling.method == "MAX":
            return greatest(pooling, x)
        found, count = totals(pooling, x), counts(pooling.windows)
        return np.sign(found) * np.floor((np.abs(found) + np.floor(count / 2)) / count)

    def added(self, operation: Addition, inputs: Sequence[Doubles]) -> Doubles:
        """Returns the sum with limits applied."""
        return self._shift_sum(operation, inputs)

    def limited(self, operation: COperation, x: Doubles) -> Doubles:
        """Returns the values with limits applied."""
        return self._shift_sum(operation, [x])

    def _shift_sum(self, operation: COperation, inputs: Sequence[Doubles]) -> Doubles:
        form = self._forms[operation.output]
        assert isinstance(form, ShiftSum)
        parts = zip(form.signs, form.lefts, inputs, strict=True)
        return finished(added(sign * shifted(x, -left) for sign, left, x in parts), form.finish)


def finished(sums: Doubles, finish: Finish) -> Doubles:
    """Returns what becomes of sums, (n, channels, height, width)."""
    if finish.slopes:
        below = np.stack(
            [
                terms_of(sums[:, channel], finish.slopes[channel % len(finish.slopes)])
                for channel in range(sums.shape[1])
            ],
            1,
        )
        sums = np.where(sums < 0, below, sums)
    return np.clip(shifted(sums + (1 << finish.right >> 1), finish.right), finish.low, finish.high)
