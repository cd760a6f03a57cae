"""Models of peft: adapters alone are compressed, and it is said."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

import demitasse
from demitasse.errors import MethodError


class LoraLinear(nn.Module):
    """A stand-in for peft's own layer: a frozen linear layer, and a pair of small ones, the second all zero."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, base.out_features, bias=False)})
        nn.init.zeros_(self.lora_B["default"].weight)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.base_layer(inputs) + self.lora_B["default"](self.lora_A["default"](inputs))


LoraLinear.__module__ = "peft.tuners.lora.layer"
SAID = (
    r"this is a PEFT model: only its adapters are compressed \(4 parameters\); 2 weights of the base model require no"
)


def adapted() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(LoraLinear(nn.Linear(16, 16)), nn.ReLU(), LoraLinear(nn.Linear(16, 8)))


def test_that_adapters_alone_are_compressed_is_said_at_attaching_and_in_the_report() -> None:
    model = adapted()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3)
    with pytest.warns(UserWarning, match=SAID):
        surgery = demitasse.Surgery(model, optimizer, sparsity=0.5, ramp=5, gamma=0)
    for _ in range(8):
        optimizer.zero_grad()
        model(torch.randn(4, 16)).square().sum().backward()
        optimizer.step()
    report = surgery.finish()
    assert [row.name for row in report.rows] == [
        f"{layer}.lora_{part}.default.weight" for layer in (0, 2) for part in "AB"
    ]
    assert all(row.kept == row.total / 2 for row in report.rows if "lora_B" in row.name)
    assert report.sparsity == 0.5
    assert "only its adapters are compressed" in report.notes[0]


def test_a_model_that_is_trained_as_a_whole_is_not_spoken_of() -> None:
    model = adapted().requires_grad_(True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        demitasse.Surgery(model, torch.optim.SGD(model.parameters(), lr=0.1), sparsity=0.5)
        plain = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4))
        demitasse.Surgery(plain, torch.optim.SGD(plain.parameters(), lr=0.1), sparsity=0.5)


@pytest.mark.filterwarnings("ignore:this is a PEFT model")
def test_adapters_that_are_merged_while_a_method_is_attached_are_noticed() -> None:
    model = adapted()
    surgery = demitasse.Surgery(model, torch.optim.Adam(model.parameters(), lr=1e-3), sparsity=0.5)
    model[2] = model[2].base_layer
    with pytest.raises(MethodError, match=r"2\.lora_A\.default\.weight is no longer in the module"):
        surgery.finish()


def test_peft_itself() -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8))
    model = peft.get_peft_model(model, peft.LoraConfig(target_modules=["0", "2"], r=4))
    with pytest.warns(UserWarning, match=SAID):
        surgery = demitasse.Surgery(model, torch.optim.Adam(model.parameters(), lr=1e-3), sparsity=0.5, ramp=5, gamma=0)
    assert len(surgery.records) == len(surgery.apart) + 2 == 4
