"""Caffe nets are compressed without training, too."""

from __future__ import annotations

import torch

import demitasse
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.methods import pow2

TEXT = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 2 dim: 9 dim: 9 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "up" type: "Deconvolution" bottom: "conv" top: "up"
  convolution_param { num_output: 4 kernel_size: 2 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "ip" type: "InnerProduct" bottom: "up" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


def test_a_caffe_net_is_compressed() -> None:
    torch.manual_seed(0)
    net = Net(prototxt.parse(TEXT, schema.NetParameter(), "test"))
    images = torch.randn(200, 2, 9, 9)
    before = net({"data": images})["prob"].detach()
    report = demitasse.shrink(
        net, images, bits=5, sparsity=0.3, grid="pow2", forward=lambda net, batch: net({"data": batch})
    )
    assert len(report.rows) == 3
    assert report.sparsity > 0.299
    weights = [module.weight.detach() for module in net.modules() if getattr(module, "weight", None) is not None]
    assert all(pow2.on_grid(weight).all() for weight in weights)
    assert (net({"data": images})["prob"] - before).abs().mean() < 0.02
