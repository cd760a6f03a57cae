"""What pictures show: titles, limits, references; texts that are whole and that nothing crosses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from demitasse.report import canvas, inspection_picture, log_plots, plots, sensitivity, style
from demitasse.report.inspection import Inspection, TensorRow
from demitasse.report.limits import useful_limits
from demitasse.report.log_parser import Series, TrainingLog
from demitasse.report.style import COLOURS, DARK_COLOURS, DARK_GROUND, GROUND

LONG = "model.encoder.layers.{}.self_attention.query_projection_of_the_block.weight"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    found: list[Figure] = []

    @contextmanager
    def keep(path: Path, width: float, height: float) -> Iterator[Figure]:
        with canvas.figure_at(path, width, height) as figure:
            found.append(figure)
            yield figure

    for module in (plots, log_plots, inspection_picture, sensitivity):
        monkeypatch.setattr(module, "figure_at", keep)
    return found


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def assert_all_texts_are_whole(figure: Figure) -> None:
    """No text runs out of the picture; labels of ticks beyond an axis are not drawn."""
    width, height = figure.canvas.get_width_height()
    axis = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    drawn = {id(tick) for one in axis for tick in one._update_ticks()}
    hidden = {
        id(label)
        for one in axis
        for tick in (*one.majorTicks, *one.minorTicks)
        for label in (tick.label1, tick.label2)
        if id(tick) not in drawn
    }
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text() and id(text) not in hidden:
            box = text.get_window_extent()
            assert min(box.x0, box.y0) >= -1, text
            assert box.x1 <= width + 1, text
            assert box.y1 <= height + 1, text


def log(*errors: float, last: int = 0) -> TrainingLog:
    steps = [10 * i for i in range(len(errors) - bool(last))] + ([last] if last else [])
    return TrainingLog(
        loss=Series(steps, list(errors)), tests={"accuracy": Series(steps, [1 - error for error in errors])}
    )


RUNS = [
    ("reference", log(0.9, 0.05, 0.03, 0.02, 0.014, 0.013)),
    ("pruned (DNS)", log(0.5, 0.04, 0.02, 0.018, 0.017, 0.017)),
    ("INQ 100 %", log(0.026, 0.024, last=1)),
]


def test_training_has_a_title_plain_ticks_and_the_dense_net_as_a_line(tmp_path: Path, figures: list[Figure]) -> None:
    plots.training_curves(RUNS, tmp_path / "training.png", title="digits, seed 1")
    (figure,) = figures
    found = texts(figure)
    assert "digits, seed 1" in found
    assert "reference:\n1.3 %" in found
    assert not [text for text in found if "10^" in text]
    assert {"0.1", "0.01"} <= set(found) or {"0.5", "0.2"} <= set(found)
    _, lower = figure.axes
    assert lower.get_ylim()[0] == 0
    assert lower.get_ylim()[1] < 10  # not the 90 % of the untrained net
    assert any(list(line.get_ydata()) == [pytest.approx(1.3)] * 2 for line in lower.lines)
    assert_all_texts_are_whole(figure)


def test_a_stage_of_one_iteration_is_not_cut_at_the_edge(tmp_path: Path, figures: list[Figure]) -> None:
    plots.training_curves(RUNS, tmp_path / "training.png")
    for axes in figures[0].axes:
        last = max(x for line in axes.lines[:-1] for x in line.get_xdata() if len(line.get_xdata()) > 2)
        assert axes.get_xlim()[1] > 1.015 * 101 >= 1.015 * last
        assert axes.get_xlim()[0] < 0


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.9), (0.02, 0.9), (0.0011, 3.0)])
def test_ticks_of_a_logarithmic_axis_are_plain_numbers(
    low: float, high: float, figures: list[Figure], tmp_path: Path
) -> None:
    plots.training_curves([("a", log(high, low, low, low))], tmp_path / "training.png")
    upper = figures[0].axes[0]
    labels = [tick.label1.get_text() for tick in upper.yaxis._update_ticks() if tick.label1.get_text()]
    assert len(labels) >= 2
    assert all(float(label) > 0 for label in labels)


@pytest.mark.parametrize(
    ("values", "within"),
    [
        ([0.11, 0.94, 0.97, 0.98, 0.96, 0.97, 0.98, 0.98, 0.99, 0.99, 0.98, 0.98], (0.9, 1.0)),
        ([90, 5, 2, 2, 1.5, 1.4, 1.6, 1.3, 1.2, 1.2, 1.3], (0.5, 7)),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], (0.0, 0.8)),
        ([9, 5, 4], (3, 10)),
        ([0.5], (0.4, 0.6)),
        ([], (0, 1)),
        ([float("nan"), 1, 2], (0.9, 2.1)),
    ],
)
def test_limits_show_the_bulk_of_the_values(values: list[float], within: tuple[float, float]) -> None:
    low, high = useful_limits(values)
    assert within[0] <= low < high <= within[1]
    assert sum(low <= value <= high for value in values) >= 0.8 * sum(value == value for value in values)


def test_errors_that_differ_little_are_told_apart() -> None:
    low, high = useful_limits([11.8, 12.4, 12.1, 11.9, 12.0], floor=0.0)
    assert 11 < low < 11.8 < 12.4 < high < 13
    assert useful_limits([0.0, 0.1, 0.2], floor=0.0)[0] == 0.0


def test_the_accuracy_of_logs_can_be_read(tmp_path: Path, figures: list[Figure]) -> None:
    log_plots.plot_logs(RUNS[:2], tmp_path / "logs.png", log_scale=True)
    (figure,) = figures
    accuracy = next(axes for axes in figure.axes if axes.get_ylabel() == "test accuracy")
    assert accuracy.get_ylim()[0] > 0.85
    assert "Training" in texts(figure)
    assert_all_texts_are_whole(figure)


@pytest.mark.parametrize(("count", "name"), [(1, "conv{}"), (4, "conv{}"), (4, LONG), (100, LONG)])
def test_kept_has_whole_labels_and_no_lines_through_them(
    count: int, name: str, tmp_path: Path, figures: list[Figure]
) -> None:
    rng = np.random.default_rng(0)
    kept = {name.format(number): (int(rng.integers(0, 10**6)), 10**6) for number in range(count)}
    plots.kept_by_layer({**kept, "all": (10**6, 10**6)}, tmp_path / "kept.png")
    (figure,) = figures
    assert set(kept) <= set(texts(figure))
    assert_all_texts_are_whole(figure)
    (axes,) = figure.axes
    assert not any(line.get_visible() for line in (*axes.get_xgridlines(), *axes.get_ygridlines()))
    for bar, text in zip(axes.patches, axes.texts, strict=True):
        gap = text.get_window_extent().x0 - bar.get_window_extent().x1
        assert 0 < gap < 15  # pixels


def test_exponents_of_many_layers_have_a_colour_each(tmp_path: Path, figures: list[Figure]) -> None:
    weights = {LONG.format(number): np.array([0.5, -0.25]) for number in range(30)}
    plots.exponent_histogram(weights, tmp_path / "exponents.png")
    (figure,) = figures
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(names) == len(COLOURS)
    assert names[-1] == "23 others"
    assert_all_texts_are_whole(figure)


def inspection(name: str) -> Inspection:
    rows = [
        TensorRow(name.format(number), "float32", (10, 10), "weights", 100, 40, 2, positions, positions / 2, entropy)
        for number, (positions, entropy) in enumerate([(3000.0, 9000.0), (4000.0, 5000.0), (2.0, 0.0)])
    ]
    return Inspection("net.demi", 10_700, 200, rows, {}, {})


@pytest.mark.parametrize("name", ["conv{}.0", LONG])
def test_inspect_has_numbers_at_the_end_of_what_is_drawn(name: str, tmp_path: Path, figures: list[Figure]) -> None:
    inspection_picture.picture(inspection(name), tmp_path / "net.png")
    (figure,) = figures
    assert_all_texts_are_whole(figure)
    (axes,) = figure.axes
    assert not any(line.get_visible() for line in (*axes.get_xgridlines(), *axes.get_ygridlines()))
    # the entropy that lies beyond a bar is joined to it, so the number behind it belongs to the bar
    assert any(list(line.get_xdata()) == [4500, 9000] for line in axes.lines)


def test_sensitivity_of_many_layers(tmp_path: Path, figures: list[Figure]) -> None:
    layers = [
        {"name": LONG.format(number), "entries": 10, "by_sparsity": {0.5: 0.1, 0.9: 0.5}, "by_bits": {4: 0.1, 3: 0.2}}
        for number in range(20)
    ]
    sensitivity.sensitivity_curves({"dense": 0.05, "layers": layers}, tmp_path / "sensitivity.png")
    (figure,) = figures
    assert "unchanged:\n5" in texts(figure)
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines if line.get_marker() != "None"}
    assert len(looks) == 20
    assert_all_texts_are_whole(figure)


def test_lines_of_runs_have_words_and_the_dense_net(tmp_path: Path, figures: list[Figure]) -> None:
    runs = [(name, [{"test_error": error} for error in (0.02, 0.015, 0.01)]) for name in ("surgery to 90 %", "to 99 %")]
    plots.epoch_lines(runs, tmp_path / "lines.png", title="LeNet-5 on MNIST", dense=0.7)
    found = texts(figures[0])
    assert {"LeNet-5 on MNIST", "dense net:\n0.7", "surgery to 90 %"} <= set(found)
    assert figures[0].axes[0].get_ylim()[0] < 0.7
    assert_all_texts_are_whole(figures[0])


# Machado, Oliveira, Fernandes 2009, severity 1: linear RGB as seen with one kind of cones missing
MISSING = {
    "none": np.eye(3),
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> np.ndarray:
    values = np.array(to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(values: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(values, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("colours", [COLOURS, DARK_COLOURS])
@pytest.mark.parametrize("missing", MISSING)
def test_colours_can_be_told_apart(missing: str, colours: tuple[str, ...]) -> None:
    seen = [lab(np.array(MISSING[missing]) @ linear(colour)) for colour in colours]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 20


def contrast(one: str, other: str) -> float:
    """The contrast of WCAG 2.2: the ratio of the luminances, each with 0.05 of light in the room."""
    low, high = sorted(0.05 + float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour)) for colour in (one, other))
    return high / low


@pytest.mark.parametrize(("colours", "ground"), [(COLOURS, GROUND), (DARK_COLOURS, DARK_GROUND)])
def test_colours_stand_out_against_their_ground(colours: tuple[str, ...], ground: str) -> None:
    assert all(contrast(colour, ground) >= 3 for colour in colours)


@pytest.mark.parametrize(
    ("texts", "grounds"),
    [((style.INK, style.QUIET), style.LIGHT_GROUNDS), ((style.DARK_INK, style.DARK_QUIET), style.DARK_GROUNDS)],
)
def test_texts_can_be_read(texts: tuple[str, ...], grounds: tuple[str, ...]) -> None:
    assert all(contrast(text, ground) >= 4.5 for text in texts for ground in grounds)
