"""Nets that tests export: small ones with the structures of large ones, and one with every layer type."""

from __future__ import annotations

import torch

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from tests.contract.examples import Example

CONV = 'weight_filler { type: "xavier" } bias_filler { type: "gaussian" std: 0.1 }'

LENET = f"""
name: "LeNet"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 64 dim: 1 dim: 28 dim: 28 }} }} }}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: 4 kernel_size: 5 {CONV} }} }}
layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "ip1" type: "InnerProduct" bottom: "pool1" top: "ip1" inner_product_param {{ num_output: 9 {CONV} }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }}
layer {{ name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" inner_product_param {{ num_output: 5 {CONV} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "ip2" top: "prob" }}
"""

# an inception module between normalizations, with a mean over the edge and dropout
INCEPTION = f"""
name: "inception"
input: "data" input_shape {{ dim: 2 dim: 3 dim: 12 dim: 12 }}
layer {{ name: "conv1/3x3" type: "Convolution" bottom: "data" top: "conv1/3x3"
  convolution_param {{ num_output: 8 kernel_size: 3 {CONV} }} }}
layer {{ name: "conv1/relu" type: "ReLU" bottom: "conv1/3x3" top: "conv1/3x3" }}
layer {{ name: "norm1" type: "LRN" bottom: "conv1/3x3" top: "norm1" lrn_param {{ local_size: 3 alpha: 0.1 }} }}
layer {{ name: "pool1" type: "Pooling" bottom: "norm1" top: "pool1"
  pooling_param {{ pool: MAX kernel_size: 3 stride: 2 }} }}
layer {{ name: "a/1x1" type: "Convolution" bottom: "pool1" top: "a/1x1"
  convolution_param {{ num_output: 3 kernel_size: 1 {CONV} }} }}
layer {{ name: "a/3x3" type: "Convolution" bottom: "pool1" top: "a/3x3"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 {CONV} }} }}
layer {{ name: "a/pool" type: "Pooling" bottom: "pool1" top: "a/pool"
  pooling_param {{ pool: MAX kernel_size: 3 stride: 1 pad: 1 }} }}
layer {{ name: "a/output" type: "Concat" bottom: "a/1x1" bottom: "a/3x3" bottom: "a/pool" top: "a/output" }}
layer {{ name: "pool2" type: "Pooling" bottom: "a/output" top: "pool2"
  pooling_param {{ pool: AVE kernel_size: 3 stride: 3 }} }}
layer {{ name: "drop" type: "Dropout" bottom: "pool2" top: "pool2" dropout_param {{ dropout_ratio: 0.4 }} }}
layer {{ name: "classifier" type: "InnerProduct" bottom: "pool2" top: "classifier"
  inner_product_param {{ num_output: 6 {CONV} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "classifier" top: "prob" }}
"""

# a block of a residual net
BOTTLENECK = f"""
name: "ResNet"
input: "data" input_shape {{ dim: 2 dim: 4 dim: 6 dim: 6 }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 bias_term: false {CONV} }} }}
layer {{ name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }}
layer {{ name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param {{ bias_term: true }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "bn2" type: "BatchNorm" bottom: "conv" top: "bn2" }}
layer {{ name: "sum" type: "Eltwise" bottom: "data" bottom: "bn2" top: "sum" }}
layer {{ name: "pool" type: "Pooling" bottom: "sum" top: "pool" pooling_param {{ pool: AVE global_pooling: true }} }}
"""

SEQUENCE = f"""
name: "sequence"
input: "x" input_shape {{ dim: 4 dim: 2 dim: 5 }}
input: "cont" input_shape {{ dim: 4 dim: 2 }}
layer {{ name: "lstm1" type: "LSTM" bottom: "x" bottom: "cont" top: "lstm1"
  recurrent_param {{ num_output: 3 {CONV} }} }}
layer {{ name: "scores" type: "InnerProduct" bottom: "lstm1" top: "scores"
  inner_product_param {{ num_output: 2 axis: 2 {CONV} }} }}
"""

NETS = {"lenet": LENET, "inception": INCEPTION, "bottleneck": BOTTLENECK, "sequence": SEQUENCE}


def build(text: str, phase: int = schema.TEST) -> Net:
    """Returns a net with random weights and statistics, the same every time."""
    torch.manual_seed(0)
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"), phase)
    for layer in net.named_layers().values():
        if layer.spec.type == "BatchNorm":
            layer.mean.normal_()
            layer.variance.uniform_(1, 3)
            layer.factor.fill_(2)
        elif layer.spec.type in ("Scale", "PReLU"):
            for blob in layer.blobs():
                torch.nn.init.uniform_(blob, 0.2, 1)
    return net


def together(examples: list[Example]) -> Net:
    """Returns one net of many examples side by side: layers ``e0``, ``e1``..., tops ``e0t0``..."""
    parts = []
    for number, example in enumerate(examples):
        shapes = "".join(f"shape {{ {' '.join(f'dim: {size}' for size in shape)} }} " for shape in example.shapes)
        bottoms = [f"e{number}b{index}" for index in range(len(example.shapes))]
        if bottoms:
            tops = " ".join(f'top: "{name}"' for name in bottoms)
            parts.append(f'layer {{ name: "in{number}" type: "Input" {tops} input_param {{ {shapes} }} }}')
        taken = " ".join(f'bottom: "{name}"' for name in bottoms)
        made = " ".join(f'top: "e{number}t{index}"' for index in range(example.tops))
        parts.append(f'layer {{ name: "e{number}" type: "{example.type}" {taken} {made} {example.settings} }}')
    net = build('name: "together"\n' + "\n".join(parts))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    return net
