"""One suite over every kind of step that C has a form for: what it computes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demitasse.errors import ExportError
from demitasse.export.c_source import source_net
from demitasse.export.c_source.evaluation import FloatArithmetic, evaluate
from demitasse.export.c_source.lowering import LOWERINGS, lowered
from tests.export.nets import build


class Function(nn.Module):
    """A function of a tensor, with a parameter that it may take."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.linspace(-0.5, 0.7, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight)


PRELU = """input: "x" input_shape { dim: 2 dim: 4 dim: 6 dim: 5 }
layer { name: "slopes" type: "PReLU" bottom: "x" top: "y" prelu_param { filler { type: "uniform" min: -1 } } }"""
ARGMAX = """input: "x" input_shape { dim: 2 dim: 4 dim: 6 dim: 5 }
layer { name: "best" type: "ArgMax" bottom: "x" top: "y" }"""
RESHAPE = """input: "x" input_shape { dim: 2 dim: 4 dim: 6 dim: 5 }
layer { name: "shape" type: "Reshape" bottom: "x" top: "y" reshape_param { shape { dim: 0 dim: -1 } } }"""

# kind -> what is a step of it, of (n, 4, 6, 5); a net of Caffe, or a function
EXAMPLES = {
    "Convolution": lambda x, w: F.conv2d(x, w.reshape(2, 2, 1, 1), stride=2, padding=1, groups=2),
    "InnerProduct": lambda x, w: F.linear(x.flatten(1), w.repeat(3, 30)),
    "Pooling": lambda x, w: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "GlobalMean": lambda x, w: x.mean((2, 3)),
    "ReLU": lambda x, w: F.leaky_relu(x, 0.2),
    "PReLU": PRELU,
    "Clip": lambda x, w: F.hardtanh(x, -0.3, 0.4),
    "Eltwise": lambda x, w: F.relu(x) + x,
    "Concat": lambda x, w: torch.cat([F.relu(x), x, F.hardtanh(x)], 1),
    "Flatten": lambda x, w: x.flatten(1),
    "Reshape": RESHAPE,
    "Softmax": lambda x, w: x.mean((2, 3)).softmax(1),
    "slice": lambda x, w: x[:, :, ::2, ::3],
    "pad": lambda x, w: F.pad(x, (0, 0, 0, 0, 1, 2)),
    "sub": lambda x, w: F.relu(x) - x,
    "prelu": lambda x, w: F.prelu(x, w),
    "ArgMax": ARGMAX,
    "argmax": lambda x, w: x.mean((2, 3)).argmax(1),
}
# kind -> a step of it without a form
REFUSED = {
    "Eltwise": lambda x, w: torch.add(F.relu(x), x, alpha=2),
    "Concat": lambda x, w: torch.cat([F.relu(x), x], 2),
    "Softmax": lambda x, w: F.relu(x.softmax(1)),
    "InnerProduct": lambda x, w: F.linear(x, w.repeat(2, 2)[:, :5]),
    "slice": lambda x, w: x[:, :, 1:4],
    "pad": lambda x, w: F.pad(x, (1, 1)),
    "sub": lambda x, w: x - x.mean((2, 3), keepdim=True),
}


def test_every_kind_is_here():
    assert set(EXAMPLES) == set(LOWERINGS), "give the new kind an example"


@pytest.mark.parametrize("kind", EXAMPLES)
def test_it_computes_what_the_net_does(kind):
    torch.manual_seed(0)
    example = EXAMPLES[kind]
    x = torch.randn(3, 4, 6, 5)
    is_text = isinstance(example, str)
    source = source_net(build(example)) if is_text else source_net(Function(example).eval(), x[:2])
    assert kind in {step.kind for step in source.graph.steps}
    net = lowered(source.graph)
    (blob,), (output,) = source.graph.inputs, source.graph.outputs
    found = evaluate(net, FloatArithmetic(), {blob: x.double().numpy()})[output]
    expected = source.reference({blob: x})[output].detach().double().numpy()
    if output in net.softmax:
        found = np.log(np.exp(found) / np.exp(found).sum(1, keepdims=True))
        expected = np.log(expected)
    assert np.abs(found.reshape(3, -1) - expected.reshape(3, -1)).max() < 1e-5


@pytest.mark.parametrize("kind", REFUSED)
def test_what_it_refuses_is_named(kind):
    x = torch.randn(2, 4, 6, 5)
    source = source_net(Function(REFUSED[kind]).eval(), x)
    assert kind in {step.kind for step in source.graph.steps}
    with pytest.raises(ExportError, match=rf"of type {kind} has no form in C: "):
        lowered(source.graph)
