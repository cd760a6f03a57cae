"""Compares runs: error against bytes, with published results."""

from __future__ import annotations

import math
from collections.abc import Sequence

from demitasse.report.page.curves import together
from demitasse.report.page.drawing import INK, QUIET, WIDE, Chart, Spec, draw, rows, series_colours
from demitasse.report.page.run import Run
from demitasse.report.published import PUBLISHED, Published
from demitasse.report.tables import METRICS

Row = dict[str, object]


def comparison_charts(runs: Sequence[Run]) -> list[Chart]:
    """Returns the charts that compare runs; a single run is compared with what is published."""
    charts = []
    for metric in METRICS:
        # results on other data are no rivals
        by_data: dict[str, list[Run]] = {}
        for run in runs:
            if run.stages and run.stages[-1].metric == metric:
                by_data.setdefault(run.subject[1], []).append(run)
        for data, found in by_data.items():
            papers = published(found) if metric == "error" else []
            if len(found) > 1 or papers:
                charts.append(_sizes(found, papers, metric, f" on {data}" if len(by_data) > 1 else ""))
    return charts + _trainings(runs)


def _trainings(runs: Sequence[Run]) -> list[Chart]:
    """Returns a chart for each kind of number that leads the curves of several runs on the same data."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        if run.curves and run.curves[0].panels:
            groups.setdefault((run.unit, next(iter(run.curves[0].panels)), run.subject[1]), []).append(run)
    several = len({data for _, _, data in groups}) > 1
    return [
        together(found, label, f" on {data}" if several and data else "")
        for (_, label, data), found in groups.items()
        if len(found) > 1
    ]


def published(runs: Sequence[Run]) -> list[Published]:
    """Returns published results for the models and data of runs."""
    return [one for subject in dict.fromkeys(run.subject for run in runs) for one in PUBLISHED.get(subject, ())]


def _sizes(runs: Sequence[Run], papers: Sequence[Published], metric: str, where: str) -> Chart:
    header, text = METRICS[metric]
    scale, label = (100, f"{header} (%)") if metric == "error" else (1, header)
    data: list[Row] = [
        {
            "x": stage.bytes,
            "y": scale * stage.error,
            "order": number,
            "name": run.name,
            "size": 110 if stage is run.stages[-1] else 36,
            "label": f"{run.name}, {stage.name}: {text(stage.error)}, {stage.bytes:,} bytes",
        }
        for run in runs
        for number, stage in enumerate(run.stages)
        if math.isfinite(stage.error)
    ]
    others: list[Row] = [
        {
            "x": one.bytes,
            "y": one.error,
            "text": one.paper,
            "label": f"{one.paper} (arXiv {one.arxiv}): {one.error:g} %, {one.bytes:,} bytes",
        }
        for one in sorted(papers, key=lambda paper: (paper.error, paper.bytes))
    ]

    results = [f"{run.name} {text(run.stages[-1].error)} in {run.stages[-1].bytes:,} bytes" for run in runs]
    alt = f"{label} against bytes. Results: {'; '.join(results)}."
    note = "Large circles are results, small ones the stages before."
    if others:
        alt += f" Published: {'; '.join(str(row['label']) for row in others)}."
        note += " Diamonds are published results; their files were measured by their authors."
    title = f"{header.capitalize()} against size{where}"
    sizes = [stage.bytes for run in runs for stage in run.stages] + [one.bytes for one in papers]
    domain = (min(sizes) / 2, 2 * max(sizes))  # room for names, but not the whole decades around them
    names = [run.name for run in runs]
    return draw(title, alt, lambda width: _spec(width, label, names, domain, data, others), note)


def _spec(
    width: int,
    label: str,
    names: Sequence[str],
    domain: tuple[float, float],
    data: Sequence[Row],
    others: Sequence[Row],
) -> Spec:
    ticks = {"format": "~s", "labelOverlap": "greedy", "labelSeparation": 8, "tickCount": 6 if width == WIDE else 4}
    x = {
        "field": "x", "type": "quantitative", "title": "bytes of the file", "axis": {"grid": False, **ticks},
        "scale": {"type": "log", "domain": domain, "nice": False},
    }  # fmt: skip
    y = {"field": "y", "type": "quantitative", "title": label, "scale": {"zero": False, "padding": 14}}
    colour = {**series_colours(names), "legend": {"columns": 3 if width == WIDE else 1, "symbolLimit": 40}}
    size = {"field": "size", "type": "quantitative", "scale": None, "legend": None}
    place, texts = {"x": x, "y": y}, {"description": {"field": "label"}}
    line = {"type": "line", "aria": False, "strokeWidth": 1, "opacity": 0.5}
    circle = {"type": "circle", "opacity": 1}
    diamond = {"type": "point", "shape": "diamond", "filled": True, "color": QUIET, "size": 70, "opacity": 1}
    layers: list[Spec] = [
        {"data": rows(data), "mark": line, "encoding": {**place, "color": colour, "order": {"field": "order"}}},
        {"data": rows(data), "mark": circle, "encoding": {**place, "color": colour, "size": size, **texts}},
        *([{"data": rows(others), "mark": diamond, "encoding": {**place, **texts}}] if others else []),
    ]
    # names of neighbours, alternately above and below, do not meet
    for some, offset in ((others[::2], -11), (others[1::2], 13)):
        text = {"type": "text", "aria": False, "dy": offset, "color": INK, "fontSize": 11}
        layers.append({"data": rows(some), "mark": text, "encoding": {**place, "text": {"field": "text"}}})
    return {"width": width - 70, "height": 320, "layer": layers}
