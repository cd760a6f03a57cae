"""One suite over every registered layer type: gradients in float64, shapes, and the memory format of the bottoms.

A new layer type fails here until it has an example below.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.layers import LAYERS, Layer
from demitasse.caffe.net import Net
from tests.golden.single import single_net

IMAGE = (2, 4, 4, 3)


class Example(NamedTuple):
    """A layer as a net would hold it, and the shapes of its bottoms."""

    type: str
    settings: str = ""
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)
    labels: int | None = None
    tops: int = 1
    phase: int = schema.TRAIN

    def __str__(self) -> str:
        return f"{self.type} {self.settings}"[:60]

    def net(self) -> Net:
        torch.manual_seed(0)
        net = single_net(self.type, self.settings, *self.shapes, tops=self.tops, phase=self.phase)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter)
        return net

    def bottoms(self) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        found = [torch.randn(shape, generator=generator) for shape in self.shapes]
        if self.labels:
            found[1] = torch.randint(self.labels, self.shapes[1], generator=generator).float()
        return found


FILTERS = 'num_output: 4 weight_filler { type: "gaussian" }'
ROWS = (3, 5)
MATRIX = ((4, 3), (4, 3))

DIFFERENTIABLE = [
    Example("BatchNorm"),
    Example("BatchNorm", phase=schema.TEST),
    Example("Bias", "bias_param { axis: 1 num_axes: 2 }"),
    Example("Bias", "", (IMAGE, (4,))),
    Example("Concat", "", (IMAGE, (2, 1, 4, 3))),
    Example("Convolution", f"convolution_param {{ {FILTERS} kernel_size: 3 }}"),
    Example("Convolution", f"convolution_param {{ {FILTERS} kernel_h: 3 kernel_w: 2 group: 2 pad_h: 1 dilation: 2 }}"),
    Example("Convolution", f"convolution_param {{ {FILTERS} kernel_size: 2 stride: 2 }}", ((1, 2, 3, 4, 3, 4),)),
    Example(
        "Convolution", f"convolution_param {{ {FILTERS} kernel_size: 1 bias_term: false }}", (IMAGE, IMAGE), tops=2
    ),
    Example("Dropout", "dropout_param { dropout_ratio: 0.3 }"),
    Example("Eltwise", "eltwise_param { operation: SUM coeff: 2 coeff: -0.5 }", (ROWS, ROWS)),
    Example("Eltwise", "eltwise_param { operation: PROD }", (ROWS, ROWS, ROWS)),
    Example("Eltwise", "eltwise_param { operation: MAX }", (ROWS, ROWS, ROWS)),
    Example("EuclideanLoss", "", (ROWS, ROWS)),
    Example("Flatten", "flatten_param { axis: 1 end_axis: 2 }"),
    Example("InnerProduct", f"inner_product_param {{ {FILTERS} }}"),
    Example("InnerProduct", f"inner_product_param {{ {FILTERS} axis: 2 transpose: true bias_term: false }}"),
    Example("LRN", "lrn_param { local_size: 3 alpha: 0.5 k: 2 }"),
    Example("LRN", "lrn_param { local_size: 5 alpha: 0.5 beta: 0.6 }"),
    Example("LRN", "lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }"),
    Example("PReLU"),
    Example("PReLU", "prelu_param { channel_shared: true }"),
    Example("Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }"),
    Example("Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 2 }"),
    Example("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"),
    Example("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 2 }"),
    Example("Pooling", "pooling_param { pool: AVE global_pooling: true }"),
    Example("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }"),
    Example("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }", phase=schema.TEST),
    Example("Power", "power_param { power: 3 scale: 2 shift: 0.5 }"),
    Example("ReLU"),
    Example("ReLU", "relu_param { negative_slope: 0.1 }"),
    Example("Reduction", "reduction_param { operation: ASUM axis: 1 coeff: 2 }"),
    Example("Reduction", "reduction_param { operation: SUMSQ }"),
    Example("Reduction", "reduction_param { operation: MEAN axis: -1 }"),
    Example("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }"),
    Example("Scale", "scale_param { bias_term: true }"),
    Example("Scale", "scale_param { axis: 0 }", (IMAGE, (2, 4))),
    Example("Sigmoid"),
    Example("SigmoidCrossEntropyLoss", "loss_param { ignore_label: 0 normalization: VALID }", MATRIX, labels=2),
    Example("Slice", "slice_param { slice_point: 1 slice_point: 3 }", tops=3),
    Example("Softmax"),
    Example("SoftmaxWithLoss", "loss_param { ignore_label: 1 }", ((4, 3), (4,)), labels=3),
    Example("SoftmaxWithLoss", "softmax_param { axis: 2 }", ((2, 3, 4), (2, 3)), labels=4),
    Example("Split", tops=2),
    Example("TanH"),
    # under surgery the gradient is that of the effective values: with the masks at 1 they are the weights
    *(
        Example(f"{kind}Convolution", f"convolution_param {{ {FILTERS} kernel_size: 3 }} {extra}", phase=schema.TEST)
        for kind, extra in (("DNS", ""), ("C", ""), ("INQ", "inq_convolution_param { portion: 0 portion: 0.5 }"))
    ),
    *(
        Example(f"{kind}InnerProduct", f"inner_product_param {{ {FILTERS} }} {extra}", phase=schema.TEST)
        for kind, extra in (("DNS", ""), ("C", ""), ("INQ", "inq_inner_product_param { portion: 0 portion: 0.5 }"))
    ),
]
OTHERS = [
    Example("Accuracy", "accuracy_param { top_k: 2 }", ((4, 3), (4,)), labels=3, tops=2),
    Example("ArgMax", "argmax_param { top_k: 2 out_max_val: true }"),
    Example("HDF5Output", 'hdf5_output_param { file_name: "batch.h5" }', (IMAGE, (2,)), tops=0),
    Example("Silence", "", (IMAGE, ROWS), tops=0),
]
EXAMPLES = [*DIFFERENTIABLE, *OTHERS]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(layer: Layer, bottoms: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    result = layer(*bottoms)
    return (result,) if isinstance(result, torch.Tensor) else result


def test_every_layer_type_has_an_example():
    assert {example.type for example in EXAMPLES} == set(LAYERS)


@pytest.mark.parametrize("example", DIFFERENTIABLE, ids=str)
def test_gradient_in_float64(example):
    net = example.net().double()
    layer = net.layer("l")
    bottoms = [bottom.double() for bottom in example.bottoms()]
    for index, bottom in enumerate(bottoms):
        bottom.requires_grad_(not (example.labels and index == 1))
    parameters = dict(layer.named_parameters())

    def forward(*tensors):
        given, values = tensors[: len(bottoms)], tensors[len(bottoms) :]
        torch.manual_seed(0)
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), given)

    assert torch.autograd.gradcheck(forward, (*bottoms, *parameters.values()))


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_shapes_told_beforehand_are_those_of_the_run(example):
    net = example.net()
    tops = run(net.layer("l"), example.bottoms())
    assert [tuple(top.shape) for top in tops] == [net.shapes[f"t{i}"] for i in range(example.tops)]


# Dropout draws in the order of memory
@pytest.mark.parametrize("example", [each for each in EXAMPLES if each.type != "Dropout"], ids=str)
def test_channels_last_gives_the_same(example):
    bottoms = example.bottoms()
    expected = run(example.net().layer("l"), bottoms)
    found = run(
        example.net().channels_last().layer("l"),
        [b.contiguous(memory_format=torch.channels_last) if b.ndim == 4 else b for b in bottoms],
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("example", OTHERS, ids=str)
def test_no_gradient_goes_through_a_ranking(example):
    bottoms = [bottom.requires_grad_() for bottom in example.bottoms()]
    assert not any(top.requires_grad for top in run(example.net().layer("l"), bottoms))
