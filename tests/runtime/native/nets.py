"""Small nets with every operation that has native kernels, and what they are compared with."""

from __future__ import annotations

from functools import reduce

import torch

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.graph import Graph
from demitasse.graph.caffe import of_whole_net
from demitasse.runtime.native.llvm import Machine
from demitasse.runtime.native.plan import NativePlan
from demitasse.runtime.plan import PASSES


def net(text: str, shape: tuple[int, ...] = (1, 6, 9, 11), density: float = 0.3) -> Net:
    dims = " ".join(f"dim: {size}" for size in shape)
    inputs = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}'
    found = Net(prototxt.parse(inputs + text, schema.NetParameter(), "net"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in found.named_layers().values():
            for name, blob in zip(layer.blob_names, layer.blobs(), strict=True):
                blob.uniform_(0.5, 1.5, generator=generator) if name in ("variance", "factor") else blob.normal_(
                    generator=generator
                )
                if name == "weight" and layer.spec.type in ("Convolution", "InnerProduct"):
                    blob.mul_(torch.rand(blob.shape, generator=generator) < density)
    return found


def graph(built: Net) -> Graph:
    return reduce(lambda made, apply: apply(made), PASSES, of_whole_net(built))


def layer(kind: str, bottoms: str, top: str, options: str = "") -> str:
    ends = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    return f'layer {{ name: "{top}" type: "{kind}" {ends} top: "{top}" {options} }}\n'


def conv(bottom: str, top: str, outputs: int = 5, options: str = "kernel_size: 3 pad: 1") -> str:
    return layer("Convolution", bottom, top, f"convolution_param {{ num_output: {outputs} {options} }}")


def ip(bottom: str, top: str, outputs: int = 7) -> str:
    return layer("InnerProduct", bottom, top, f"inner_product_param {{ num_output: {outputs} }}")


def agree(built: Net, batch: int, threads: int = 1, machine: Machine | None = None, tolerance: float = 1e-5) -> None:
    """Compares a plan with the net itself, computed layer by layer with PyTorch's operations."""
    native = NativePlan(graph(built), batch, threads, machine)
    generator = torch.Generator().manual_seed(2)
    for _ in range(2):
        inputs = {name: torch.randn(batch, *shape[1:], generator=generator) for name, shape in built.inputs.items()}
        with torch.no_grad():
            expected = built(inputs)
        given = native(inputs)
        assert given.keys() == expected.keys()
        for name, tensor in expected.items():
            assert given[name].shape == tensor.shape
            size = float(tensor.abs().max()) + 1e-30
            assert float((given[name] - tensor).abs().max()) <= tolerance * size, name


NETS = {
    "three by three": conv("data", "a"),
    "without bias": conv("data", "a", 5, "kernel_size: 3 bias_term: false"),
    "pointwise": conv("data", "a", 5, "kernel_size: 1") + conv("a", "b", 17, "kernel_size: 1"),
    "stride": conv("data", "a", 5, "kernel_size: 3 stride: 2 pad: 1") + conv("a", "b", 4, "kernel_size: 1 stride: 2"),
    "one side": conv("data", "a", 5, "kernel_h: 5 kernel_w: 2 stride_h: 3 stride_w: 1 pad_h: 2 pad_w: 0"),
    "dilated": conv("data", "a", 5, "kernel_size: 3 dilation: 2 pad: 3"),
    "grouped": conv("data", "a", 9, "kernel_size: 3 group: 3") + conv("a", "b", 9, "kernel_size: 3 pad: 1 group: 9"),
    "more padding than needed": conv("data", "a", 3, "kernel_size: 2 pad: 3"),
    "relu": conv("data", "a") + layer("ReLU", "a", "b"),
    "leaky": conv("data", "a") + layer("ReLU", "a", "b", "relu_param { negative_slope: 0.2 }") + ip("b", "c"),
    "clip": conv("data", "a") + layer("Clip", "a", "b", "clip_param { min: -0.5 max: 2 }"),
    "residual": conv("data", "a", 6) + conv("a", "b", 6) + layer("Eltwise", "a b", "c") + layer("ReLU", "c", "d"),
    "sum of the input": layer("Eltwise", "data data", "a", "eltwise_param { coeff: 1 coeff: -0.5 }") + conv("a", "b"),
    "maximum of three": conv("data", "a", 6)
    + conv("data", "b", 6)
    + layer("Eltwise", "a b data", "c", "eltwise_param { operation: MAX }"),
    "product": conv("data", "a", 6) + layer("Eltwise", "a data", "c", "eltwise_param { operation: PROD }"),
    "max pooling": layer("Pooling", "data", "a", "pooling_param { kernel_size: 3 stride: 2 }") + conv("a", "b"),
    "padded max pooling": layer("Pooling", "data", "a", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"),
    "mean": layer("Pooling", "data", "a", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"),
    "mean over the edge": layer("Pooling", "data", "a", "pooling_param { pool: AVE kernel_size: 4 stride: 3 }"),
    "global mean": conv("data", "a") + layer("Pooling", "a", "b", "pooling_param { pool: AVE global_pooling: true }"),
    "concat": conv("data", "a", 3) + conv("data", "b", 4) + layer("Concat", "a data b", "c") + conv("c", "d"),
    "inner product": ip("data", "a") + layer("ReLU", "a", "b") + ip("b", "c", 3),
    "flattened": layer("Flatten", "data", "a") + ip("a", "b") + layer("Softmax", "b", "c"),
    "softmax of planes": conv("data", "a") + layer("Softmax", "a", "b"),
    "lrn": layer("LRN", "data", "a", "lrn_param { alpha: 0.5 }") + conv("a", "b"),
    "lrn of another power": layer("LRN", "data", "a", "lrn_param { alpha: 0.5 beta: 0.6 local_size: 3 k: 2 }"),
    "norm before": layer("BatchNorm", "data", "a") + layer("ReLU", "a", "b") + conv("b", "c"),
    "dropout": conv("data", "a") + layer("Dropout", "a", "b") + ip("b", "c"),
    "clip of planes": conv("data", "a")
    + layer("Pooling", "a", "b", "pooling_param { kernel_size: 2 }")
    + layer("Clip", "b", "c", "clip_param { min: -0.5 max: 2 }"),
    "scale": layer("Scale", "data", "a", "scale_param { bias_term: true }") + conv("a", "b"),
    "bias": layer("Bias", "data", "a") + conv("a", "b"),
    "reshaped": layer("Reshape", "data", "a", "reshape_param { shape { dim: 0 dim: -1 } }") + ip("a", "b"),
    "nothing": layer("ReLU", "data", "a"),
}

LENET5 = (
    conv("data", "conv1", 20, "kernel_size: 5")
    + layer("Pooling", "conv1", "pool1", "pooling_param { kernel_size: 2 stride: 2 }")
    + conv("pool1", "conv2", 50, "kernel_size: 5")
    + layer("Pooling", "conv2", "pool2", "pooling_param { kernel_size: 2 stride: 2 }")
    + ip("pool2", "ip1", 500)
    + layer("ReLU", "ip1", "relu1")
    + ip("relu1", "ip2", 10)
    + layer("Softmax", "ip2", "prob")
)


def separable(bottom: str, top: str, channels: int, outputs: int, stride: int = 1) -> str:
    """A convolution of each channel, then one of 1x1, as in MobileNet."""
    options = f"kernel_size: 3 pad: 1 stride: {stride} group: {channels} bias_term: false"
    deep = conv(bottom, f"{top}_deep", channels, options) + layer("BatchNorm", f"{top}_deep", f"{top}_norm")
    scaled = layer("Scale", f"{top}_norm", f"{top}_scale", "scale_param { bias_term: true }")
    return (
        deep
        + scaled
        + layer("ReLU", f"{top}_scale", f"{top}_relu")
        + conv(f"{top}_relu", top, outputs, "kernel_size: 1")
    )


SEPARABLE = (
    conv("data", "a", 8, "kernel_size: 3 stride: 2 pad: 1")
    + separable("a", "b", 8, 16)
    + separable("b", "c", 16, 24, 2)
    + separable("c", "d", 24, 24)
    + layer("Eltwise", "c d", "e")
    + layer("Pooling", "e", "f", "pooling_param { pool: AVE global_pooling: true }")
    + ip("f", "g", 10)
)

# name -> net, and the shape of its input
WHOLE_NETS = {
    "LeNet-5": (LENET5, (1, 1, 28, 28)),
    "separable convolutions": (SEPARABLE, (1, 3, 33, 35)),
    "large inner products": (ip("data", "a", 1500) + layer("ReLU", "a", "b") + ip("b", "c", 10), (1, 3, 20, 20)),
}
