"""What a page shows of a run, as plain data: every reader of this room returns it, every drawing takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from demitasse.report.inspection import Inspection
from demitasse.report.log_parser import Series
from demitasse.report.page.weights import WeightView
from demitasse.report.tables import StageResult


@dataclass(frozen=True)
class StageCurves:
    """The numbers of one stage of training.

    Attributes:
        name: name of the stage.
        panels: what is measured, such as ``training loss`` -> its values.
    """

    name: str
    panels: Mapping[str, Series]

    @property
    def steps(self) -> int:
        """The length of the stage, in the unit of the run."""
        return max([1, *(step for series in self.panels.values() for step in series.iterations)])


class TensorSensitivity(NamedTuple):
    """How much the metric suffers if one tensor alone is compressed.

    Attributes:
        name: name of the tensor.
        kind: ``sparsity``, a share of zeros, or ``bits``.
        values: sparsity or bits -> the metric.
    """

    name: str
    kind: str
    values: Mapping[float, float]


@dataclass(frozen=True)
class Run:
    """A run, a log or a packed file.

    Attributes:
        name: a short name, from its path.
        title: a title for people.
        sentence: what was done, in one sentence.
        command: the command line that does it again; empty if it is not known.
        facts: label -> text: seed, data, versions.
        stages: the results of its stages.
        subject: the model and the data, as recipes name them; published results are compared by them.
        metric: what rates the model, with its unit, such as ``test error (%)``.
        unit: the unit of the steps of its curves: ``epoch`` or ``iteration``.
        curves: the numbers of training, stage after stage.
        dense: the metric of the net before anything was compressed, as in ``stages``; None if it is not known.
        file: the packed file; None if there is none.
        weights: the tensors of the result.
        sensitivity: of tensors; empty if it was not measured.
        unchanged: the metric of the model of which ``sensitivity`` was measured.
        texts: label -> a long text, such as the definition of a net.
    """

    name: str
    title: str
    sentence: str
    command: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    stages: Sequence[StageResult] = ()
    subject: tuple[str, str] = ("", "")
    metric: str = ""
    unit: str = "epoch"
    curves: Sequence[StageCurves] = ()
    dense: float | None = None
    file: Inspection | None = None
    weights: Sequence[WeightView] = ()
    sensitivity: Sequence[TensorSensitivity] = ()
    unchanged: float = 0.0
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> float | None:
        """``dense`` in the unit of the curves."""
        return None if self.dense is None else (100 if "%" in self.metric else 1) * self.dense
