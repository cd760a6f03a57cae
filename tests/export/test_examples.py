"""The nets of the literature in every target; they take seconds each."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from demitasse import examples
from demitasse.caffe.net import Net
from demitasse.export import TARGETS, export

NAMES = ("googlenet", "lenet5", "lrcn", "mobilenet_v1", "mobilenet_v2", "resnet50", "siamese", "squeezenet")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_batches_of_one_and_three(name, tmp_path):
    torch.manual_seed(0)
    net = Net.from_file(Path(examples.__file__).parent / name / "deploy.prototxt")
    for layer in net.named_layers().values():
        if layer.spec.type == "BatchNorm":
            layer.mean.normal_(std=0.1)
            layer.variance.uniform_(1, 3)
            layer.factor.fill_(2)
    for suffix in TARGETS:
        report = export(net, tmp_path / f"net{suffix}")
        assert [row.name for row in report.rows] == net.outputs
        assert all(row.largest > 0 for row in report.rows)
