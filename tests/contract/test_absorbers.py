"""What takes up a factor and a shift of a layer's outputs: every kind, in the model that it is a part of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from google.protobuf import text_format
from torch import Tensor, nn
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.methods.one_shot.absorbers import ABSORBERS, BatchNormAbsorber
from demitasse.methods.one_shot.layer import Compressed
from demitasse.shrinking.batches import run
from demitasse.shrinking.job import Shrinking
from demitasse.shrinking.targets import ShrinkTarget, targets_of
from demitasse.shrinking.watching import ModelRunner


class CaffeModel(nn.Module):
    """A Caffe net that is called with its input."""

    def __init__(self, layers: str) -> None:
        super().__init__()
        data = "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 4 dim: 3 dim: 6 dim: 6 } } }"
        self.net = Net(text_format.Parse(data + layers, schema.NetParameter()))

    @override
    def forward(self, images: Tensor) -> Tensor:
        found = self.net({"data": images})["out"]
        assert isinstance(found, Tensor)
        return found


def convolution(settings: str = "", top: str = "out") -> str:
    fillers = "weight_filler { type: 'xavier' } bias_filler { type: 'gaussian' std: 0.3 }"
    window = f"convolution_param {{ num_output: 5 kernel_size: 3 {fillers} {settings} }}"
    return f"layer {{ name: 'conv' type: 'Convolution' bottom: 'data' top: '{top}' {window} }}"


def after(kind: str, settings: str = "", bottom: str = "out", top: str = "out") -> str:
    return f"layer {{ name: 'next' type: '{kind}' bottom: '{bottom}' top: '{top}' {settings} }}"


BN = "bn_param { slope_filler { value: 1.5 } bias_filler { value: 0.2 } momentum: 0.9 eps: 1e-5 }"
CASES: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "torch": ("batch normalization", lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))),
    "torch without bias": (
        "batch normalization",
        lambda: nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)),
    ),
    "linear": ("batch normalization", lambda: nn.Sequential(nn.Flatten(), nn.Linear(108, 5), nn.BatchNorm1d(5))),
    "transposed": ("batch normalization", lambda: nn.Sequential(nn.ConvTranspose2d(3, 5, 3), nn.BatchNorm2d(5))),
    "BatchNorm": ("BatchNorm", lambda: CaffeModel(convolution() + after("BatchNorm"))),
    "BatchNorm, not in place": (
        "BatchNorm",
        lambda: CaffeModel(convolution("bias_term: false", "x") + after("BatchNorm", bottom="x")),
    ),
    "inner product": (
        "BatchNorm",
        lambda: CaffeModel(
            "layer { name: 'fc' type: 'InnerProduct' bottom: 'data' top: 'out' inner_product_param { num_output: 5 "
            "weight_filler { type: 'xavier' } } }" + after("BatchNorm")
        ),
    ),
    "BN of TSN": ("BN", lambda: CaffeModel(convolution() + after("BN", BN))),
    "BN of SegNet": ("BN", lambda: CaffeModel(convolution() + after("BN", "bn_param { bn_mode: INFERENCE }"))),
    "Scale": ("Scale", lambda: CaffeModel(convolution() + after("Scale", "scale_param { bias_term: true }"))),
    "Scale without bias": ("Scale", lambda: CaffeModel(convolution() + after("Scale"))),
}


def images() -> Tensor:
    return torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def filled(model: nn.Module) -> nn.Module:
    """Gives every tensor values of its own."""
    torch.manual_seed(2)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point() and "conv" not in name and tensor.numel() in (1, 5):
                tensor.uniform_(0.5, 2)
    return model.eval()


def prepared(model: nn.Module) -> ShrinkTarget:
    targets, _ = targets_of(model, None, ())
    (target,) = Shrinking(ModelRunner(model, run), [images()], targets, 0, None).targets
    return target


@pytest.mark.parametrize("name", CASES)
def test_a_factor_and_a_shift_are_taken_up(name: str) -> None:
    kind, make = CASES[name]
    model = filled(make())
    target = prepared(model)
    assert target.absorber is not None
    assert type(target.absorber) is ABSORBERS[kind]
    assert target.freedom.scale
    with torch.no_grad():
        before = model(images())
        factor = torch.linspace(0.5, 3, 5, dtype=torch.float64)
        matrix = target.matrix.double() / factor.view(1, 5, 1)
        nothing = torch.zeros(1, 5, dtype=torch.float64)
        target.write(Compressed(matrix, factor.view(1, 5), nothing, nothing, nothing))
        assert torch.allclose(model(images()), before, rtol=1e-4, atol=1e-4)
        if not target.freedom.shift:
            return
        # a shift of the outputs is the same as one of the bias or of what follows
        shift = torch.linspace(-1, 1, 5, dtype=torch.float64)
        fresh = filled(make())
        other = prepared(fresh)
        other.write(Compressed(other.matrix.double(), torch.ones(1, 5), shift.view(1, 5), nothing, nothing))
        source = filled(make())
        layer = prepared(source).views[0].home.module
        layer.register_forward_hook(
            lambda module, inputs, output: output + shift.float().view(5, *(1,) * (output.ndim - 2))
        )
        assert torch.allclose(fresh(images()), source(images()).float(), rtol=1e-4, atol=1e-4)


def test_a_case_for_every_absorber() -> None:
    assert {kind for kind, _ in CASES.values()} == set(ABSORBERS)


class Used(nn.Module):
    """A convolution whose outputs are used otherwise, too, or not by channels."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv, self.cell, self.linear = nn.Conv2d(3, 5, 3), nn.GRUCell(108, 5), nn.Linear(36, 3)
        self.norm, self.flat, self.rows = nn.BatchNorm2d(5), nn.BatchNorm1d(5), nn.BatchNorm1d(3)

    @override
    def forward(self, images: Tensor) -> Tensor:
        if self.kind == "also used":
            found = self.conv(images)
            result: Tensor = self.norm(found) + found
        elif self.kind == "a cell":
            result = self.flat(self.cell(images.flatten(1)))
        else:  # the features are along the last axis, the normalization along axis 1, of the same size
            result = self.rows(self.linear(images.flatten(2)))
        return result


@pytest.mark.parametrize("kind", ["also used", "a cell", "another axis"])
def test_what_takes_up_nothing(kind: str) -> None:
    model = Used(kind).eval()
    targets, _ = targets_of(model, None, ())
    job = Shrinking(ModelRunner(model, run), [images()], targets, 0, None)
    assert job.targets
    assert all(target.absorber is None for target in job.targets)


def test_a_normalization_that_two_layers_share_takes_up_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 5, 3), nn.BatchNorm2d(5)).eval()
    model[3].running_mean = model[1].running_mean
    targets, _ = targets_of(model, None, ())
    job = Shrinking(ModelRunner(model, run), [images()], targets, 0, None)
    assert [target.absorber for target in job.targets] == [None, None]
    assert BatchNormAbsorber.matches(model[1])
