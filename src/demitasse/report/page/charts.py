"""The charts of one run: its stages, its training, its layers, and the sizes of its weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from demitasse.report.inspection import Inspection
from demitasse.report.inspection_bars import bars_of
from demitasse.report.page.bars import Bar, bars
from demitasse.report.page.curves import training
from demitasse.report.page.drawing import SERIES, WIDE, Chart, Spec, draw, rows, series_colours
from demitasse.report.page.run import Run, TensorSensitivity
from demitasse.report.page.sentences import percent, power
from demitasse.report.page.weights import WeightView
from demitasse.report.tables import METRICS, StageResult

_MOST_EXPONENTS = 12


def charts_of(run: Run, most: int) -> list[Chart]:
    """Returns the charts of a run; those without data are left out.

    Args:
        run: the run.
        most: the most tensors in a chart; 0 for no charts of tensors.
    """
    found = [
        *([stages(run.stages)] if len(run.stages) > 1 else []),
        *([training(run)] if run.curves else []),
    ]
    if most:
        found += [
            *([kept(run.weights, most)] if any(view.total for view in run.weights) else []),
            *([file_bytes(run.file)] if run.file and run.file.rows else []),
            *([exponents(run.weights, most)] if any(view.histogram for view in run.weights) else []),
            *([sensitivity(run, most)] if run.sensitivity else []),
        ]
    return found


def stages(found: Sequence[StageResult]) -> Chart:
    """Draws error, parameters and bytes of each stage."""
    header, metric = METRICS[found[0].metric]
    last = found[-1]
    panels = {
        header: [Bar(stage.name, [stage.error], metric(stage.error), stage is not last) for stage in found],
        "parameters kept": [Bar(stage.name, [stage.kept], f"{stage.kept:,}", stage is not last) for stage in found],
        "bytes": [Bar(stage.name, [stage.bytes], f"{stage.bytes:,}", stage is not last) for stage in found],
    }
    alt = "; ".join(f"{name}: " + ", ".join(f"{bar.name} {bar.text}" for bar in row) for name, row in panels.items())
    return bars("Stage by stage", alt, panels)


def kept(views: Sequence[WeightView], most: int) -> Chart:
    """Draws the share of each tensor's values that is not zero."""
    shown, note = _largest(views, most)
    found = [
        Bar(view.name, [100 * view.kept / view.total], f"{percent(view.kept / view.total)} of {view.total:,}")
        for view in shown
    ]
    alt = "Share of the values that is not zero: " + ", ".join(f"{bar.name} {bar.text}" for bar in found)
    return bars("What is kept of each tensor", alt, {"values that are not zero (%)": found}, note=note)


def file_bytes(file: Inspection) -> Chart:
    """Draws the bytes of each tensor in a file: of the positions of nonzero values, and of the values."""
    found = [
        Bar(
            bar.label,
            [bar.positions, bar.values],
            f"{_rounded(bar.positions + bar.values)} ({_bits(bar.positions + bar.values, bar.total)})",
        )
        for bar in bars_of(file.rows)
    ]
    found.append(Bar("header", [0, file.header], f"{file.header:,}"))
    alt = f"Bytes of each tensor, {file.size:,} in all: " + ", ".join(f"{bar.name} {bar.text}" for bar in found)
    parts = ("positions of nonzero values", "values")
    return bars("What the bytes of the file are for", alt, {"bytes": found}, parts)


def _rounded(size: float) -> str:
    return f"{size:,.0f}" if size >= 10 else f"{size:.2g}"


def _bits(size: float, count: int) -> str:
    return f"{8 * size / count:.2f} bits each" if count else "no values"


def _largest(views: Sequence[WeightView], most: int) -> tuple[list[WeightView], str]:
    """Returns the largest tensors in their order, and what to say if they are not all."""
    full = [view for view in views if view.total]
    if len(full) <= most:
        return full, ""
    matrices = [view for view in full if len(view.shape) > 1] or full
    names = {view.name for view in sorted(matrices, key=lambda view: -view.total)[:most]}
    return [view for view in full if view.name in names], f"The {len(names)} largest of {len(full)} tensors."


def exponents(views: Sequence[WeightView], most: int) -> Chart:
    """Draws, for each tensor, how many of its values are nearest to each power of two, of either sign."""
    shown, note = _largest([view for view in views if view.histogram and len(view.shape) > 1] or views, most)
    data = {view.name: list(_powers(view)) for view in shown}
    order = [
        power(exponent) for exponent in sorted({int(str(row["exponent"])) for own in data.values() for row in own})
    ]

    def spec(width: int) -> Spec:
        columns = min(len(shown), 4 if width == WIDE else 2)
        panels = [
            _histogram(name, own, order, (width - 70 - 50 * (columns - 1)) // columns) for name, own in data.items()
        ]
        return {"concat": panels, "columns": columns, "bounds": "flush", "spacing": {"row": 62, "column": 50}}

    share = sum(view.powers for view in views) / max(sum(view.kept for view in views), 1)
    words = f"{percent(share)} of all nonzero values are exactly powers of two."
    return draw(
        "Weights by power of two",
        f"Histograms of the exponents of {len(shown)} tensors; {words}",
        spec,
        f"Positive values upwards, negative ones downwards; {words} {note}".strip(),
    )


def _histogram(name: str, data: Sequence[dict[str, object]], order: Sequence[str], width: int) -> Spec:
    x_axis = {"labelAngle": 0, "labelOverlap": True, "ticks": False}
    y_axis = {"tickCount": 4, "labelExpr": "format(abs(datum.value), '~s')", "domain": False}
    colours = series_colours(["positive", "negative"], SERIES[1:3])
    bars: Spec = {
        "mark": "bar",
        "encoding": {
            "x": {"field": "power", "type": "ordinal", "scale": {"domain": order}, "title": None, "axis": x_axis},
            "y": {"field": "count", "type": "quantitative", "title": None, "stack": None, "axis": y_axis},
            "color": {**colours, "legend": {"columns": 2}},
            "description": {"field": "label"},
        },
    }
    # not a title of Vega, which labels of an axis would move
    text = {"type": "text", "aria": False, "align": "left", "fontWeight": "bold", "x": 0, "y": -10, "limit": width + 34}
    title: Spec = {"data": rows([{"text": name}]), "mark": text, "encoding": {"text": {"field": "text"}}}
    return {"width": width, "height": 110, "data": rows(data), "layer": [bars, title]}


def _powers(view: WeightView) -> Iterator[dict[str, object]]:
    least = view.largest - _MOST_EXPONENTS + 1
    counts: dict[int, tuple[int, int]] = {}
    for exponent, (positive, negative) in view.histogram.items():
        before = counts.get(max(exponent, least), (0, 0))
        counts[max(exponent, least)] = before[0] + positive, before[1] + negative
    for exponent, pair in counts.items():
        size = power(exponent) + (" or smaller" if exponent == least else "")
        for name, sign, count in zip(("positive", "negative"), (1, -1), pair, strict=True):
            if count:
                yield {
                    "exponent": exponent,
                    "power": power(exponent),
                    "count": sign * count,
                    "name": name,
                    "label": f"{view.name}: {count:,} {name} values of about {size}",
                }


def sensitivity(run: Run, most: int) -> Chart:
    """Draws how much the metric suffers if one tensor alone is pruned or quantized."""
    measured, note = _most_sensitive(run.sensitivity, most)
    unchanged = f"{run.unchanged:.3g}"
    kinds = [kind for kind in ("sparsity", "bits") if any(one.kind == kind for one in measured)]
    titles = {"sparsity": "share of zeros (%)", "bits": "bits"}

    def spec(width: int) -> Spec:
        beside = width == WIDE and len(kinds) > 1
        panels = [_sensitivity_panel(run, measured, kind, titles[kind], beside, width) for kind in kinds]
        return {"hconcat" if beside else "vconcat": panels, "resolve": {"scale": {"color": "shared", "y": "shared"}}}

    worst = max(measured, key=lambda one: max(one.values.values()))
    return draw(
        "Sensitivity of each tensor",
        f"The metric of the model if one tensor alone is compressed, without training; unchanged it is "
        f"{unchanged}. {worst.name} suffers most: {max(worst.values.values()):.3g}.",
        spec,
        f"One tensor at a time, without training. Unchanged: {unchanged}. {note}".strip(),
    )


def _most_sensitive(measured: Sequence[TensorSensitivity], most: int) -> tuple[list[TensorSensitivity], str]:
    """Returns what was measured of the tensors that suffer most, and what to say if they are not all."""
    worst: dict[str, float] = {}
    for one in measured:
        worst[one.name] = max([worst.get(one.name, -math.inf), *filter(math.isfinite, one.values.values())])
    names = sorted(worst, key=lambda name: -worst[name])[:most]
    note = f"The {most} most sensitive of {len(worst)} tensors." if len(worst) > most else ""
    return [one for one in measured if one.name in names], note


def _sensitivity_panel(
    run: Run, measured: Sequence[TensorSensitivity], kind: str, title: str, beside: bool, width: int
) -> Spec:
    names = list(dict.fromkeys(one.name for one in measured))
    scale, unit = (100, " % zeros") if kind == "sparsity" else (1, " bits")
    data = [
        {
            "x": scale * place,
            "y": value,
            "name": one.name,
            "label": f"{one.name}, {scale * place:g}{unit}: {value:.4g}",
        }
        for one in measured
        if one.kind == kind
        for place, value in one.values.items()
        if math.isfinite(value)
    ]
    encoding = {
        "x": {
            "field": "x", "type": "quantitative", "title": title,
            "scale": {"zero": False, "reverse": kind == "bits"},
            "axis": {"grid": False, "tickCount": 6, "tickMinStep": 1},
        },
        "y": {"field": "y", "type": "quantitative", "title": run.metric, "axis": {"tickCount": 5}},
        "color": {**series_colours(names), "legend": {"columns": 2 if width == WIDE else 1, "symbolLimit": 24}},
    }  # fmt: skip
    return {
        "width": (width - 130) // 2 if beside else width - 80,
        "height": 200,
        "data": rows(data),
        "encoding": encoding,
        "layer": [
            {"mark": {"type": "line", "aria": False}},
            {"mark": {"type": "circle", "size": 40, "opacity": 1}, "encoding": {"description": {"field": "label"}}},
        ],
    }
