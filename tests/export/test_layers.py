"""Every layer type of the contract suite in every target: the same, or on the list of those that a target has not."""

from __future__ import annotations

import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.weights import save_weights
from demitasse.errors import ExportError
from demitasse.export import TARGETS, of_files, of_net
from demitasse.export.check import OutputComparison, compare
from tests.contract.examples import EXAMPLES, Example
from tests.export.nets import build, together

# graphs: type -> part of the reason
FINDERS = ("DetectionOutput", "FrcnnProposal", "Proposal", "YoloDetectionOutput", "Yolov3DetectionOutput")
NO_GRAPH = {"Python": "it runs Python code"} | dict.fromkeys(
    ("BoxAnnotatorOHEM", "DetectionEvaluate", "EvalDetection", "Filter", "MultiBoxLoss", "MultiStageMeanfield"),
    "depends on the values",
)
# ONNX has an operator for it
NO_PROGRAM = NO_GRAPH | {"ROIPooling": "depends on the values"}
# PyTorch source: type, and what the settings or the shapes have -> part of the reason
LOSSES = (
    "ContrastiveLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss", "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss", "SmoothL1Loss", "SmoothL1LossOHEM", "SoftmaxWithLoss", "SoftmaxWithLossOHEM",
)  # fmt: skip
UNTRANSLATED = (
    *LOSSES, "Accuracy", "BoxAnnotatorOHEM", "ContinuationIndicator", "DeformableConvolution", "DetectionEvaluate",
    "EvalDetection", "ImResize", "Im2col", "LSTMUnit", "Lstm", "MultiBoxLoss", "MultiStageMeanfield", "Nms",
    "PSROIPooling", "Pooling3D", "Python", "Reorg", "SegAccuracy", "Unpooling", "YoloDetectionOutput",
    "Yolov3DetectionOutput",
)  # fmt: skip
NO_SOURCE = dict.fromkeys(UNTRANSLATED, "translation to PyTorch")

# these make no blobs
EACH = [
    example._replace(phase=schema.TEST)
    for example in EXAMPLES
    if example.type not in ("HDF5Output", "MatWrite", "Silence")
]


def sourceless(example: Example) -> str | None:
    if example.type in ("Convolution", "Deconvolution") and len(example.shapes[0]) > 5:
        return "4 spatial axes"
    if example.type == "BN" and ("LEARN" in example.settings or "decay" in example.settings):
        return "translation to PyTorch"  # in use, too, it normalizes by the batch
    if "STOCHASTIC" in example.settings:
        return "expected MAX or AVE"
    if "objectness_score" in example.settings:
        return "PyTorch source: it has the bottoms of RefineDet's first step"
    return NO_SOURCE.get(example.type)


def compared(examples: list[Example], suffix: str) -> list[OutputComparison]:
    net = together(examples)
    tops = [top for spec in net.spec.layer if spec.name.startswith("e") for top in spec.top]
    model = of_net(net, tops).fixed()
    target = TARGETS[suffix]
    files = target.make(model).files
    rows = compare(model, lambda inputs: target.run(files, inputs), target.tolerance)
    assert [row.name for row in rows] == tops
    return rows


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_graphs(suffix):
    # the exporter of torch 2.8 gives an input that goes straight to an output another name
    straight = ("Dropout", "Split") if torch.__version__.startswith("2.8.") and suffix == ".onnx" else ()
    # random numbers are no default boxes; see test_detectors
    without = NO_GRAPH if suffix == ".onnx" else NO_PROGRAM
    examples = [example for example in EACH if example.type not in (*without, *straight, *FINDERS)]
    rows = compared(examples, suffix)
    # normal inputs are no probabilities
    without_numbers = [f"e{number}t0" for number, example in enumerate(examples) if example.positive]
    assert [row.name for row in rows if row.largest == 0] == without_numbers


@pytest.mark.parametrize(
    ("example", "suffix"),
    [
        (example, suffix)
        for suffix, without in ((".onnx", NO_GRAPH), (".pt2", NO_PROGRAM))
        for example in EACH
        if example.type in without
    ],
    ids=str,
)
def test_what_no_graph_has(example, suffix):
    with pytest.raises(ExportError, match=f"layer 'e0' of type {example.type} .*{NO_PROGRAM[example.type]}"):
        compared([example], suffix)


@pytest.mark.parametrize("example", [example for example in EACH if not sourceless(example)], ids=str)
def test_source(example):
    compared([example], ".py")


@pytest.mark.parametrize("example", [example for example in EACH if sourceless(example)], ids=str)
def test_what_no_source_has(example):
    with pytest.raises(ExportError, match=f"layer 'e0' of type {example.type} has no .*{sourceless(example)}"):
        compared([example], ".py")


GATE = """
name: "gate" input: "x" input_shape { dim: 2 dim: 3 dim: 8 dim: 7 }
layer { name: "pool" type: "Pooling" bottom: "x" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "flat" type: "Flatten" bottom: "pool" top: "flat" }
layer { name: "scale" type: "Scale" bottom: "x" bottom: "flat" top: "scale" scale_param { axis: 0 } }
layer { name: "bias" type: "Bias" bottom: "scale" bottom: "flat" top: "bias" bias_param { axis: 0 } }
"""
PLACES = """
name: "places" input: "x" input_shape { dim: 2 dim: 3 dim: 8 dim: 7 }
layer { name: "pool" type: "Pooling" bottom: "x" top: "pool" top: "places" pooling_param { %s } }
"""
TWINS = """
name: "twins" input: "x" input_shape { dim: 2 dim: 3 }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 4 } }
layer { name: "ip" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 4 } }
layer { type: "InnerProduct" bottom: "b" top: "c" inner_product_param { num_output: 2 } }
layer { type: "Sigmoid" bottom: "c" top: "d" }
layer { name: "ip" type: "EuclideanLoss" bottom: "d" bottom: "d" top: "loss" }
"""


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".py"])
@pytest.mark.parametrize(
    "text",
    [
        GATE,
        PLACES % "kernel_size: 2 stride: 2",
        PLACES % "kernel_size: 3 stride: 2 pad: 2",
        PLACES % "global_pooling: true",
        TWINS,
    ],
)
def test_gates_places_and_equal_names_with_any_batch(suffix, text):
    net = build(text)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    model, target = of_net(net), TARGETS[suffix]
    assert model.dynamic
    files = target.make(model).files
    rows = compare(model, lambda inputs: target.run(files, inputs), target.tolerance)
    assert rows
    assert all(row.largest for row in rows)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".py"])
def test_the_weights_of_equal_names_are_told_apart_in_files(tmp_path, suffix):
    """The layers of a name that the outputs do not need keep their places."""
    net = build(TWINS)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    (tmp_path / "net.prototxt").write_text(TWINS)
    save_weights(net, tmp_path / "net.caffemodel")
    model = of_files(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    with torch.no_grad():
        x = torch.randn(2, 3)
        torch.testing.assert_close(model.reference({"x": x})["d"], net({"x": x}, keep=["d"])["d"])
    assert TARGETS[suffix].make(model).files
