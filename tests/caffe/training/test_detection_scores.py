"""Average precision, and tests of detectors by it."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.training.average_precision import VERSIONS, average_precision
from demitasse.caffe.training.detection_scores import DetectionScores
from demitasse.caffe.training.scoring import MeanScores, net_scores
from demitasse.caffe.training.solver import Solver
from demitasse.errors import NetError, PrototxtError

NET = """
layer { name: "found" type: "Input" top: "found" input_param { shape { dim: 1 dim: 1 dim: 3 dim: 7 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 dim: 1 dim: 2 dim: 8 } } }
layer { name: "judge" type: "DetectionEvaluate" bottom: "found" bottom: "label" top: "rows"
  detection_evaluate_param { num_classes: 3 evaluate_difficult_gt: false } }
"""


def by_definition(scores: np.ndarray, true: np.ndarray, positives: int, version: str) -> float:
    ranked = [t for _, t in sorted(zip(-scores, true, strict=True), key=lambda pair: pair[0])]
    points = [(sum(ranked[: i + 1]) / (i + 1), sum(ranked[: i + 1]) / positives) for i in range(len(ranked))]
    if version == "11point":
        return sum(max([p for p, r in points if r >= t / 10 - 1e-9], default=0) for t in range(11)) / 11
    area, before = 0.0, 0.0
    for i, (p, r) in enumerate(points):
        if version == "Integral":
            area += p * (r - before)
        elif i == 0:
            area += r * max(p for p, _ in points)
        else:  # SSD's code counts the precision at the beginning of a step, too
            area += (r - before) * max(p for p, _ in points[i - 1 :])
        before = r
    return area


@pytest.mark.parametrize("version", sorted(VERSIONS))
@pytest.mark.parametrize("seed", range(6))
def test_average_precision(version: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, true = rng.random(30), rng.random(30) < 0.4
    positives = 32  # no tenth of it is a whole number of boxes
    found = average_precision(scores, true, positives, version)
    assert found == pytest.approx(by_definition(scores, true, positives, version), abs=1e-6)
    if version == "Integral":
        whole = average_precision(scores, true, int(true.sum()), version)
        assert whole == pytest.approx(average_precision_score(true, scores), abs=1e-6)


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_the_ends(version: str) -> None:
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3, version) == 0
    assert average_precision(np.ones(2), np.zeros(2, bool), 0, version) == 0
    assert average_precision(np.arange(4.0), np.ones(4, bool), 4, version) == pytest.approx(1)


def net() -> Net:
    return Net(prototxt.parse(NET, schema.NetParameter(), "net"))


def rows(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows)[None, None]


def test_a_mean_over_classes_and_batches(caplog: pytest.LogCaptureFixture) -> None:
    scores = DetectionScores("Integral", per_class=True)
    built = net()
    scores.add(built, {"rows": rows((-1, 1, 2, -1, -1), (-1, 2, 1, -1, -1), (0, 1, 0.5, 1, 0), (0, 1, 0.9, 0, 1))})
    # the last box is of a difficult one: neither true nor false
    scores.add(built, {"rows": rows((-1, 1, 1, -1, -1), (-1, 2, 0, -1, -1), (0, 1, 0.7, 1, 0), (1, 1, 0.95, 0, 0))})
    with caplog.at_level(logging.INFO, "demitasse.caffe"):
        means = scores.means(2)
    # of class 1: false, true, true of three boxes; of class 2 nothing is found
    assert means == {"rows": [pytest.approx((1 / 2 / 3 + 2 / 3 / 3) / 2, abs=1e-6)]}
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["class1: 0.388889", "Missing true_pos for label: 2", "class2: 0"]


def test_outputs_of_other_layers_are_refused() -> None:
    with pytest.raises(NetError, match=r"output 'rows' of the test net has shape \[2, 5\]; expected rows of Detection"):
        DetectionScores().add(net(), {"rows": torch.zeros(2, 5)})


def test_a_net_without_a_solver_is_judged_by_its_outputs() -> None:
    assert isinstance(net_scores(net()), DetectionScores)
    more = f'{NET} layer {{ name: "s" type: "Sigmoid" bottom: "found" top: "s" }}'
    assert isinstance(net_scores(Net(prototxt.parse(more, schema.NetParameter(), "net"))), MeanScores)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('eval_type: "segmentation"', "eval_type is 'segmentation'; expected classification or detection"),
        ('ap_version: "12point"', "ap_version is '12point'; expected 11point, Integral or MaxIntegral"),
    ],
)
def test_unknown_ways_to_judge_are_refused(settings: str, message: str) -> None:
    param = prototxt.parse(settings, schema.SolverParameter(), "solver")
    with pytest.raises(PrototxtError, match=message):
        Solver(param, "solver.prototxt")
