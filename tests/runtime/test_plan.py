"""The plan of a net computes what the net computes, in fewer steps."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from demitasse import examples
from demitasse.caffe import schema
from demitasse.caffe.layers.normalization import BatchNorm
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.errors import NetError, UsageError
from demitasse.runtime import Plan, optimize
from demitasse.runtime.kernels import onednn
from tests.contract.examples import EXAMPLES, Example

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 9 dim: 9 } } }\n'
FILLER = 'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" }'


def layer(kind: str, name: str, bottoms: str, tops: str, settings: str = "") -> str:
    ends = [f'bottom: "{blob}"' for blob in bottoms.split()] + [f'top: "{blob}"' for blob in tops.split()]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(ends)} {settings} }}\n'


def conv(name: str, bottoms: str, tops: str = "", settings: str = "", kind: str = "Convolution") -> str:
    field = {"Convolution": "convolution_param", "InnerProduct": "inner_product_param"}[kind.removeprefix("DNS")]
    if kind.endswith("Convolution"):
        settings += " kernel_size: 3 pad: 1"
    return layer(kind, name, bottoms, tops or name, f"{field} {{ num_output: 4 {settings} {FILLER} }}")


def make(text: str, phase: int = schema.TEST) -> Net:
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"), phase)
    return randomize(net)


def randomize(net: Net) -> Net:
    """Gives norms statistics, and scales and biases values, that matter but keep numbers at their size."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for found in net.named_layers().values():
            if isinstance(found, BatchNorm):
                found.mean.normal_(0, 0.1, generator=generator)
                found.variance.uniform_(1, 3, generator=generator)
                found.factor.fill_(2)
            elif found.spec.type in ("Scale", "Bias"):
                for blob in found.blobs():
                    blob.uniform_(0.2, 0.7, generator=generator)
    return net


def inputs(net: Net) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {name: torch.randn(shape, generator=generator) for name, shape in net.inputs.items()}


def agree(net: Net, plan: Plan, batch: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    with torch.no_grad():
        expected = net(batch, plan.graph.outputs)
    found = plan(batch)
    assert set(found) == set(plan.graph.outputs) <= set(expected)
    for name, tensor in found.items():
        size = float(expected[name].abs().max()) + 1e-30
        assert float((tensor - expected[name]).abs().max()) <= tolerance * size, name
        assert not tensor.requires_grad


def kinds(plan: Plan) -> list[str]:
    return [step.kind for step in plan.graph.steps]


NORM = layer("BatchNorm", "bn", "a", "a") + layer("Scale", "scale", "a", "a", "scale_param { bias_term: true }")
RELU = layer("ReLU", "relu", "a", "a")
# name -> net, and the types of the steps that are left
NETS = {
    "norm": (conv("a", "data") + NORM + RELU, "Convolution"),
    "norm without bias": (conv("a", "data", settings="bias_term: false group: 2") + NORM, "Convolution"),
    "norm after inner product": (
        conv("a", "data", kind="InnerProduct", settings="transpose: true") + NORM + RELU,
        "InnerProduct",
    ),
    "bias": (conv("a", "data") + layer("Bias", "bias", "a", "a"), "Convolution"),
    "norm by the batch": (
        conv("a", "data") + layer("BatchNorm", "bn", "a", "a", "batch_norm_param { use_global_stats: false }"),
        "Convolution BatchNorm",
    ),
    "norm of another channel": (
        conv("a", "data", settings="axis: 2") + NORM,
        "Convolution BatchNorm",
    ),
    "norm in one direction": (
        conv("a", "data") + layer("BatchNorm", "bn", "a", "b") + layer("TanH", "tanh", "a", "c"),
        "Convolution BatchNorm TanH",
    ),
    "scale by a plane": (
        conv("a", "data") + layer("Scale", "scale", "a", "a", "scale_param { axis: 2 }"),
        "Convolution Scale",
    ),
    "scale by a bottom": (
        conv("a", "data") + layer("Scale", "scale", "a data", "b", "scale_param { axis: 0 }"),
        "Convolution Scale",
    ),
    "leaky": (conv("a", "data") + layer("ReLU", "relu", "a", "a", "relu_param { negative_slope: 0.1 }"), "Convolution"),
    "clip": (conv("a", "data") + layer("Clip", "clip", "a", "a", "clip_param { min: -0.5 max: 2 }"), "Convolution"),
    "dropout": (
        conv("a", "data") + layer("Dropout", "drop", "a", "b") + layer("ReLU", "relu", "b", "c"),
        "Convolution",
    ),
    "residual": (
        conv("b", "data") + conv("a", "b") + NORM + layer("Eltwise", "sum", "b a", "c") + layer("ReLU", "r", "c", "c"),
        "Convolution Convolution",
    ),
    "two of them": (
        conv("a", "data") + NORM + conv("b", "data") + layer("Eltwise", "sum", "a b", "c"),
        "Convolution Convolution",
    ),
    "to its own bottom": (conv("a", "data") + layer("Eltwise", "sum", "data a", "b"), "Convolution"),
    "twice the same": (conv("a", "data") + layer("Eltwise", "sum", "a a", "b"), "Convolution Eltwise"),
    "activated before the sum": (
        conv("a", "data") + RELU + conv("b", "data") + layer("Eltwise", "sum", "a b", "c"),
        "Convolution Convolution",
    ),
    "weighted sum": (
        conv("a", "data") + layer("Eltwise", "sum", "data a", "b", "eltwise_param { coeff: 1 coeff: -1 }"),
        "Convolution Eltwise",
    ),
    "maximum": (
        conv("a", "data") + layer("Eltwise", "max", "data a", "b", "eltwise_param { operation: MAX }"),
        "Convolution Eltwise",
    ),
    "in place of a part": (
        conv("a", "data")
        + layer("Slice", "slice", "a", "b c", "slice_param { axis: 1 }")
        + layer("ReLU", "relu", "b", "b")
        + layer("Concat", "concat", "b c", "d"),
        "Convolution Slice ReLU Concat",
    ),
    "in place of another shape": (
        conv("a", "data")
        + layer("Flatten", "flat", "a", "b")
        + layer("ReLU", "relu", "b", "c")
        + layer("Power", "power", "a", "d"),
        "Convolution Flatten ReLU Power",
    ),
    "in place of the input": (layer("ReLU", "relu", "data", "a"), "ReLU"),
    "in place of a sum": (
        layer("Eltwise", "sum", "data data", "a")
        + RELU
        + layer("Pooling", "pool", "a", "b", "pooling_param { kernel_size: 2 }"),
        "Eltwise ReLU Pooling",
    ),
    "several bottoms": (
        conv("a", "data") + conv("b", "data a", "b c") + layer("ReLU", "relu", "b", "b"),
        "Convolution Convolution ReLU",
    ),
    "norm of rows": (
        layer("LRN", "lrn", "data", "lrn")
        + layer("Reshape", "reshape", "lrn", "rows", "reshape_param { shape { dim: 0 dim: 9 dim: 4 dim: 9 } }")
        + layer("LRN", "lrn2", "rows", "a"),
        "LRN Reshape LRN",
    ),
    "masked": (conv("a", "data", kind="DNSInnerProduct") + RELU, "InnerProduct"),
}


@pytest.mark.parametrize("available", [True, False], ids=["fused", "plain"])
@pytest.mark.parametrize("name", NETS)
def test_small_net(name: str, available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "available", lambda: available)
    text, left = NETS[name]
    net = make(INPUT + text)
    plan = optimize(net)
    assert kinds(plan) == left.split()
    batch = inputs(net)
    kept = {name: tensor.clone() for name, tensor in batch.items()}
    for _ in range(2):
        agree(net, plan, batch)
    if name != "scale by a bottom":  # its layer is for one batch size
        agree(net, plan, {name: tensor[:1] for name, tensor in batch.items()})
    assert all(torch.equal(batch[name], tensor) for name, tensor in kept.items())


@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize("example", [example for example in EXAMPLES if not example.random], ids=str)
def test_every_layer(example: Example) -> None:
    net, planned = (example._replace(phase=schema.TEST).net() for _ in range(2))
    batch = {f"b{index}": bottom for index, bottom in enumerate(example.bottoms())}
    found = optimize(planned)(batch)
    with torch.no_grad():
        expected = net(batch)
    assert set(found) == set(expected)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["squeezenet", "mobilenet_v1", "mobilenet_v2"])
def test_published_net(name: str) -> None:
    spec = prototxt.read_net(Path(examples.__file__).parent / name / "deploy.prototxt")
    spec.layer[0].input_param.shape[0].dim[2:] = [67, 67]
    torch.manual_seed(0)
    net = randomize(Net(spec))
    last = spec.layer[-2].top[0]
    plan = optimize(net, keep=[last])
    assert not {"BatchNorm", "Scale", "ReLU", "Clip", "Dropout", "Split", "Eltwise"} & set(kinds(plan))
    agree(net, plan, inputs(net), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "caffenet", "googlenet", "vgg16", "resnet50", "fcn8s"])
def test_large_net(name: str) -> None:
    spec = prototxt.read_net(Path(examples.__file__).parent / name / "deploy.prototxt")
    spec.layer[0].input_param.shape[0].dim[0] = 1
    torch.manual_seed(0)
    net = randomize(Net(spec))
    agree(net, optimize(net, keep=[spec.layer[-2].top[0]]), inputs(net), 1e-4)


def test_this_torch_has_the_fused_operations() -> None:
    assert onednn.available()
    plan = optimize(make(INPUT + conv("a", "data") + conv("b", "data", kind="InnerProduct")))
    assert isinstance(plan.dense.kernels[0], onednn.FusedConvolutionKernel)
    assert isinstance(plan.dense.kernels[1], onednn.FusedInnerProductKernel)


def test_pointwise_convolutions_leave_the_order_of_the_axes() -> None:
    settings = "convolution_param { num_output: 3 kernel_size: 1 stride: 2 pad: 1 }"
    net = make(INPUT + layer("Convolution", "a", "data", "a", settings) + layer("ReLU", "relu", "a", "a"))
    (kernel,) = optimize(net).dense.kernels
    (bottom,) = inputs(net).values()
    last = bottom.contiguous(memory_format=torch.channels_last)
    found, turned = kernel(bottom), kernel(last)
    assert isinstance(found, torch.Tensor)
    assert isinstance(turned, torch.Tensor)
    assert found.is_contiguous()
    assert turned.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(found, turned, atol=1e-6)
    assert torch.allclose(found, net(inputs(net))["a"], atol=1e-6)


def test_lrn_is_the_layers_to_the_bit() -> None:
    settings = "lrn_param { local_size: 3 alpha: 0.5 }"
    wide = INPUT.replace("dim: 2 dim: 4 dim: 9 dim: 9", "dim: 3 dim: 64 dim: 45 dim: 41")
    net = make(wide + layer("LRN", "lrn", "data", "a", settings))
    batch = inputs(net)
    assert torch.equal(optimize(net).dense(batch)["a"], net.channels_last()(batch)["a"])


def test_kept_blobs_are_whole() -> None:
    net = make(INPUT + conv("a", "data") + layer("ReLU", "relu", "a", "b") + layer("ReLU", "relu2", "b", "c"))
    assert kinds(optimize(net)) == ["Convolution", "ReLU"]
    plan = optimize(net, keep=["a", "b"])
    assert kinds(plan) == ["Convolution", "ReLU", "ReLU"]
    agree(net, plan, inputs(net))


def test_results_of_a_run_outlive_the_next() -> None:
    net = make(INPUT + conv("a", "data") + conv("b", "a") + layer("Eltwise", "sum", "a b", "c"))
    plan, batch = optimize(net, keep=["a"]), inputs(net)
    found = plan(batch)
    first = {name: tensor.clone() for name, tensor in found.items()}
    plan({"data": -batch["data"]})
    assert all(torch.equal(found[name], tensor) for name, tensor in first.items())


def test_weights_are_those_at_the_time_and_the_nets_stay() -> None:
    net = make(INPUT + conv("a", "data") + NORM)
    before = [blob.clone() for found in net.named_layers().values() for blob in found.blobs()]
    plan, batch = optimize(net), inputs(net)
    agree(net, plan, batch)
    after = [blob for found in net.named_layers().values() for blob in found.blobs()]
    assert all(map(torch.equal, before, after))


def test_layers_in_training() -> None:
    text = conv("a", "data") + NORM.replace('type: "BatchNorm"', 'type: "BatchNorm" phase: TRAIN')
    text += layer("Dropout", "drop", "a", "a", "phase: TRAIN dropout_param { dropout_ratio: 0.3 }")
    net = make(INPUT + text)
    plan, batch = optimize(net), inputs(net)
    assert kinds(plan) == ["Convolution", "BatchNorm in training", "Scale", "Dropout in training"]
    torch.manual_seed(0)
    expected = net(batch)["a"].detach()
    torch.manual_seed(0)
    found = plan(batch)["a"]
    assert 0.2 < float((found == 0).float().mean()) < 0.4
    # the draws follow the order in memory, which is another
    torch.testing.assert_close(found.where(expected != 0, 0), expected.where(found != 0, 0), rtol=1e-4, atol=1e-5)


def test_losses_and_labels() -> None:
    text = INPUT + conv("a", "data", kind="InnerProduct")
    text += layer("Input", "label", "", "label", "input_param { shape { dim: 2 } }")
    text += layer("SoftmaxWithLoss", "loss", "a label", "loss") + layer("Accuracy", "accuracy", "a label", "accuracy")
    net = make(text)
    batch = {**inputs(net), "label": torch.tensor([1.0, 3.0])}
    plan = optimize(net)
    agree(net, plan, batch)
    assert float(net.loss(plan(batch))) == pytest.approx(net.loss(net(batch)).item())


def test_errors() -> None:
    net = make(INPUT + conv("a", "data"))
    with pytest.raises(NetError, match="no blob 'b'"):
        optimize(net, keep=["b"])
    with pytest.raises(UsageError, match="blob 'data' is not fed; found image"):
        optimize(net)({"image": torch.zeros(1)})
    with pytest.raises(UsageError, match="in phase TRAIN"):
        optimize(make(INPUT + conv("a", "data"), schema.TRAIN))


def test_the_short_way_gives_the_same_and_stays_in_its_process() -> None:
    net = make(INPUT + conv("a", "data") + conv("b", "a", kind="InnerProduct"))
    plan, batches = optimize(net), [inputs(net) for _ in range(3)]
    expected = [plan.dense(batch)["b"] for batch in batches]
    for batch, result in zip(batches, expected, strict=True):
        torch.testing.assert_close(plan(batch)["b"], result, rtol=1e-5, atol=1e-6)
    first = plan(batches[0])["b"]
    kept = first.clone()
    plan(batches[1])
    assert torch.equal(first, kept)
    again = pickle.loads(pickle.dumps(plan))
    torch.testing.assert_close(again(batches[2])["b"], expected[2], rtol=1e-5, atol=1e-6)
    wide = {name: torch.cat([tensor, tensor])[: len(tensor)] for name, tensor in batches[0].items()}
    assert torch.equal(plan(wide)["b"], kept)
    turned = {name: tensor.transpose(-1, -2).contiguous().transpose(-1, -2) for name, tensor in batches[0].items()}
    assert torch.equal(plan(turned)["b"], kept)
