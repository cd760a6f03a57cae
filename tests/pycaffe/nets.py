"""Prototxts for the tests of pycaffe."""

from __future__ import annotations

from pathlib import Path

from demitasse import pycaffe as caffe

# data of noise, labels that stay, and force_backward
SMALL = """name: "small" force_backward: true
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 5 dim: 2 dim: 3 dim: 4 } shape { dim: 5 }
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 11 kernel_size: 2 pad: 3 weight_filler { type: "gaussian" std: 1 } }
  param { decay_mult: 1 } param { decay_mult: 0 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip_blob"
  inner_product_param { num_output: 13 weight_filler { type: "gaussian" std: 2.5 } bias_filler { value: -3 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip_blob" bottom: "label" top: "loss" }
"""

INPUT = 'layer {{ name: "{0}" type: "Input" top: "{0}" input_param {{ shape {{ {1} }} }} }}\n'


def input_layer(name: str, *shape: int) -> str:
    """Returns an Input layer."""
    return INPUT.format(name, " ".join(f"dim: {size}" for size in shape))


def python_layer(name: str, kind: str, bottom: list[str], top: list[str], settings: str = "", extra: str = "") -> str:
    """Returns a Python layer of :mod:`tests.pycaffe.user_layers`."""
    ends = " ".join([*(f'bottom: "{each}"' for each in bottom), *(f'top: "{each}"' for each in top)])
    return (
        f'layer {{ name: "{name}" type: "Python" {ends} {extra} python_param {{ '
        f"module: 'tests.pycaffe.user_layers' layer: '{kind}' param_str: '{settings}' }} }}\n"
    )


def build(folder: Path, text: str, phase: int = caffe.TRAIN, **arguments: object) -> caffe.Net:
    """Returns the net of a prototxt."""
    path = folder / "net.prototxt"
    path.write_text(text)
    return caffe.Net(str(path), phase, **arguments)
