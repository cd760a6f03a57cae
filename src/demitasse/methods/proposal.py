"""Proposal: a sparsity and a width for each layer, with the metric of the model that has all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from demitasse.errors import DataError, FileFormatError, MethodError
from demitasse.files import write_text
from demitasse.methods import pow2, settings
from demitasse.methods.name_patterns import collapse
from demitasse.text_table import Column, TextTable, printable


@dataclass(frozen=True)
class Proposal:
    """Targets for each layer; ``str()`` gives a table that fits the terminal, a notebook shows it as HTML.

    ``sparsity`` is what ``Surgery(sparsity=...)`` and ``MagnitudePruning(sparsity=...)`` take, ``bits`` what
    ``IncrementalQuantization(bits=...)`` takes. The metric was measured without training, on the data of the
    evaluation: it is what the methods start from, not what they end with.

    Attributes:
        sparsity: name of the parameter -> share of zeros; empty if no sparsity is proposed.
        bits: name -> bits, sign and zero included; empty if no width is proposed.
        unquantized: the layers that have no width, because none of those that were measured is bearable.
        dense: the metric of the unchanged model.
        metric: the metric of the model with all layers pruned and quantized in this way.
        tolerance: the largest rise of the metric that was allowed; None if a sparsity was asked for instead.
        layer_tolerance: the solved tolerance: the largest rise of the metric by one layer alone, pruned or quantized.
        eased: how far the targets are from those of a ``layer_tolerance`` of 0, as a share from 0 to 1. It is above 0
            where even these miss the tolerance together: the sparsities are multiplied by ``1 - eased``, and the bits
            are that part of the way from the narrowest bearable width to none.
        entries: name -> number of entries, of all layers.
    """

    sparsity: dict[str, float]
    bits: dict[str, int]
    unquantized: tuple[str, ...]
    dense: float
    metric: float
    tolerance: float | None
    layer_tolerance: float
    eased: float
    entries: dict[str, int]

    def with_metric(self, metric: float) -> Self:
        """Returns the proposal with the metric that was measured for it."""
        return replace(self, metric=metric)

    @property
    def total_sparsity(self) -> float:
        """The share of zeros of all layers together."""
        zeros = sum(share * self.entries[name] for name, share in self.sparsity.items())
        return zeros / sum(self.entries.values())

    def __str__(self) -> str:
        return printable(self.table())

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> TextTable:
        """Returns the table; it adapts to any width."""
        columns = [Column("parameter"), Column("entries", 1)]
        columns += [Column("zeros")] if self.sparsity else []
        columns += [Column("bits")] if self._has_bits else []
        rows = [self._row(name) for name in self.entries]
        total = ["all", f"{sum(self.entries.values()):,}"]
        total += [f"{100 * self.total_sparsity:.3g} %"] if self.sparsity else []
        total += [""] if self._has_bits else []
        title = f"All layers together: {self.metric:.4g}; unchanged: {self.dense:.4g}"
        return TextTable(title, columns, rows, [total], notes=self._notes())

    @property
    def _has_bits(self) -> bool:
        return bool(self.bits or self.unquantized)

    def _row(self, name: str) -> list[str]:
        row = [name, f"{self.entries[name]:,}"]
        row += [f"{100 * self.sparsity[name]:.3g} %"] if self.sparsity else []
        row += [str(self.bits.get(name, "none"))] if self._has_bits else []
        return row

    def _notes(self) -> list[str]:
        rise, names = self.metric - self.dense, collapse(self.unquantized)
        allowed = "" if self.tolerance is None else f"; tolerance: {self.tolerance:.4g}"
        notes = [f"Rise of the metric: {rise:.4g}{allowed}; solved tolerance of each layer: {self.layer_tolerance:.4g}"]
        if self.eased == 1:
            notes.append("No layer can be compressed within the tolerance")
        elif self.eased:
            notes.append(
                f"Layers that each lose nothing alone miss the tolerance together: eased by {100 * self.eased:.3g} %"
            )
        if self.unquantized:
            notes.append(f"Unquantized, since no measured width is within the solved tolerance: {', '.join(names)}")
        return notes

    def as_plain(self) -> dict[str, object]:
        """Returns a dictionary of plain values, for JSON."""
        return asdict(self)

    def save(self, path: str | Path) -> None:
        """Writes the proposal as JSON, for :meth:`load` and for a stage of a recipe.

        Raises:
            WriteError: the file cannot be written.
        """
        write_text(Path(path), json.dumps(self.as_plain(), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads a file of :meth:`save`.

        Raises:
            DataError: the file cannot be read.
            FileFormatError: it is no proposal, or a value in it is not valid; names the key.
        """
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{path}: not a proposal of sensitivity: {error}") from error
        try:
            return cls(**_checked(found))  # type: ignore[arg-type]
        except MethodError as error:
            raise FileFormatError(f"{path}: {error}") from error


def _checked(found: object) -> dict[str, object]:
    """Returns the fields of a proposal from JSON.

    Raises:
        MethodError: a field is missing, unknown or not valid.
    """
    if not isinstance(found, dict) or found.keys() != Proposal.__dataclass_fields__.keys():
        expected = ", ".join(Proposal.__dataclass_fields__)
        shown = ", ".join(found) if isinstance(found, dict) else settings.shown(found)
        raise MethodError(f"not a proposal of sensitivity: found {shown}; expected {expected}")
    mappings: dict[str, Callable[[str, object], float]] = {
        "sparsity": settings.share,
        "bits": lambda name, value: pow2.levels_of_bits(settings.whole(name, value)),
        "entries": lambda name, value: settings.whole(name, value, 1),
    }
    for key, check in mappings.items():
        if not isinstance(found[key], Mapping):
            raise MethodError(f"{key} is {settings.shown(found[key])}; expected a mapping of names")
        for name, value in found[key].items():
            check(f"{key} of {name}", value)
            if name not in found["entries"]:
                raise MethodError(f"{key} has {name!r}, which entries lacks")
    found["unquantized"] = tuple(settings.listed("unquantized", found["unquantized"], "names"))
    if any(name not in found["entries"] for name in found["unquantized"]):
        raise MethodError(f"unquantized is {settings.shown(found['unquantized'])}; expected names that entries has")
    if not found["entries"]:
        raise MethodError("entries is empty; expected the layers")
    for key in ("dense", "layer_tolerance"):
        settings.number(key, found[key])
    # a metric that was asked for by its sparsity may have ended at infinity
    if not isinstance(found["metric"], int | float) or isinstance(found["metric"], bool):
        raise MethodError(f"metric is {settings.shown(found['metric'])}; expected a number")
    settings.share("eased", found["eased"])
    if found["tolerance"] is not None:
        settings.number("tolerance", found["tolerance"], 0, math.inf)
    return found
