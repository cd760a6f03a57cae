"""The curves of training, stage after stage, with a panel for each kind of number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from demitasse.report.limits import useful_limits
from demitasse.report.log_parser import Series
from demitasse.report.page.drawing import FAINT, INK, QUIET, WIDE, Chart, Spec, draw, rows, series_colours
from demitasse.report.page.run import Run, StageCurves
from demitasse.report.page.sentences import shown

_MOST_POINTS = 240  # of a line; more cannot be told apart
_WIDE_RANGE = 5  # ratio of losses from which on the axis is logarithmic
# 2k for 2000; Vega itself would write 0k beside it
_SHORT_NUMBERS = {"labelExpr": "datum.value === 0 ? '0' : format(datum.value, '~s')"}
_SEVERAL = 60  # from this number on, points are not drawn but can be pointed at


def training(run: Run) -> Chart:
    """Draws the curves of a run, all stages one after the other."""
    labels = list(dict.fromkeys(label for stage in run.curves for label in stage.panels))
    length = sum(stage.steps for stage in run.curves)

    def spec(width: int) -> Spec:
        panels = [
            _panel(run, label, length, width, first=number == 0, last=number == len(labels) - 1)
            for number, label in enumerate(labels)
        ]
        return {"vconcat": panels, "spacing": 14, "resolve": {"scale": {"color": "shared"}}}

    thin = any(len(series.values) > _MOST_POINTS for stage in run.curves for series in stage.panels.values())
    return draw(
        "Training",
        " ".join(_words(run, label) for label in labels),
        spec,
        f"Of longer curves, {_MOST_POINTS} values at equal distances are shown." if thin else "",
    )


def together(runs: Sequence[Run], label: str, where: str) -> Chart:
    """Draws one kind of number of several runs in one panel, from the beginning of each run.

    Args:
        runs: the runs.
        label: what is measured.
        where: what follows in the title.
    """
    data, length = [], 1
    for run in runs:
        start = 0
        for stage in run.curves:
            for point in _points(stage, label, start, run.unit):
                data.append({**point, "name": run.name, "label": f"{run.name}, {point['label']}"})
            start += stage.steps
        length = max(length, start)

    def spec(width: int) -> Spec:
        x = _x(length, width, f"{runs[0].unit} of the run")
        legend = {"columns": 3 if width == WIDE else 1, "symbolLimit": 40}
        colour = {**series_colours([run.name for run in runs]), "legend": legend}
        encoding = {"x": x, "y": _y(label, [row["y"] for row in data], None), "color": colour}
        many = len(data) > _SEVERAL * len(runs)
        points = {"mark": {"type": "circle", "size": 36, "opacity": 0 if many else 1}}
        points["encoding"] = {"description": {"field": "label"}}
        layers = [{"mark": {"type": "line", "aria": False}}, points]
        return {"width": width - 78, "height": 320, "data": rows(data), "encoding": encoding, "layer": layers}

    return draw(
        f"{label.capitalize()} during training{where}",
        " ".join(f"{run.name}: {' '.join(_words(run, label).split(': ')[1:])}" for run in runs),
        spec,
    )


def _words(run: Run, label: str) -> str:
    parts = [
        f"{stage.name} from {stage.panels[label].values[0]:.4g} to {stage.panels[label].values[-1]:.4g}"
        for stage in run.curves
        if label in stage.panels and stage.panels[label].values
    ]
    return f"{label.capitalize()}: {', '.join(parts)}."


def _panel(run: Run, label: str, length: int, width: int, first: bool, last: bool) -> Spec:
    data, ends, start = [], [], 0
    for stage in run.curves:
        data += list(_points(stage, label, start, run.unit))
        start += stage.steps
        ends.append({"x": start})
    names = [stage.name for stage in run.curves]
    legend = {"columns": 4 if width == WIDE else 2, "symbolLimit": 40} if len(names) > 1 else None
    x = _x(length, width, f"{run.unit}{', stage after stage' if len(names) > 1 else ''}" if last else "")
    colour = {**series_colours(names), "legend": legend}
    many = len(data) > _SEVERAL
    encoding = {"x": x, "y": _y(label, [row["y"] for row in data], run.reference if first else None), "color": colour}
    repeats = any(_repeats(stage.panels.get(label, Series())) for stage in run.curves)
    marks = [] if repeats else [{"mark": {"type": "line", "aria": False}, "data": rows(data), "encoding": encoding}]
    points = {
        "mark": {"type": "circle", "size": 36, "opacity": 0 if many and not repeats else 1},
        "data": rows(data),
        "encoding": {**encoding, "description": {"field": "label"}},
    }
    return {
        "width": width - 78,
        "height": 170 if first else 120,
        "layer": [_boundaries(ends[:-1], x), *marks, *_reference(run.reference if first else None), points],
    }


def _x(length: int, width: int, title: str) -> Spec:
    labelled = bool(title)
    axis = {
        "grid": False,
        "labels": labelled,
        "ticks": labelled,
        "tickCount": 6 if width == WIDE else 4,
        **_SHORT_NUMBERS,
    }
    scale = {"domain": [0, length], "nice": False}
    return {"field": "x", "type": "quantitative", "scale": scale, "title": title or None, "axis": axis}


def _repeats(series: Series) -> bool:
    return len(set(series.iterations)) < len(series.iterations)


def _points(stage: StageCurves, label: str, start: int, unit: str) -> Iterator[dict[str, Any]]:
    series = stage.panels.get(label, Series())
    count = len(series.values)
    most = min(count, _MOST_POINTS)
    for index in (round(number * (count - 1) / max(most - 1, 1)) for number in range(most)):
        step, value = series.iterations[index], series.values[index]
        if math.isfinite(value):
            text = f"{stage.name}, {unit} {step:,}: {_measured(label, value)}"
            yield {"x": start + step, "y": value, "name": stage.name, "label": text}


def _measured(label: str, value: float) -> str:
    """Returns a value with its unit, which the label of its axis has in brackets."""
    name, _, unit = label.removesuffix(")").partition(" (")
    return f"{name} {value:.4g} {unit}" if unit in ("%", "nats") else f"{label} {value:.4g}"


def _y(label: str, values: Sequence[float], dense: float | None) -> Spec:
    if "loss" in label and values and 0 < _WIDE_RANGE * min(values) < max(values):
        low, high = min(values), max(values)
        scale: Spec = {"type": "log", "domain": [0.9 * low, 1.1 * high], "nice": False}
        axis: Spec = {"values": _ticks(low, high), "format": "~g"}
    elif "loss" in label or "rate" in label:
        scale, axis = {"zero": False}, {"tickCount": 4, "format": "~g"}
    else:
        limits = useful_limits([*values, *([] if dense is None else [dense])], floor=0.0 if "%" in label else None)
        # the first test of an untrained net is near chance, and would flatten the rest
        scale, axis = {"domain": list(limits), "nice": False, "clamp": True}, {"tickCount": 5}
    return {"field": "y", "type": "quantitative", "title": shown(label), "scale": scale, "axis": axis}


def _ticks(low: float, high: float) -> list[float]:
    """Returns 1, 2 and 5 times powers of ten within limits; of many powers, only these."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 100 * low else (1,)
    return [step * 10.0**power for power in powers for step in steps]


def _boundaries(ends: Sequence[dict[str, int]], x: Spec) -> Spec:
    return {
        "mark": {"type": "rule", "aria": False, "color": FAINT, "strokeDash": [2, 2]},
        "data": rows(ends),
        "encoding": {"x": x},
    }


def _reference(dense: float | None) -> list[Spec]:
    if dense is None or not math.isfinite(dense):
        return []
    y = {"field": "y", "type": "quantitative"}
    data = rows([{"y": dense, "text": f"- - dense net: {dense:.3g}"}])
    rule = {"type": "rule", "aria": False, "color": QUIET, "strokeDash": [5, 4]}
    above = {"type": "text", "aria": False, "align": "right", "baseline": "bottom", "dy": -3, "x": "width", "y": 0}
    return [
        {"mark": rule, "data": data, "encoding": {"y": y}},
        {"mark": {**above, "color": INK}, "data": data, "encoding": {"text": {"field": "text"}}},
    ]
