"""Reads the folder that ``demitasse demo`` leaves."""

from __future__ import annotations

from pathlib import Path

from demitasse.errors import FileFormatError
from demitasse.report.inspection import inspect
from demitasse.report.log_parser import Series, TrainingLog, read_log
from demitasse.report.page.fields import Field
from demitasse.report.page.packed_file import weights_of
from demitasse.report.page.run import Run, StageCurves
from demitasse.report.page.sentences import command_line, results
from demitasse.report.tables import StageResult

_ACCURACY = "accuracy"
_ERROR = "test error (%)"


def read_demo_run(folder: Path, report: Field, name: str) -> Run:
    """Returns the run in a folder.

    Args:
        folder: the folder.
        report: its report.json.
        name: the name of the run on the page.

    Raises:
        FileFormatError: a file of the folder is missing or damaged.
    """
    stages = [_result(stage) for stage in report["stages"]]
    if not stages:
        raise FileFormatError(f"{report.place}: stages is empty; expected a stage or more")
    model, data = report["model"].text, report["data"]["name"].text
    curves = [_curves(stage, read_log(path.path(folder))) for stage, path in report["logs"].items()]
    dense = next(iter(curves[0].panels.values())).values if curves else []
    packed = report["file"].path(folder)
    return Run(
        name=name,
        title=report["title"].text,
        sentence=(
            f"{model} on {data} was trained with Caffe's solver, pruned by Dynamic Network Surgery, quantized to "
            f"powers of two by Incremental Network Quantization, and packed: {results(stages)}."
        ),
        command=command_line("demo", data=data, seed=report["seed"].count, quick=report["quick"].flag),
        facts={
            "seed": str(report["seed"].count),
            "model": model,
            "data": data,
            **{key: report[key].text for key in ("demitasse", "torch", "python")},
            "threads": str(report["threads"].count),
        },
        stages=stages,
        subject=(model, data),
        metric=_ERROR,
        unit="iteration",
        curves=curves,
        dense=dense[-1] / 100 if dense else None,
        file=inspect(packed),
        weights=weights_of(packed),
    )


def _result(stage: Field) -> StageResult:
    kept, total, size = (stage[key].count for key in ("kept", "total", "bytes"))
    found = StageResult(stage["name"].text, stage["error"].number, kept, total, size, stage["seconds"].number)
    if not found.total or not found.bytes:
        raise FileFormatError(f"{stage.place}: expected parameters and bytes; found {found.total} and {found.bytes}")
    return found


def _curves(name: str, log: TrainingLog) -> StageCurves:
    accuracy = log.tests.get(_ACCURACY, Series())
    error = Series(accuracy.iterations, [100 * (1 - value) for value in accuracy.values])
    return StageCurves(name, {_ERROR: error, "training loss": log.loss})
