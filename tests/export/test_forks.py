"""Fields of other Caffes in every target: the same as in the net."""

from __future__ import annotations

import pytest
import torch

from demitasse.caffe import schema
from demitasse.errors import ExportError
from demitasse.export import TARGETS, of_net
from demitasse.export.check import compare
from tests.golden.single import single_net

FIELDS = [
    ("BatchNorm", "batch_norm_param { scale_bias: true }", (2, 3, 4, 4)),
    ("Dropout", "dropout_param { dropout_ratio: 0.75 scale_train: false }", (2, 5)),
    ("Pooling", "pooling_param { kernel_size: 2 stride: 2 ceil_mode: false }", (2, 3, 5, 5)),
    ("Convolution", 'convolution_param { num_output: 2 kernel_size: 2 hole: 2 weight_filler { type: "xavier" } }',
     (2, 3, 6, 6)),
]  # fmt: skip


@pytest.mark.parametrize("suffix", sorted({".onnx", ".pt2", ".py"} & set(TARGETS)))
@pytest.mark.parametrize(("kind", "settings", "shape"), FIELDS, ids=[row[0] for row in FIELDS])
def test_a_field_means_the_same(kind: str, settings: str, shape: tuple[int, ...], suffix: str) -> None:
    torch.manual_seed(0)
    net = single_net(kind, settings, shape, phase=schema.TEST)
    for blob in net.layer("l").blobs():
        with torch.no_grad():
            blob.uniform_(0.5, 2)
    model = of_net(net, ["t0"]).fixed()
    target = TARGETS[suffix]
    files = target.make(model).files
    (row,) = compare(model, lambda inputs: target.run(files, inputs), target.tolerance)
    assert row.largest > 0


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_draws_in_testing_have_no_graph(suffix: str) -> None:
    net = single_net("Dropout", "dropout_param { sample_weights_test: true }", (2, 5), phase=schema.TEST)
    with pytest.raises(ExportError, match="layer 'l': sample_weights_test draws at random"):
        TARGETS[suffix].make(of_net(net, ["t0"]).fixed())
