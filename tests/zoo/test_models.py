"""The built-in models: sizes as published, shapes, names of parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from demitasse.errors import UsageError, WeightsError
from demitasse.zoo.building import build_model, load_weights
from demitasse.zoo.models import MODELS

PHOTOS, SMALL, DIGITS = (1, 3, 224, 224), (2, 3, 32, 32), (2, 1, 28, 28)

SIZES = {
    "lenet5": (DIGITS, 431_080),
    "lenet300": (DIGITS, 266_610),
    "resnet20": (SMALL, 269_722),
    "resnet32": (SMALL, 464_154),
    "resnet56": (SMALL, 853_018),
    "alexnet": (PHOTOS, 61_100_840),
    "squeezenet": (PHOTOS, 1_235_496),
    "squeezenet1_0": (PHOTOS, 1_248_424),
    "squeezenet1_1": (PHOTOS, 1_235_496),
    "resnet18": (PHOTOS, 11_689_512),
    "resnet50": (PHOTOS, 25_557_032),
}


def test_every_model_is_tested() -> None:
    assert set(MODELS) == {*SIZES, "gpt"}


@pytest.mark.parametrize("name", SIZES)
def test_size_and_shape(name: str) -> None:
    shape, size = SIZES[name]
    with torch.device("meta"):
        model = MODELS[name]()
        logits = model(torch.zeros(shape))
    assert sum(parameter.numel() for parameter in model.parameters()) == size
    assert logits.shape == (shape[0], 10 if shape in (SMALL, DIGITS) else 1000)


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "squeezenet"])
def test_fresh_logits_are_neither_dead_nor_huge(name: str) -> None:
    torch.manual_seed(0)
    shape, _ = SIZES[name]
    logits = MODELS[name]()(torch.randn(shape))
    assert 0 < logits.std() < 10


def test_names_of_torchvision() -> None:
    with torch.device("meta"):
        names = {name: set(MODELS[name]().state_dict()) for name in ("resnet50", "alexnet", "squeezenet1_0")}
    assert {"layer4.2.conv3.weight", "layer2.0.downsample.1.running_var", "fc.bias"} <= names["resnet50"]
    assert {"features.10.weight", "classifier.6.bias"} <= names["alexnet"]
    assert {"features.12.expand3x3.bias", "classifier.1.weight"} <= names["squeezenet1_0"]


def test_the_usual_checkpoint_of_resnet20_fits(shared: Path) -> None:
    model = MODELS["resnet20"]()
    load_weights(model, shared / "models/resnet20_cifar10.th")
    assert model.linear.bias.abs().sum() > 0


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    torch.save(MODELS["resnet32"]().state_dict(), tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt: layer1\.3\.bn1\.bias is \(16,\); expected nothing"):
        load_weights(MODELS["resnet20"](), tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("lenet300", {"inputs": 0}, "inputs is 0; expected 1 to"),
        ("lenet300", {"classes": 1 << 70}, "classes is 1180591620717411303424; expected 1 to"),
        ("alexnet", {"dropout": 2.0}, "dropout"),
        ("gpt", {"heads": 3}, "heads is 3; expected a number that divides the width, 128"),
    ],
)
def test_settings_that_no_model_can_have(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=rf"^r\.toml: \[model\]: {message}"):
        build_model(MODELS[name], settings, "r.toml: [model]")


def test_gpt_looks_only_back() -> None:
    torch.manual_seed(0)
    model = MODELS["gpt"](vocabulary=11, block_size=16, layers=2, heads=2, width=8).eval()
    tokens = torch.randint(11, (3, 16))
    changed = tokens.clone()
    changed[:, 9] = (tokens[:, 9] + 1) % 11
    before, after = model(tokens), model(changed)
    assert before.shape == (3, 16, 11)
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.equal(before[:, 9], after[:, 9])


def test_gpt_with_tied_head() -> None:
    sizes = [
        sum(p.numel() for p in MODELS["gpt"](vocabulary=65, width=32, layers=1, tied=tied).parameters())
        for tied in (False, True)
    ]
    assert sizes[0] - sizes[1] == 65 * 32
