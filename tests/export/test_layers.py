"""Every layer type of the contract suite in every target: the same, or on the list of those that a target has not."""

from __future__ import annotations

import pytest

from demitasse.caffe import schema
from demitasse.errors import ExportError
from demitasse.export import TARGETS, of_net
from demitasse.export.check import Row, compare
from tests.contract.examples import EXAMPLES, Example
from tests.export.nets import together

# graphs: type -> part of the reason
NO_GRAPH = {"Filter": "depends on the values", "Python": "it runs Python code"}
# PyTorch source: type, and what the settings or the shapes have -> part of the reason
LOSSES = (
    "ContrastiveLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss", "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss", "SoftmaxWithLoss",
)  # fmt: skip
NO_SOURCE = {**dict.fromkeys((*LOSSES, "Accuracy", "Im2col", "LSTMUnit", "Python"), "translation to PyTorch")}

# these make no blobs
EACH = [example._replace(phase=schema.TEST) for example in EXAMPLES if example.type not in ("HDF5Output", "Silence")]


def sourceless(example: Example) -> str | None:
    if example.type in ("Convolution", "Deconvolution") and len(example.shapes[0]) > 5:
        return "4 spatial axes"
    if "STOCHASTIC" in example.settings or (example.type == "Pooling" and example.tops == 2):
        return "MAX or AVE with one top"
    return NO_SOURCE.get(example.type)


def compared(examples: list[Example], suffix: str) -> list[Row]:
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
    examples = [example for example in EACH if example.type not in NO_GRAPH]
    rows = compared(examples, suffix)
    # normal inputs are no probabilities
    without_numbers = [f"e{number}t0" for number, example in enumerate(examples) if example.positive]
    assert [row.name for row in rows if row.largest == 0] == without_numbers


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize("example", [example for example in EACH if example.type in NO_GRAPH], ids=str)
def test_what_no_graph_has(example, suffix):
    with pytest.raises(ExportError, match=f"layer 'e0' of type {example.type} .*{NO_GRAPH[example.type]}"):
        compared([example], suffix)


@pytest.mark.parametrize("example", [example for example in EACH if not sourceless(example)], ids=str)
def test_source(example):
    compared([example], ".py")


@pytest.mark.parametrize("example", [example for example in EACH if sourceless(example)], ids=str)
def test_what_no_source_has(example):
    with pytest.raises(ExportError, match=f"layer 'e0' of type {example.type} has no .*{sourceless(example)}"):
        compared([example], ".py")
