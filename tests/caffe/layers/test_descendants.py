"""Layers of DeconvNet, OpenPose, CRF-RNN, DetectNet and others, beyond what the contract suite asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.layers.grid_boxes import grouped
from demitasse.caffe.layers.permutohedral import PermutohedralLattice
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, NetError
from tests.golden.single import single_net

CLUSTERS = """python_param { module: 'caffe.layers.detectnet.clustering' layer: 'ClusterDetections'
    param_str: '%s' }"""
REPEATED = "python_param { module: 'caffe_traininglayers' layer: 'SpatialRepLayer' }"
SCORES = (1, 3, 4, 5)
FIELD = "num_iterations: 2 theta_alpha: 3 theta_beta: 2 theta_gamma: 1"


def parsed(text: str) -> Net:
    return Net(prototxt.parse(text, schema.NetParameter(), "net"))


@pytest.mark.parametrize(
    ("kind", "settings", "shapes", "message"),
    [
        ("Unpooling", "unpooling_param { kernel_size: 2 }", [(1, 1, 2, 2)], r"the plane of the top \[0, 0\]"),
        ("Unpooling", "unpooling_param { kernel_size: 2 stride: 3 unpool_size: 3 }", [(1, 1, 2, 2)], "begin in the"),
        ("Unpooling", "unpooling_param { kernel_size: 2 pad: 1 unpool_size: 4 }", [(1, 1, 2, 2)], r"pad is \[1, 1\]"),
        ("Unpooling", "unpooling_param { unpool_size: 4 unpool_h: 4 kernel_size: 2 }", [(1, 1, 2, 2)], "both unpool_s"),
        ("Unpooling", "pooling_param { kernel_size: 2 }", [(1, 1, 2, 2)], "found only a pooling_param"),
        ("Unpooling", "unpooling_param { kernel_size: 2 }", [(1, 2)], "four axes"),
        ("Pooling3D", "pooling3d_param { kernel_depth: 1 kernel_size: 1 }", [(1, 1, 2, 2)], "five axes"),
        ("Pooling3D", "pooling3d_param { kernel_size: 1 }", [(1, 1, 2, 2, 2)], r"kernel is \[0, 1, 1\]"),
        ("Pooling3D", "pooling3d_param { kernel_depth: 3 kernel_size: 1 }", [(1, 1, 2, 2, 2)], "larger than"),
        ("Pooling3D", "pooling3d_param { kernel_depth: 1 kernel_size: 2 pad: 1 }", [(1, 1, 2, 2, 2)], "MAX with pad 1"),
        (
            "Pooling3D",
            "pooling3d_param { kernel_depth: 1 kernel_size: 1 pad: 1 pool: AVE }",
            [(1, 1, 2, 2, 2)],
            "pad 1",
        ),
        (
            "Pooling3D",
            "pooling3d_param { kernel_depth: 1 kernel_size: 1 pool: STOCHASTIC }",
            [(1, 1, 2, 2, 2)],
            "STOCH",
        ),
        ("Unpooling", "pooling_param { kernel_size: 1 pad: 1 }", [(1, 1, 2, 2)] * 2, "expected positive sizes"),
        ("ImResize", "imresize_param { factor: 0.1 }", [(1, 1, 4, 4)], "expected positive sizes"),
        ("ImResize", "imresize_param { start_scale: 1.5 }", [(1, 1, 4, 4)], "expected positive sizes"),
        ("ImResize", "imresize_param { factor: nan }", [(1, 1, 4, 4)], "expected finite numbers"),
        ("ImResize", "imresize_param { factor: 1e30 }", [(1, 1, 4, 4)], "entries"),
        ("Nms", "", [(1, 3, 4, 4)], "num_parts 15"),
        ("ContinuationIndicator", "continuation_indicator_param { time_step: 2 }", [], "batch_size 0"),
        ("MultiStageMeanfield", "", [SCORES] * 3, "num_iterations is 0"),
        ("MultiStageMeanfield", f"multi_stage_meanfield_param {{ {FIELD} }}", [SCORES, SCORES, (1, 2, 4, 5)], "twice"),
        (
            "MultiStageMeanfield",
            f"multi_stage_meanfield_param {{ {FIELD} spatial_filter_weights_str: '1 2' }}",
            [SCORES] * 3,
            "has 2 numbers; expected one for each of 3 classes",
        ),
        (
            "MultiStageMeanfield",
            f"multi_stage_meanfield_param {{ {FIELD} bilateral_filter_weights_str: '1 x 2' }}",
            [SCORES] * 3,
            "is '1 x 2'; expected 3 numbers",
        ),
        ("EvalDetection", "eval_detection_param { biases: 1 }", [(1, 1470), (1, 343)], "found 1 biases"),
        ("EvalDetection", "eval_detection_param { side: 0 }", [(1, 1470), (1, 343)], "side is 0"),
        ("EvalDetection", "", [(1, 1470), (1, 342)], "of 1470 and of 343 numbers"),
        ("DeformableConvolution", "", [(1, 2, 4, 4), (1, 18, 4, 4)], "kernel_size is missing"),
        (
            "DeformableConvolution",
            "deformable_convolution_param { num_output: 2 kernel_size: 3 deformable_group: 3 }",
            [(1, 2, 4, 4), (1, 18, 4, 4)],
            "deformable_group 3 do not divide",
        ),
        (
            "DeformableConvolution",
            "deformable_convolution_param { num_output: 2 kernel_size: 3 }",
            [(1, 2, 4, 4), (1, 18, 4, 4)],
            r"expected \[1, 18, 2, 2\]",
        ),
        ("Python", CLUSTERS % "64,32", [(1, 1, 2, 4), (1, 4, 2, 4)], "param_str is '64,32'"),
        ("Python", CLUSTERS % "64,32,16,.1,1,.1,2,2", [(1, 1, 2, 4), (1, 4, 2, 4)], "a top for each class"),
        ("Python", CLUSTERS % "8,8,16,.1,1,.1,2", [(1, 1, 2, 4), (1, 4, 2, 4)], "at least one cell"),
        ("Python", REPEATED, [(1, 2, 1, 2), (1, 2, 3, 4)], "expected .n, channels, 1, 1."),
    ],
)
def test_settings_that_do_not_fit_are_told(
    kind: str, settings: str, shapes: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(NetError, match=message):
        single_net(kind, settings, *shapes)


@pytest.mark.parametrize("settings", ["unpooling_param { unpool_size: 7", "pooling_param { pool: MAX"])
def test_a_pooling_and_an_unpooling_are_inverse(settings: str) -> None:
    net = parsed(
        f"""input: "x" input_shape {{ dim: 2 dim: 3 dim: 7 dim: 7 }}
        layer {{ name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" pooling_param {{ kernel_size: 3 stride: 2 }} }}
        layer {{ name: "u" type: "Unpooling" bottom: "p" bottom: "m" top: "u" {settings} kernel_size: 3 stride: 2 }} }}
        layer {{ name: "q" type: "Pooling" bottom: "u" top: "q" pooling_param {{ kernel_size: 3 stride: 2 }} }}"""
    )
    x = torch.rand(2, 3, 7, 7)
    found = net({"x": x}, keep=["u", "p"])
    assert torch.equal(found["q"], found["p"])
    assert ((found["u"] == x) | (found["u"] == 0)).all()


def test_nets_of_2014_have_unpooling_and_the_mean_field() -> None:
    net = parsed(
        f"""input: "x" input_dim: 1 input_dim: 3 input_dim: 6 input_dim: 6
        layers {{ name: "p" type: POOLING bottom: "x" top: "p" top: "m" pooling_param {{ kernel_size: 2 stride: 2 }} }}
        layers {{ name: "u" type: UNPOOLING bottom: "p" bottom: "m" top: "u"
          unpooling_param {{ unpool: MAX kernel_size: 2 stride: 2 unpool_size: 6 }} }}
        layers {{ name: "c" type: MULTI_STAGE_MEANFIELD bottom: "u" bottom: "u" bottom: "x" top: "c" blobs_lr: 10
          multi_stage_meanfield_param {{ {FIELD} compatibility_mode: POTTS threshold: 2
            spatial_filter_weight: 3 }} }}"""
    )
    assert net.shapes["c"] == (1, 3, 6, 6)
    assert [blob.lr_mult for blob in net.learnable] == [10, 1, 1]
    assert torch.equal(net.layer("c").spatial[0, 0], 3 * torch.eye(3))
    assert torch.equal(net.layer("c").compatibility[0, 0], -torch.eye(3))


def test_the_lattice_is_a_gaussian_filter() -> None:
    rng = np.random.default_rng(0)
    places, values = rng.uniform(0, 6, (2000, 2)), rng.normal(size=(2000, 1))
    lattice = PermutohedralLattice(places)
    found = lattice.filter(torch.from_numpy(values)) / lattice.filter(torch.ones(2000, 1, dtype=torch.double))
    weights = np.exp(-((places[:, None] - places) ** 2).sum(-1) / 2)
    expected = weights @ values / weights.sum(1, keepdims=True)
    assert np.abs(found.numpy() - expected).max() < 0.2 * np.abs(expected).max()
    assert np.corrcoef(found[:, 0], expected[:, 0])[0, 1] > 0.98


@pytest.mark.parametrize(
    ("value", "message"), [(float("nan"), "is not below"), (1e30, "is not below"), (1e14, "span too many")]
)
def test_images_that_cannot_be_filtered_by_are_told(value: float, message: str) -> None:
    layer = single_net("MultiStageMeanfield", f"multi_stage_meanfield_param {{ {FIELD} }}", *[SCORES] * 3).layer("l")
    image = torch.zeros(SCORES)
    image[..., 0] = value
    with pytest.raises(DataError, match=f"layer 'l': .*{message}"):
        layer(torch.zeros(SCORES), torch.zeros(SCORES), image)


def test_labels_of_yolo_out_of_range_are_told() -> None:
    layer = single_net("EvalDetection", "eval_detection_param { side: 1 num_class: 2 }", (1, 12), (1, 7)).layer("l")
    with pytest.raises(DataError, match=r"layer 'l': label \[2\] is out of range; expected 0 to 1"):
        layer(torch.zeros(1, 12), torch.tensor([[0.0, 1, 2, 0.5, 0.5, 1, 1]]))


def test_without_a_threshold_only_the_best_box_of_yolo_is_left() -> None:
    net = single_net("EvalDetection", "eval_detection_param { side: 2 num_class: 2 nms: 0.0 }", (1, 48), (1, 28))
    rows = net({"b0": torch.rand(1, 48), "b1": torch.zeros(1, 28)})["t0"][0, 2:].reshape(-1, 4)
    assert (rows[:, 3] == 1).tolist() == [True, *[False] * 7]


def test_boxes_are_grouped_as_opencv_groups_them() -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    for _ in range(50):
        middles = rng.integers(0, 400, (6, 4))
        boxes = middles[rng.integers(0, 6, 40)] + rng.integers(-9, 10, (40, 4))
        votes, eps = int(rng.integers(0, 4)), float(rng.uniform(0.01, 0.3))
        expected, counts = cv2.groupRectangles([tuple(map(int, box)) for box in boxes], votes, eps)
        means, found = grouped(boxes, votes, eps)
        assert means.tolist() == np.array(expected).reshape(-1, 4).tolist()
        assert found.tolist() == np.array(counts).ravel().tolist()


def test_the_clusters_of_detectnet_are_built_in() -> None:
    net = single_net("Python", CLUSTERS % "64,32,16,0.5,1,0.2,8,2", (2, 2, 2, 4), (2, 4, 2, 4), tops=2)
    assert net.shapes["t0"] == net.shapes["t1"] == (2, 50, 5)
    coverage, boxes = torch.zeros(2, 2, 2, 4), torch.zeros(2, 4, 2, 4)
    coverage[1, 0, 0, :3] = 0.7
    # three cells beside each other that see one box, whose corners are relative to each
    boxes[1, 0, 0], boxes[1, 2, 0] = torch.tensor([4.0, -12, -28, 0]), torch.tensor([40.0, 26, 8, 0])
    boxes[1, 3, 0] = 20.0
    found = net({"b0": coverage, "b1": boxes})
    assert [int(found[name].count_nonzero()) for name in ("t0", "t1")] == [4, 0]
    np.testing.assert_allclose(found["t0"][1, 0], [4, 0, 41, 20, np.log(3)], atol=1e-3)
    low = single_net("Python", CLUSTERS % "64,32,16,0.5,1,0.2,21,2", (2, 2, 2, 4), (2, 4, 2, 4), tops=2)
    assert not low({"b0": coverage, "b1": boxes})["t0"].any()


def test_the_repetition_of_the_colorization_is_built_in() -> None:
    net = single_net("Python", REPEATED, (2, 3, 1, 1), (2, 5, 4, 6))
    assert net.shapes["t0"] == (2, 3, 4, 6)
    values = torch.rand(2, 3, 1, 1)
    assert torch.equal(net({"b0": values, "b1": torch.zeros(2, 5, 4, 6)})["t0"], values.expand(2, 3, 4, 6))
