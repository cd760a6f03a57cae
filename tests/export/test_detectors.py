"""Detection layers in graphs find what the net finds, in batches of any size."""

from __future__ import annotations

import pytest
import torch

from demitasse.caffe import schema
from demitasse.errors import ExportError
from demitasse.export import TARGETS, of_files, of_net, suppression
from demitasse.export.check import compare
from tests.contract.examples import EXAMPLES, Example, detection_settings
from tests.export.nets import build
from tests.export.test_layers import FINDERS

each_graph = pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
SSD = """
name: "ssd" input: "data" input_shape { dim: 2 dim: 3 dim: 32 dim: 32 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 stride: 4 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "Normalize" bottom: "conv" top: "norm" norm_param { channel_shared: false } }
layer { name: "loc" type: "Convolution" bottom: "norm" top: "loc"
  convolution_param { num_output: 16 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loc_perm" type: "Permute" bottom: "loc" top: "loc_perm"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "loc_flat" type: "Flatten" bottom: "loc_perm" top: "loc_flat" }
layer { name: "conf" type: "Convolution" bottom: "norm" top: "conf"
  convolution_param { num_output: 12 kernel_size: 1 weight_filler { type: "gaussian" std: 9 } } }
layer { name: "conf_perm" type: "Permute" bottom: "conf" top: "conf_perm"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "conf_shape" type: "Reshape" bottom: "conf_perm" top: "conf_shape"
  reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "conf_prob" type: "Softmax" bottom: "conf_shape" top: "conf_prob" softmax_param { axis: 2 } }
layer { name: "conf_flat" type: "Flatten" bottom: "conf_prob" top: "conf_flat" }
layer { name: "prior" type: "PriorBox" bottom: "norm" bottom: "data" top: "prior"
  prior_box_param { min_size: 9 max_size: 14 aspect_ratio: 2 variance: 0.1 } }
layer { name: "found" type: "DetectionOutput" bottom: "loc_flat" bottom: "conf_flat" bottom: "prior" top: "found" %s }
"""


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".py"])
@pytest.mark.parametrize(
    "settings",
    [
        detection_settings("", "nms_threshold: 0.4 top_k: 30"),
        detection_settings("", "nms_threshold: 0.4").replace("keep_top_k: 4", ""),
        detection_settings("background_label_id: -1 normalized_bbox: false"),
        detection_settings().replace("confidence_threshold: 0.1", "confidence_threshold: 2"),  # finds nothing
    ],
)
def test_an_ssd_with_any_batch(settings, suffix):
    model, target = of_net(build(SSD % settings)), TARGETS[suffix]
    assert model.dynamic
    files = target.make(model).files
    (row,) = compare(model, lambda inputs: target.run(files, inputs), target.tolerance)
    assert row.shape[3] == 7
    assert suffix != ".onnx" or b"NonMaxSuppression" in files[".onnx"]


def test_too_many_pairs_of_boxes_are_told(monkeypatch):
    monkeypatch.setattr(suppression, "_MOST_PAIRS", 2699)
    settings = detection_settings("", "nms_threshold: 0.4 top_k: 30")
    with pytest.raises(ExportError, match=r"layer 'found' .*: 3 classes of 30 boxes have too many pairs .*; set top_k"):
        TARGETS[".pt2"].make(of_net(build(SSD % settings)))


@each_graph
@pytest.mark.parametrize("example", [example for example in EXAMPLES if example.type in FINDERS], ids=str)
def test_every_finder(example: Example, suffix: str):
    target = TARGETS[suffix]
    example = example._replace(phase=schema.TEST)
    model = of_net(example.net(), [f"t{index}" for index in range(example.tops)]).fixed()
    if "eta" in example.settings:
        with pytest.raises(ExportError, match=r"eta is 0.7; graphs suppress only with 1"):
            target.make(model)
        return
    inputs = {f"b{index}": bottom for index, bottom in enumerate(example.bottoms())}
    expected = model.reference(inputs)
    for name, found in zip(model.outputs, target.run(target.make(model).files, inputs), strict=True):
        assert len(found.reshape(-1, found.shape[-1])) > 2
        torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".py"])
@pytest.mark.parametrize("name", ["res10_face_ssd", "wechat_detect", "wechat_sr"])
def test_published_detectors(shared, name, suffix):
    folder = shared / "models/detectors"
    if not folder.is_dir():
        pytest.skip(f"no detectors at {folder}")
    model = of_files(folder / f"{name}.prototxt", folder / f"{name}.caffemodel").fixed()
    target = TARGETS[suffix]
    files = target.make(model).files
    compare(model, lambda inputs: target.run(files, inputs), target.tolerance)
