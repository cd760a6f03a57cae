"""The best classes of images, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import FileFormatError, shortened, visible
from demitasse.text_table import Column, TextTable

if TYPE_CHECKING:
    from demitasse.graph import Graph

_BEST = 5
_LONGEST = 100  # characters of a name
# kinds of steps that change no value
_MOVING = {"Dropout", "Flatten", "Reshape"}
_SCORES = "The net ends without a softmax: the probabilities are the softmax of its scores."


@dataclass(frozen=True)
class Classes:
    """What an output says about each image.

    Attributes:
        output: its name.
        count: the number of classes.
        probable: whether its values are probabilities; otherwise they are scores.
        names: the names of the classes; None where they have numbers.
    """

    output: str
    count: int
    probable: bool
    names: Sequence[str] | None

    def tables(self, images: Sequence[Path], outputs: Array) -> list[TextTable]:
        """Returns a table for each image.

        Args:
            images: the files.
            outputs: (images, classes, ...), with no other axis longer than 1.
        """
        rows = outputs.reshape(len(images), self.count)
        return [self._table(image, row) for image, row in zip(images, rows, strict=True)]

    def _table(self, image: Path, scores: Array) -> TextTable:
        with np.errstate(all="ignore"):  # a damaged net may give NaN
            probabilities = scores if self.probable else _softmax(scores)
        best = np.argsort(-scores, kind="stable")[:_BEST].tolist()
        columns = [Column("class", left=True), Column("probability")]
        rows = [[self._name(index), f"{100 * probabilities[index]:.2f} %"] for index in best]
        if not self.probable:
            columns.append(Column("score"))
            rows = [[*row, f"{scores[index]:.4g}"] for row, index in zip(rows, best, strict=True)]
        return TextTable(shortened(visible(str(image)), _LONGEST), columns, rows)

    def _name(self, index: int) -> str:
        return shortened(visible(self.names[index]), _LONGEST) if self.names else str(index)

    @property
    def notes(self) -> list[str]:
        """What to say below the tables."""
        return [] if self.probable else [_SCORES]


def classes_of(graph: Graph, names: Sequence[str] | None) -> Classes | None:
    """Returns what the output of a graph says about each image; None if it does not give one number for each class.

    Args:
        graph: the net.
        names: the names of its classes; None if they are not known.

    Raises:
        FileFormatError: there is another number of names than of classes.
    """
    if len(graph.outputs) != 1:
        return None
    ((output, number),) = graph.outputs.items()
    shape = graph.values[number].shape
    if any(graph.values[each].shape[:1] != shape[:1] for each in graph.inputs.values()):
        return None
    if len(shape) < 2 or shape[1] < 2 or any(size != 1 for size in shape[2:]):
        return None
    if names is not None and len(names) != shape[1]:
        raise FileFormatError(
            f"metadata 'classes' has {len(names):,} names; output {visible(output)} has {shape[1]:,} classes"
        )
    return Classes(output, shape[1], _ends_in_softmax(graph, number), names)


def _ends_in_softmax(graph: Graph, number: int) -> bool:
    for step in reversed(graph.steps):
        if number in step.outputs:
            if step.kind not in _MOVING:
                return step.kind == "Softmax"
            number = step.inputs[0]
    return False


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores.astype(np.float64) - scores.max())
    found: Array = powers / powers.sum()
    return found
