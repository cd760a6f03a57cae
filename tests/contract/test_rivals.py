"""Other runtimes, all of them, compute the net of an ONNX file as the plan does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.errors import UnknownNameError
from demitasse.export import export
from demitasse.runtime import optimize
from demitasse.runtime.rivals import RIVALS

TEXT = """
layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv" type: "Convolution" bottom: "b" top: "conv"
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "conv" top: "sum" }
"""


@pytest.mark.parametrize("name", list(RIVALS))
@pytest.mark.parametrize("batch", [1, 3])
def test_a_rival_computes_the_net(name: str, batch: int, tmp_path: Path) -> None:
    pytest.importorskip(name)
    torch.manual_seed(0)
    net = Net(prototxt.parse(TEXT, schema.NetParameter(), "net"), schema.TEST)
    export(net, tmp_path / "net.onnx", check=False)
    inputs = {each: torch.randn(batch, 3, 9, 9) for each in "ab"}
    run = RIVALS[name](tmp_path / "net.onnx", {each: tensor.numpy() for each, tensor in inputs.items()}, 1)
    expected = optimize(net)(inputs)["sum"].numpy()
    for _ in range(2):
        (found,) = run()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_unknown_rival() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown runtime 'onnxruntim'; did you mean 'onnxruntime'\?"):
        RIVALS["onnxruntim"]
