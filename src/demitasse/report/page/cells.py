"""The tables of the page: cells with a text for people and a value to sort by, and the figures above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from demitasse.report.inspection import TensorRow
from demitasse.report.log_parser import Series
from demitasse.report.page.run import Run
from demitasse.report.page.sentences import percent, power, size, smaller
from demitasse.report.page.weights import WeightView
from demitasse.report.tables import METRICS, StageResult

_CROSS = " \N{MULTIPLICATION SIGN} "


class TableCell(NamedTuple):
    """A cell: its text, and the value to sort by; a text without a value is sorted as text."""

    text: str
    value: float | None = None


class SortableTable(NamedTuple):
    """A table: its caption, the headers of its columns, and its rows."""

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[TableCell]]


class KeyFigure(NamedTuple):
    """A result in large digits: what it is, its value, and a remark."""

    label: str
    value: str
    remark: str = ""


def figures(run: Run) -> list[KeyFigure]:
    """Returns the results of a run that matter most."""
    if run.stages:
        return _of_stages(run.stages, run.dense)
    if run.file:
        present = sum(row.present for row in run.file.rows)
        return [
            KeyFigure("bytes", f"{run.file.size:,}", f"{run.file.ratio:,.1f} times smaller than float32"),
            KeyFigure("values that are not zero", f"{present:,}", f"of {run.file.count:,}"),
            KeyFigure("tensors", f"{len(run.file.rows):,}"),
        ]
    return [
        KeyFigure(label, f"{series.values[-1]:.4g}", f"at iteration {series.iterations[-1]:,}")
        for label, series in list(_measured(run).items())[:4]
    ]


def _measured(run: Run) -> dict[str, Series]:
    """Returns the last values that a log has of each kind."""
    return {label: series for curves in run.curves for label, series in curves.panels.items() if series.values}


def _of_stages(stages: Sequence[StageResult], dense: float | None) -> list[KeyFigure]:
    first, last = stages[0], stages[-1]
    header, metric = METRICS[last.metric]
    several = len(stages) > 1
    before = f"{metric(first.error)} after {first.name}" if several else ""
    if dense is not None and metric(dense) not in (metric(first.error), metric(last.error)):
        before = f"{metric(dense)} before"
    return [
        KeyFigure(header, metric(last.error), before),
        KeyFigure("file", size(last.bytes), smaller(first.bytes, last.bytes)),
        KeyFigure("parameters kept", f"{last.kept:,}", f"{percent(last.kept / last.total)} of {last.total:,}"),
        KeyFigure("time", _duration(sum(stage.seconds for stage in stages)), "without tests"),
    ]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def stage_table(stages: Sequence[StageResult]) -> SortableTable:
    """Returns a row for each stage."""
    header, metric = METRICS[stages[0].metric]
    rows = [
        [
            TableCell(stage.name),
            TableCell(metric(stage.error), stage.error),
            TableCell(f"{stage.kept:,}", stage.kept),
            TableCell(percent(stage.kept / stage.total), stage.kept / stage.total),
            TableCell(f"{stage.bytes:,}", stage.bytes),
            TableCell(f"{stages[0].bytes / stage.bytes:.1f}", stages[0].bytes / stage.bytes),
            TableCell(f"{stage.seconds:.1f}", stage.seconds),
        ]
        for stage in stages
    ]
    return SortableTable(
        "Results of the stages", ("stage", header, "parameters", "kept", "bytes", "ratio", "seconds"), rows
    )


def tensor_table(run: Run) -> SortableTable:
    """Returns a row for each tensor; columns that are not known of any tensor are left out."""
    packed = {row.name: row for row in run.file.rows} if run.file else {}
    measured = _sensitivities(run)
    rows = [_tensor(view, packed.get(view.name), measured) for view in run.weights]
    headers = ["tensor", "shape", "values", "kept", "share", "distinct", "powers of two"]
    headers += ["bytes", "bits each"] if packed else []
    headers += [f"{run.metric} at {100 * share:g} % zeros" for share in _shares(run)]
    return SortableTable("Tensors", headers, [[*row, *[TableCell("")] * (len(headers) - len(row))] for row in rows])


def _tensor(view: WeightView, row: TensorRow | None, measured: Mapping[str, Sequence[TableCell]]) -> list[TableCell]:
    exponents = sorted(view.histogram)
    powers = "" if not view.kept or view.powers < view.kept else f"{power(exponents[0])} … {power(exponents[-1])}"
    cells = [
        TableCell(view.name),
        TableCell(_CROSS.join(map(str, view.shape)) or "scalar", view.total),
        TableCell(f"{view.total:,}", view.total),
        TableCell(f"{view.kept:,}", view.kept),
        TableCell(percent(view.kept / view.total) if view.total else "", view.kept / max(view.total, 1)),
        TableCell(f"{view.distinct:,}", view.distinct),
        TableCell(powers, len(exponents) if powers else 0),
    ]
    if row:
        bits = 8 * row.bytes / max(row.count, 1)
        cells += [TableCell(f"{row.bytes:,.0f}", row.bytes), TableCell(f"{bits:.2f}", bits)]
    return [*cells, *measured.get(view.name, ())]


def _shares(run: Run) -> list[float]:
    """Returns two measured sparsities: the middle one and the largest."""
    shares = sorted({share for one in run.sensitivity if one.kind == "sparsity" for share in one.values})
    return shares[len(shares) // 2 :: max(len(shares) // 2, 1)][:2]


def _sensitivities(run: Run) -> dict[str, list[TableCell]]:
    return {
        one.name: [
            TableCell(f"{one.values[share]:.3g}", one.values[share]) if share in one.values else TableCell("")
            for share in _shares(run)
        ]
        for one in run.sensitivity
        if one.kind == "sparsity"
    }


def _whole(text: str) -> TableCell:
    return TableCell(text, int(text) if text.isdecimal() and len(text) < 20 else None)


def _last_measured(run: Run) -> TableCell:
    """Returns the last result of a log, with its name, as results of logs are of any kind."""
    label, series = next(iter(_measured(run).items()), ("", None))
    return TableCell(f"{label} {series.values[-1]:.4g}" if series else "")


def run_table(runs: Sequence[Run]) -> SortableTable:
    """Returns a row for each run."""
    rows = []
    for run in runs:
        last = run.stages[-1] if run.stages else None
        count = last.bytes if last else run.file.size if run.file else None
        result = TableCell(METRICS[last.metric][1](last.error), last.error) if last else _last_measured(run)
        rows.append(
            [
                TableCell(run.name),
                *map(TableCell, run.subject),
                result,
                TableCell(f"{last.kept:,}", last.kept) if last else TableCell(""),
                TableCell(percent(last.kept / last.total), last.kept / last.total) if last else TableCell(""),
                TableCell("" if count is None else f"{count:,}", count),
                _whole(run.facts.get("seed", "")),
            ]
        )
    return SortableTable("Runs", ("run", "model", "data", "test result", "parameters", "kept", "bytes", "seed"), rows)
