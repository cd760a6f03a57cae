"""Reads the folder of a recipe's run, as ``demitasse compress`` leaves it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from demitasse.errors import FileFormatError
from demitasse.report.inspection import inspect
from demitasse.report.log_parser import Series
from demitasse.report.page.fields import Field
from demitasse.report.page.packed_file import weights_of
from demitasse.report.page.run import Run, StageCurves, TensorSensitivity
from demitasse.report.page.sentences import command_line, listed, percent, results
from demitasse.report.tables import METRICS, StageResult

_SENSITIVITY = "sensitivity.json"
_MODEL = "model.pt"


def read_compress_run(folder: Path, report: Field, name: str) -> Run:
    """Returns the run in a folder.

    Args:
        folder: the folder.
        report: its report.json.
        name: the name of the run on the page.

    Raises:
        FileFormatError: a file of the folder is missing or damaged.
    """
    stages = list(report["stages"])
    if not stages:
        raise FileFormatError(f"{report.place}: stages is empty; expected a stage or more")
    metric = "error" if "error" in stages[-1]["tests"] else "loss"
    scale = 100 if metric == "error" else 1
    rows = [_result(stage, metric) for stage in stages]
    data, shipped = report["data"], stages[-1]["file"].path(folder)
    packed = shipped if shipped.suffix == ".demi" else None
    measured, unchanged = _sensitivity(folder / _SENSITIVITY, scale)
    model = report["model"].text
    dense = report["dense"][metric].number if "dense" in report else None
    done = listed([_phrase(stage) for stage in stages])
    changed = results(rows, dense, compressed=stages[0]["kind"].text != "train")
    return Run(
        name=name,
        title=report["title"].text,
        sentence=f"{model} on {data['name'].text} was {done}: {changed}.",
        command=command_line(
            "compress",
            report["source"].text if "source" in report else report["recipe"].text,
            seed=report["seed"].count,
            data=data["path"].text if "path" in data else None,
            weights=report["weights"].text if "weights" in report else None,
            quick=report["quick"].flag,
            allow_imports="allow_imports" in report and report["allow_imports"].flag,
        ),
        facts={
            "seed": str(report["seed"].count),
            "model": model,
            "data": data["name"].text,
            **{key: report[key].text for key in ("demitasse", "torch", "python")},
            "threads": str(report["threads"].count),
        },
        stages=rows,
        subject=(model, data["name"].text),
        metric=_label(metric),
        curves=[_curves(stage, metric, scale) for stage in stages if list(stage["history"])],
        dense=dense,
        file=inspect(packed) if packed else None,
        weights=weights_of(packed or shipped.parent / _MODEL),
        sensitivity=measured,
        unchanged=unchanged,
    )


def _result(stage: Field, metric: str) -> StageResult:
    counts = [[count.count for count in pair] for _, pair in stage["kept"].items()]
    if not counts or any(len(pair) != 2 for pair in counts) or not sum(total for _, total in counts):
        raise FileFormatError(f"{stage['kept'].place}: expected pairs of counts, the nonzero and all parameters")
    kept, total = (sum(column) for column in zip(*counts, strict=True))
    if any(kept > total for kept, total in counts):
        raise FileFormatError(f"{stage['kept'].place}: more parameters are kept than there are")
    if not stage["bytes"].count:
        raise FileFormatError(f"{stage['bytes'].place} is 0; expected the size of a file")
    return StageResult(
        stage["name"].text,
        stage["tests"][metric].number,
        kept,
        total,
        stage["bytes"].count,
        stage["seconds"].number,
        metric,
    )


def _phrase(stage: Field) -> str:
    """Returns what a stage did to the model, in words."""
    kind, settings = stage["kind"].text, stage["settings"]
    epochs = settings["epochs"].count if "epochs" in settings else 0
    trained = f"{epochs} epoch{'s' if epochs != 1 else ''}"
    zeros = f" to {percent(settings['sparsity'].number)} zeros" if _is_number(settings, "sparsity") else ""
    bits = f" to {settings['bits'].number:g} bits" if _is_number(settings, "bits") else ""
    phrases = {
        "train": f"trained for {trained}",
        "surgery": f"pruned{zeros} by Dynamic Network Surgery in {trained}",
        "magnitude": f"pruned{zeros} by magnitude in {trained}",
        "quantize": f"quantized{bits} by Incremental Network Quantization",
        "shrink": f"compressed{zeros}{bits} without training",
        "rescale": "rescaled",
        "recalibrate": "recalibrated",
        "pack": "packed",
    }
    return phrases.get(kind, f"changed by {kind}")


def _is_number(settings: Field, key: str) -> bool:
    return key in settings and isinstance(settings[key].value, int | float)


def _label(metric: str) -> str:
    return METRICS[metric][0] + (" (%)" if metric == "error" else "")


def _curves(stage: Field, metric: str, scale: float) -> StageCurves:
    epochs = list(stage["history"])
    numbers = list(range(1, len(epochs) + 1))
    results = [scale * epoch[f"test_{metric}"].number for epoch in epochs]
    loss = [epoch["loss"].number for epoch in epochs]
    return StageCurves(
        stage["name"].text, {_label(metric): Series(numbers, results), "training loss (nats)": Series(numbers, loss)}
    )


def _sensitivity(path: Path, scale: float) -> tuple[Sequence[TensorSensitivity], float]:
    """Returns what ``demitasse sensitivity`` measured, and the metric of the unchanged model; or nothing."""
    if not path.exists():
        return (), 0.0
    report, found = Field.of_file(path), []
    for layer in report["layers"]:
        for kind, key in (("sparsity", "by_sparsity"), ("bits", "by_bits")):
            values = {_key(text, value): scale * value.number for text, value in layer[key].items()}
            if values:
                found.append(TensorSensitivity(layer["name"].text, kind, values))
    return found, scale * report["dense"].number


def _key(text: str, value: Field) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise FileFormatError(f"{value.place}: the key is {text!r}; expected a number")
    return number
