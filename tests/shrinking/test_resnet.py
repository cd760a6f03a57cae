"""A published net on its own images: accuracy lost without training and without labels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import demitasse
from demitasse.zoo.data.cifar10 import read_images
from demitasse.zoo.models.resnet_cifar import CifarResNet, resnet20


def normalized(images: Tensor) -> Tensor:
    mean, deviation = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    return (images.float() / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)


def guesses(model: CifarResNet, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([model(part).argmax(1) for part in images.split(500)])


@pytest.mark.slow
def test_resnet20_at_4_bits_and_half_zeros(shared: Path) -> None:
    data = read_images(next((shared / "data/cifar10").glob("*.zip")))
    drawn = torch.randperm(len(data.train_images), generator=torch.Generator().manual_seed(0))[:512]
    calibration = normalized(torch.from_numpy(data.train_images[drawn.numpy()]))
    tests = torch.randperm(len(data.test_images), generator=torch.Generator().manual_seed(1))[:2000]
    images, labels = (torch.from_numpy(one[tests.numpy()]) for one in (data.test_images, data.test_labels))
    state = torch.load(shared / "models/resnet20_cifar10.th", weights_only=True, map_location="cpu")["state_dict"]
    model = resnet20()
    model.load_state_dict({name.removeprefix("module."): tensor for name, tensor in state.items()})
    model.eval()
    right = [float((guesses(model, normalized(images)) == labels).float().mean())]
    report = demitasse.shrink(model, calibration, bits=4, sparsity=0.5)
    right.append(float((guesses(model, normalized(images)) == labels).float().mean()))
    assert right[1] > right[0] - 0.02
    assert report.sparsity >= 0.5
