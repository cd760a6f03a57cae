"""True boxes that are wrong, many or not numbers: losses and evaluations end in time, or in a typed error."""

from __future__ import annotations

import time

import pytest
import torch

from demitasse.errors import DataError, NetError
from tests.golden.single import single_layer

PRIORS = 2000
LOSS = "multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE }"
JUDGED = "detection_output_param { num_classes: 3 }"
JUDGE = "detection_evaluate_param { num_classes: 3 }"


def priors() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(PRIORS, 2, generator=generator) * 0.8
    boxes = torch.cat([low, low + 0.01 + torch.rand(PRIORS, 2, generator=generator) * 0.2], 1)
    return torch.stack([boxes, torch.full_like(boxes, 0.1)]).reshape(1, 2, -1)


def rows(count: int) -> torch.Tensor:
    """Returns true boxes of two items, (1, 1, count, 8)."""
    generator = torch.Generator().manual_seed(1)
    found = torch.rand(count, 8, generator=generator)
    found[:, 0] = torch.arange(count) % 2
    found[:, 1] = 1 + torch.arange(count) % 2
    found[:, 5:7] = found[:, 3:5] + 0.1
    return found[None, None]


def loss(labels: torch.Tensor) -> torch.Tensor:
    shapes = ((2, PRIORS * 4), (2, PRIORS * 3), (1, 2, PRIORS * 4), tuple(labels.shape))
    layer = single_layer("MultiBoxLoss", LOSS, *shapes)
    torch.manual_seed(0)
    return layer(torch.randn(shapes[0]) / 9, torch.randn(shapes[1]), priors(), labels)


def judged(labels: torch.Tensor, detections: torch.Tensor) -> torch.Tensor:
    return single_layer("DetectionEvaluate", JUDGE, tuple(detections.shape), tuple(labels.shape))(detections, labels)


@pytest.mark.parametrize("column", [0, 1, 3, 6])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e30, 3e9])
def test_rows_that_are_no_numbers(column: int, value: float) -> None:
    labels = rows(4)
    labels[0, 0, 2, column] = value
    with pytest.raises(DataError, match="layer 'l': a row of a box has a number that is not finite, or beyond"):
        loss(labels)
    with pytest.raises(DataError, match="layer 'l': a row of a box has a number that is not finite, or beyond"):
        judged(labels, torch.zeros(1, 1, 1, 7) - 1)
    detections = torch.zeros(1, 1, 2, 7)
    detections[0, 0, 1, column] = value
    with pytest.raises(DataError, match="layer 'l': a row of a box has a number that is not finite, or beyond"):
        judged(rows(4), detections)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 2, "the item of a box is 2; expected 0 to 1"),
        (0, -7, "the item of a box is -7; expected 0 to 1"),
        (1, 3, "the label of a box is 3; expected 0 to 2"),
        (1, -1, "the label of a box is -1; expected 0 to 2"),
        (1, 0, "a box has the label 0 of the background"),
    ],
)
def test_rows_of_no_item_or_class(column: int, value: float, message: str) -> None:
    labels = rows(4)
    labels[0, 0, 1, column] = value
    with pytest.raises(DataError, match=f"layer 'l': {message}"):
        loss(labels)


@pytest.mark.parametrize("corners", [(0.5, 0.5, 0.5, 0.5), (0.9, 0.9, 0.1, 0.1), (-1e9, -1e9, 1e9, 1e9), (7, 7, 8, 8)])
def test_boxes_that_match_nothing(corners: tuple[float, ...]) -> None:
    labels = rows(4)
    labels[..., 3:7] = torch.tensor(corners)
    assert torch.isfinite(loss(labels))
    assert judged(labels, torch.rand(1, 1, 5, 7).mul(2).floor()[..., :0].new_ones(1, 1, 5, 7)).shape[2] == 7


def test_many_boxes_end_in_time() -> None:
    begin = time.process_time()
    assert torch.isfinite(loss(rows(3000)))
    assert judged(rows(3000), torch.ones(1, 1, 3000, 7)).shape == (1, 1, 3002, 5)
    assert time.process_time() - begin < 60
    with pytest.raises(DataError, match="layer 'l': found 2,000 default boxes and 200,000 boxes of an image"):
        loss(rows(400_000))


@pytest.mark.parametrize(
    ("kind", "settings", "shapes"),
    [
        ("DetectionOutput", JUDGED, ((0, 24), (0, 18), (1, 2, 24))),
        ("DetectionOutput", JUDGED, ((0, 24), (0, 18), (1, 2, 24), (0, 12), (0, 24))),
        ("Proposal", "", ((0, 18, 3, 4), (0, 36, 3, 4), (1, 3))),
        (
            "YoloDetectionOutput",
            "yolo_detection_output_param { num_classes: 1 num_box: 1 biases: [1, 2] }",
            ((0, 6, 2, 3),),
        ),
        (
            "Yolov3DetectionOutput",
            """yolov3_detection_output_param { num_classes: 1 num_box: 1 biases: [1, 2] mask: 0 mask_group_num: 1
            anchors_scale: 4 }""",
            ((0, 6, 2, 3),),
        ),
    ],
)
def test_nothing_is_found_in_no_images(kind: str, settings: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    found = single_layer(kind, settings, *shapes)(*(torch.zeros(shape) for shape in shapes))
    assert found.numel() == 0


@pytest.mark.parametrize("ratio", ["inf", "nan", "-1", "0"])
def test_anchors_of_no_ratio(ratio: str) -> None:
    with pytest.raises(NetError, match=r"ratio is .*; expected a positive number"):
        single_layer("Proposal", f"proposal_param {{ ratio: {ratio} }}", (1, 6, 3, 4), (1, 12, 3, 4), (1, 3))


def test_axes_of_a_blob_without_items_have_limits() -> None:
    with pytest.raises(NetError, match=r"top 't0' has the shape \[0, 3, .*\]; expected smaller axes"):
        single_layer("Interp", "interp_param { zoom_factor: 2147483647 }", (0, 3, 8, 8))
