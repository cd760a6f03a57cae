"""OpenCV's own reader of Caffe nets as an oracle: it runs the files that we write, and gives what our nets give.

Where the reader differs from Caffe there is no test: it makes of a mean that reaches over the edge another one, and
has no blobs of the names that in-place layers share; so outputs are compared, and what it cannot read is not here.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from google.protobuf import text_format

from demitasse import examples
from demitasse.caffe.net import Net
from demitasse.caffe.weights import load_weights, save_weights
from demitasse.export import of_net
from tests.export.nets import BOTTLENECK, LENET, build

EXAMPLES = Path(examples.__file__).parent
SMALL = ("digits", "lenet300", "lenet5", "squeezenet")
LARGE = ("alexnet", "caffenet", "googlenet", "mobilenet_v1", "resnet50")  # it knows no Clip, so no MobileNet v2


def compare(net: Net, definition: Path, weights: Path, size: int = 2) -> None:
    theirs = cv2.dnn.readNetFromCaffe(str(definition), str(weights))
    (name,) = net.inputs
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(size, *net.inputs[name][1:], generator=generator)
    theirs.setInput(data.numpy(), name)
    (output,) = net.outputs
    with torch.no_grad():
        expected = net({name: data})[output].numpy()
    found = theirs.forward(output)
    assert expected.std() > 0
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def randomize(net: Net) -> Net:
    """Gives statistics and scales values at which a mistake shows."""
    torch.manual_seed(0)
    for layer in net.named_layers().values():
        if layer.spec.type == "BatchNorm":
            layer.mean.normal_(std=0.1)
            layer.variance.uniform_(1, 3)
            layer.factor.fill_(2)
        elif layer.spec.type == "Scale":
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, std=0.1)
    return net


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_examples_with_random_weights(name, tmp_path):
    definition = EXAMPLES / name / "deploy.prototxt"
    net = randomize(Net.from_file(definition))
    save_weights(net, tmp_path / "net.caffemodel")
    compare(net, definition, tmp_path / "net.caffemodel", size=2 if name in SMALL else 1)


@pytest.mark.parametrize("text", [LENET, BOTTLENECK], ids=["lenet", "bottleneck"])
def test_small_nets(text, tmp_path):
    (tmp_path / "net.prototxt").write_text(text)
    net = build(text)
    save_weights(net, tmp_path / "net.caffemodel")
    compare(net, tmp_path / "net.prototxt", tmp_path / "net.caffemodel")


def test_the_published_lenet(shared, tmp_path):
    definition, weights = EXAMPLES / "lenet5/deploy.prototxt", shared / "models/caffe_lenet5_original.caffemodel"
    net = Net.from_file(definition)
    load_weights(net, weights)
    compare(net, definition, weights)
    save_weights(net, tmp_path / "ours.caffemodel")
    compare(net, definition, tmp_path / "ours.caffemodel")


@pytest.mark.parametrize("name", ["inception", "lenet", "resnet"])
def test_nets_recorded_from_caffe(name, shared, tmp_path):
    folder = shared / "golden/nets" / name
    net = Net.from_file(folder / "net.prototxt")
    load_weights(net, folder / "net.caffemodel")
    model = of_net(net)  # labels and losses are not for OpenCV
    (tmp_path / "net.prototxt").write_text(text_format.MessageToString(model.reference.net.spec))
    save_weights(model.reference.net, tmp_path / "net.caffemodel")
    compare(model.reference.net, tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
