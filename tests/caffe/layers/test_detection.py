"""Detection layers: held against OpenCV 4, with hostile values, and in time."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from demitasse.caffe import python_layer, schema
from demitasse.caffe.layers import boxes
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.weights import save_weights
from demitasse.errors import DataError, NetError, PythonLayerError
from tests.contract.examples import FOCUS, IMAGE_INFO, PRIORS, REGIONS, detection_settings
from tests.golden.single import single_layer, single_net

each = pytest.mark.parametrize
RANDOM = torch.Generator().manual_seed(3)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=RANDOM)


def theirs(tmp_path, kind: str, settings: str, bottoms: list[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a net of one layer makes of its bottoms, here and in OpenCV."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    net = single_net(kind, settings, *(tuple(bottom.shape) for bottom in bottoms), phase=schema.TEST)
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 2)
    inputs = " ".join(
        f'input: "b{i}" input_shape {{ {" ".join(f"dim: {size}" for size in bottom.shape)} }}'
        for i, bottom in enumerate(bottoms)
    )
    names = " ".join(f'bottom: "b{i}"' for i in range(len(bottoms)))
    (tmp_path / "net.prototxt").write_text(f'{inputs} layer {{ name: "l" type: "{kind}" {names} top: "l" {settings} }}')
    save_weights(net, tmp_path / "net.caffemodel")
    other = cv2.dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"))
    for index, bottom in enumerate(bottoms):
        other.setInput(bottom.numpy(), f"b{index}")
    with torch.no_grad():
        found = net({f"b{i}": bottom for i, bottom in enumerate(bottoms)})["t0"].numpy()
    return found, other.forward()


@each(
    ("kind", "settings", "shapes"),
    [
        ("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", [(2, 3, 4, 5)]),
        ("Permute", "permute_param { order: 1 order: 0 order: 3 order: 2 }", [(2, 3, 4, 5)]),
        ("Normalize", "norm_param { across_spatial: false channel_shared: false }", [(2, 3, 4, 5)]),
        ("PriorBox", "prior_box_param { min_size: 3 max_size: 6 aspect_ratio: 2 step: 8 clip: false variance: 0.3 }",
         [(1, 4, 5, 6), (1, 3, 40, 48)]),
        ("PriorBox", """prior_box_param { min_size: 9 aspect_ratio: 2 aspect_ratio: 3 flip: true clip: true
         variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 offset: 0.3 }""", [(1, 4, 5, 6), (1, 3, 41, 47)]),
        ("PriorBox", """prior_box_param { min_size: 5 min_size: 7 max_size: 9 max_size: 11 step_h: 3 step_w: 4
         clip: false variance: 0.1 }""", [(1, 4, 2, 3), (1, 3, 20, 30)]),
        ("PriorBox", """prior_box_param { width: 4.5 width: 8 height: 2 height: 6.5 offset_h: 0.2 offset_h: 0.7
         offset_w: 0.3 offset_w: 0.6 clip: false step: 4 variance: 0.1 }""", [(1, 4, 2, 3), (1, 3, 20, 30)]),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 12 else "",
)  # fmt: skip
def test_layers_agree_with_opencv(tmp_path, kind, settings, shapes):
    found, expected = theirs(tmp_path, kind, settings, [normal(*shape) for shape in shapes])
    np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-6)


@each(
    ("kind", "settings"),
    [
        ("ROIPooling", "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }"),
        ("PSROIPooling", "psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 group_size: 2 }"),
    ],
)
def test_regions_agree_with_opencv(tmp_path, kind, settings):
    regions = torch.tensor(REGIONS[[0, 1, 3]], dtype=torch.float32)
    found, expected = theirs(tmp_path, kind, settings, [normal(*FOCUS[0]), regions])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@each("nms", ["nms_threshold: 0.3 top_k: 20", "nms_threshold: 0.7 top_k: 40"])
@each(
    "more",
    [
        "",
        "share_location: false",
        "variance_encoded_in_target: true",
        "background_label_id: 2",
        "clip: true",
    ],
)
@each("code", ["CENTER_SIZE", "CORNER"])
def test_detections_agree_with_opencv(tmp_path, nms, more, code):
    count = 60
    low = torch.rand(count, 2, generator=RANDOM) * 0.7
    priors = torch.cat([low, low + 0.1 + 0.2 * torch.rand(count, 2, generator=RANDOM)], 1).reshape(1, 1, -1)
    priors = torch.cat([priors, torch.tensor([0.1, 0.1, 0.2, 0.2]).repeat(count).reshape(1, 1, -1)], 1)
    scores = normal(2, count, 3).softmax(2).flatten(1)
    offsets = normal(2, count * 4 * (3 if "share" in more else 1)) * 0.3
    # OpenCV has no defaults
    needed = " ".join(
        field for field in ("share_location: true", "background_label_id: 0") if field.split(":")[0] not in more
    )
    settings = detection_settings(f"{more} {needed}", nms, code).replace("keep_top_k: 4", "keep_top_k: 15")
    priors = priors[:, :1] if "encoded" in more else priors
    found, expected = theirs(tmp_path, "DetectionOutput", settings, [offsets, scores, priors])
    rows = expected.reshape(-1, 7)
    rows = rows[rows[:, 2] > 0]
    assert len(rows) == 30
    found = found.reshape(-1, 7)
    by_score = found[np.lexsort((-found[:, 2], found[:, 0]))]  # OpenCV's order; SSD's is by class first
    np.testing.assert_allclose(by_score, rows, atol=1e-5)


def detector(more: str = "", count: int = 6, keep: str = "keep_top_k: 4", nms: str = "nms_threshold: 0.3"):
    settings = detection_settings(more, nms).replace("keep_top_k: 4", keep)
    return single_layer("DetectionOutput", settings, (1, 4 * count), (1, 3 * count), (1, 2, 4 * count))


def test_where_nothing_is_found_there_is_a_row_for_each_item():
    layer = single_layer("DetectionOutput", detection_settings(), (2, 24), (2, 18), (1, 2, 24))
    found = layer(torch.zeros(2, 24), torch.zeros(2, 18), torch.tensor(PRIORS).float())
    assert found.tolist() == [[[[0, *[-1] * 6], [1, *[-1] * 6]]]]


@each("value", [float("nan"), float("inf"), -float("inf"), 1e38])
def test_odd_numbers_end_in_rows(value):
    priors = torch.tensor(PRIORS).float()
    for bottom in range(3):
        given = [normal(1, 24), normal(1, 18), priors.clone()]
        given[bottom].flatten()[::3] = value
        found = detector()(*given)
        assert found.shape[2] <= 4
        assert found[..., :2].isfinite().all()
        assert not found[..., 2].isnan().any()


def test_a_million_boxes_take_seconds():
    count = 1_000_000
    layer = detector(count=count, keep="keep_top_k: 100", nms="nms_threshold: 0.45")
    corners = torch.rand(count, 2, generator=RANDOM)
    priors = torch.cat([corners, corners + 1e-4], 1).reshape(1, 1, -1)
    priors = torch.cat([priors, torch.full_like(priors, 0.1)], 1)
    scores = torch.rand(1, 3 * count, generator=RANDOM) + 0.2
    start = time.perf_counter()
    found = layer(torch.zeros(1, 4 * count), scores, priors)
    assert time.perf_counter() - start < 30
    assert found.shape == (1, 1, 100, 7)


def test_boxes_without_a_limit_are_too_many():
    count = 70_000
    layer = detector(count=count, keep="keep_top_k: -1")
    given = [torch.zeros(1, 4 * count), torch.ones(1, 3 * count), torch.ones(1, 2, 4 * count)]
    with pytest.raises(DataError, match=r"layer 'l': found 70,000 boxes, of which up to 70,000 may be kept; .*top_k"):
        layer(*given)


def test_the_same_boxes_whatever_the_blocks(monkeypatch):
    low = np.random.default_rng(0).uniform(0, 1, (500, 2))
    found = np.concatenate([low, low + 0.2], 1)
    expected = boxes.suppress(found, 0.4)
    monkeypatch.setattr(boxes, "_FEW", 3)
    monkeypatch.setattr(boxes, "_BLOCK", 7)
    np.testing.assert_array_equal(boxes.suppress(found, 0.4), expected)
    np.testing.assert_array_equal(boxes.suppress(found, 0.4, most=9), expected[:9])


@each(
    ("kind", "settings", "shapes", "message"),
    [
        ("DetectionOutput", "", [(1, 24), (1, 18), (1, 2, 24)], "num_classes is missing"),
        ("DetectionOutput", detection_settings("", "eta: 0"), [(1, 24), (1, 18), (1, 2, 24)], "eta 0; expected"),
        ("DetectionOutput", detection_settings(), [(1, 24), (1, 12), (1, 2, 24)], "expected 24 and 18 values"),
        ("DetectionOutput", detection_settings(), [(1, 24), (1, 18), (1, 1, 24)], r"priors have shape \[1, 1, 24\]"),
        ("PriorBox", "", [(1, 1, 2, 2), (1, 3, 9, 9)], r"min_size is \[\]"),
        ("PriorBox", "prior_box_param { min_size: 9 max_size: 9 }", [(1, 1, 2, 2), (1, 3, 9, 9)], r"max_size is \[9\]"),
        ("PriorBox", "prior_box_param { min_size: 9 variance: 1 variance: 2 }", [(1, 1, 2, 2), (1, 3, 9, 9)],
         "one or four"),
        ("PriorBox", "prior_box_param { min_size: 9 step: 2 step_h: 2 }", [(1, 1, 2, 2), (1, 3, 9, 9)], "found step"),
        ("PriorBox", "prior_box_param { min_size: 9 aspect_ratio: 0 }", [(1, 1, 2, 2), (1, 3, 9, 9)], "aspect_ratio"),
        ("Permute", "permute_param { order: 1 order: 1 }", [(1, 2)], r"order is \[1, 1\]"),
        ("Transpose", "transpose_param { dim: 1 }", [(1, 2)], "dim names 1 axes; expected 2"),
        ("Reverse", "reverse_param { axis: 2 }", [(1, 2)], "axis is 2; expected an axis of the bottom, 0 to 1"),
        ("ShuffleChannel", "shuffle_channel_param { group: 3 }", [(1, 4)], "group is 3"),
        ("Reorg", "reorg_param { stride: 3 }", [(1, 9, 4, 6)], "expected a divisor of the plane"),
        ("Upsample", "upsample_param { scale: 3 pad_out_h: true }", [(1, 1, 2, 2)] * 2, "only with scale 2"),
        ("Upsample", "upsample_param { scale_h: 3 }", [(1, 1, 2, 2)] * 2, "only one of scale_h and scale_w"),
        ("Interp", "", [(1, 1, 2, 2)], "the size is missing"),
        ("Interp", "interp_param { height: 2 width: 2 pad_beg: 1 }", [(1, 1, 2, 2)], "expected 0 or less"),
        ("ROIPooling", "", [(1, 1, 4, 4), (2, 5)], "pooled_h and pooled_w are"),
        ("PSROIPooling", "psroi_pooling_param { output_dim: 2 group_size: 2 }", [(1, 4, 4, 4), (2, 5)], "4 channels"),
        ("Proposal", "proposal_param { scale: 8 }", [(1, 6, 2, 2), (1, 11, 2, 2), (1, 3)], "for 3 anchors"),
        ("Axpy", "", [(1, 2), (1, 3, 2, 2), (1, 3, 2, 2)], "twice"),
        ("BN", "bn_param { axis: 4 }", [(1, 2, 3, 3)], "axis is 4"),
        ("BN", "bn_param { eps: 1 }", [(1, 2, 1, 1)], "more than one value per channel"),
        ("Lstm", "", [(3, 2, 4)], "num_output is 0"),
        ("Lstm", "lstm_param { num_output: 2 }", [(3, 2, 4), (3, 3)], "cont has shape"),
        ("SmoothL1Loss", "", [(2, 3), (2, 3, 1, 1), (3, 3)], "expected one shape"),
        ("SpatialDropout", "spatial_dropout_param { dropout_ratio: 1 }", [(2, 3)], "dropout_ratio is 1"),
        ("SpatialDropout", "", [(2,)], "expected .n, channels, "),
        ("SegAccuracy", "", [(2, 3, 4, 4), (2, 4, 4)], "expected .n, classes, h, w."),
        ("YoloDetectionOutput", "yolo_detection_output_param { biases: 1 }", [(1, 125, 2, 2)], "1 biases"),
        ("Yolov3DetectionOutput", "yolov3_detection_output_param { mask: 1 }", [(1, 75, 2, 2)], "found 1 bottoms"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_told(kind, settings, shapes, message):
    with pytest.raises(NetError, match=message):
        single_net(kind, settings, *shapes)


def test_regions_and_masks_out_of_range_are_told():
    layer = single_layer("ROIPooling", "roi_pooling_param { pooled_h: 1 pooled_w: 1 }", *FOCUS)
    with pytest.raises(DataError, match="layer 'l': the item of a region is 2; expected 0 to 1"):
        layer(normal(*FOCUS[0]), torch.full((5, 5), 2.0))
    with pytest.raises(DataError, match="not finite"):
        layer(normal(*FOCUS[0]), torch.full((5, 5), float("nan")))
    layer = single_layer("Upsample", "", (1, 1, 2, 2), (1, 1, 2, 2))
    with pytest.raises(DataError, match="an index of the pooling mask is 16; expected 0 to 15"):
        layer(normal(1, 1, 2, 2), torch.full((1, 1, 2, 2), 16.0))


def test_a_pooling_and_an_upsample_are_inverse():
    text = """input: "x" input_shape { dim: 2 dim: 3 dim: 6 dim: 4 }
        layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "mask" pooling_param { kernel_size: 2 stride: 2 } }
        layer { name: "u" type: "Upsample" bottom: "p" bottom: "mask" top: "u" }
        layer { name: "q" type: "Pooling" bottom: "u" top: "q" pooling_param { kernel_size: 2 stride: 2 } }"""
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"))
    x = normal(2, 3, 6, 4).abs()
    found = net({"x": x}, keep=["u", "p"])
    assert torch.equal(found["q"], found["p"])
    assert ((found["u"] == x) | (found["u"] == 0)).all()


PYTHON = """python_param { module: 'rpn.proposal_layer' layer: 'ProposalLayer' param_str: "'feat_stride': 16" }"""


def test_the_proposal_layer_in_python_is_built_in():
    shapes = (1, 18, 3, 4), (1, 36, 3, 4), (1, 3)
    bottoms = {"b0": normal(*shapes[0]), "b1": normal(*shapes[1]), "b2": torch.tensor(IMAGE_INFO[:1]).float()}
    expected = single_net("Proposal", "", *shapes, phase=schema.TEST)(bottoms)["t0"]
    found = single_net("Python", PYTHON, *shapes, phase=schema.TEST)(bottoms)["t0"]
    assert len(found)
    assert torch.equal(found, expected)
    with python_layer.allowing(True):  # its own code is not here
        assert torch.equal(single_net("Python", PYTHON, *shapes, phase=schema.TEST)(bottoms)["t0"], expected)
    for wrong in ("16", "'feat_stride': 16, 'scales': 3"):
        with pytest.raises(NetError, match="param_str is"):
            single_net("Python", PYTHON.replace("'feat_stride': 16", wrong), *shapes)
    scales = PYTHON.replace("16", r"8 \n'scales': !!python/tuple [4, 8, 16.5]")
    layer = single_net("Python", scales, *shapes).layer("l")
    assert (layer.stride, len(layer.anchors), layer.after) == (8, 9, 2000)
    ratios = r"\n'scales': [8]\n'ratios': !!python/tuple [0.333, 0.5, 0.667, 1, 1.5, 2, 3, 4, 5]\n'base_size': 20"
    layer = single_net("Python", PYTHON.replace("16", "16 " + ratios), *shapes).layer("l")
    assert (len(layer.anchors), layer.base) == (9, 20)
    with pytest.raises(NetError, match="param_str is"):
        single_net("Python", PYTHON.replace("16", "16 'ratios': 2"), *shapes)
    with python_layer.allowing(False), pytest.raises(PythonLayerError, match="not allowed"):
        single_net("Python", PYTHON.replace("ProposalLayer", "OtherLayer"), *shapes)


def test_the_proposal_layer_in_cpp_wants_its_settings() -> None:
    shapes = (1, 4, 3, 4), (1, 8, 3, 4), (1, 3)
    given = single_net("FrcnnProposal", "proposal_param { scale: 4 ratio: 1 ratio: 2 }", *shapes)
    assert len(given.layer("l").anchors) == 2
    with pytest.raises(
        NetError, match=r"FrcnnProposal are in a file beside the net, .* give the layer a proposal_param"
    ):
        single_net("FrcnnProposal", "", *shapes)


DROPOUT = "python_param { module: 'spatial_dropout' layer: 'SpatialDropoutLayer' param_str: \"%s\" }"


def test_enets_dropout_in_python_is_built_in():
    x = torch.ones(50, 40, 2, 3)
    for phase, share in (("TEST", 0), ("TRAIN", 0.3)):
        settings = DROPOUT % f"{{'phase': '{phase}', 'p': '0.3'}}"
        found = single_net("Python", settings, x.shape).layer("l")(x)
        assert (found == 0).float().mean().item() == pytest.approx(share, abs=0.03)
        assert torch.equal(found, found[:, :, :1, :1].expand(found.shape))  # whole channels
        assert not share or found.max().item() == pytest.approx(1 / 0.7)
    assert torch.equal(single_net("Python", settings, x.shape, phase=schema.TEST).layer("l")(x), x)
    with pytest.raises(NetError, match="param_str is"):
        single_net("Python", DROPOUT % "0.3", x.shape)


TEXT = """python_param { module: 'layers.text_proposal_layer' layer: 'ProposalLayer' param_str: "'feat_stride': 16" }"""
HEIGHTS = (11, 16, 23, 33, 48, 68, 97, 139, 198, 283)


def test_the_text_proposals_of_ctpn_are_built_in():
    shape, sides = (1, 20, 3, 5), (41, 70)
    scores, offsets = normal(*shape), normal(*shape) * 0.3
    net = single_net("Python", TEXT, shape, shape, (1, 3), phase=schema.TEST, tops=2)
    assert (net.shapes["t0"], net.shapes["t1"]) == ((150, 4), (150, 1))
    found = net({"b0": scores, "b1": offsets, "b2": torch.tensor([[*sides, 1.0]])})
    boxes, best = [], []
    for y, x, k in np.ndindex(3, 5, 10):
        top, bottom = int(7.5 - HEIGHTS[k] // 2) + 16 * y, int(7.5 + HEIGHTS[k] // 2) + 16 * y
        height, (shift, factor) = bottom - top + 1, offsets[0, 2 * k : 2 * k + 2, y, x].double().numpy()
        size = height * np.exp(factor)
        start = (top + bottom) / 2 + shift * height - size / 2
        box = [16 * x, start, 16 * x + 15, start + size]
        boxes.append([min(max(edge, 0), limit - 1) for edge, limit in zip(box, sides[::-1] * 2, strict=True)])
        best.append(scores[0, 10 + k, y, x].item())
    np.testing.assert_allclose(found["t0"], np.float32(boxes), rtol=1e-5, atol=1e-4)
    assert found["t1"].flatten().tolist() == best
    with pytest.raises(NetError, match=r"expected twice \(1, 20, h, w\)"):
        single_net("Python", TEXT, (1, 18, 3, 5), (1, 18, 3, 5), (1, 3), tops=2)
    with pytest.raises(NetError, match="param_str is"):
        single_net("Python", TEXT.replace("feat", "beat"), shape, shape, (1, 3), tops=2)


def test_segnets_and_psp_nets_batch_normalization_keep_their_statistics():
    x = normal(4, 3, 5, 5) * 2 + 1
    layer = single_net("BN", "bn_param { momentum: 0.9 }", (4, 3, 5, 5)).layer("l")
    layer(x)
    torch.testing.assert_close(layer.mean.flatten(), 0.1 * x.mean((0, 2, 3)))
    torch.testing.assert_close(layer.variance.flatten(), 0.1 * x.var((0, 2, 3), correction=0))
    assert [param.lr_mult for param in layer.spec.param] == [1, 1, 0, 0]
    frozen = single_net("BN", "bn_param { frozen: true }", (4, 3, 5, 5)).layer("l")
    assert [param.lr_mult for param in frozen.spec.param] == [0] * 4
    assert single_net("BN", "param {} param {} param {} param {}", (4, 3, 5, 5)).layer("l").dialect == "TSN"
    assert single_net("BN", "", (4, 3, 5, 5)).layer("l").dialect == "SegNet"


def test_ctpns_memory_goes_on():
    layer = single_net("Lstm", "lstm_param { num_output: 3 }", (4, 2, 5), (4, 2), phase=schema.TEST).layer("l")
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x, cont = normal(4, 2, 5), torch.ones(4, 2)
    first = layer(x, cont)
    state = layer.state()
    second = layer(x, cont)
    assert not torch.equal(first, second)
    layer.restore(state)
    assert torch.equal(layer(x, cont), second)
    layer.restore({})
    assert torch.equal(layer(x, cont), first)


def test_accuracy_of_all_batches():
    settings = "seg_accuracy_param { reset: false }"
    layer = single_net("SegAccuracy", settings, (1, 2, 2, 2), (1, 1, 2, 2)).layer("l")
    scores, label = torch.zeros(1, 2, 2, 2), torch.zeros(1, 1, 2, 2)
    scores[:, 0] = 1
    assert layer(scores, label).flatten().tolist() == [1, 1, 1]
    state = layer.state()
    assert layer(scores, label + 1)[..., 0].item() == 0.5
    layer.restore(state)
    assert layer(scores, label + 1)[..., 0].item() == 0.5
