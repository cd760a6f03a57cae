"""Checkpoints that hold more than a state_dict."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import FileFormatError, UsageError
from tests.methods.playground import net, same

each_form = pytest.mark.parametrize("form", [".demi", ".safetensors", ".pt"])


def test_a_checkpoint_that_nests_its_state_dict(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, model = tmp_path / "checkpoint.pt", net()
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"state": {}, "lr": 0.1}}, path)
    assert same(model, demitasse.load(path, into=net(1)))
    assert caplog.messages == [
        f"{path}: the state_dict is under the key 'state_dict'; left out: 'epoch', 'optimizer'",
        f"{path}: removed the prefix 'module.' from all names",
    ]
    assert same(model, demitasse.load(path, into=net(1), key="state_dict"))
    with pytest.raises(UsageError, match="no state_dict under 'epoch'; found 'state_dict'"):
        demitasse.load(path, key="epoch")


def test_a_checkpoint_of_several_state_dicts(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"generator": net().state_dict(), "critic": net(1).state_dict()}, path)
    with pytest.raises(
        UsageError, match=r"checkpoint\.pth: found state_dicts under 'generator', 'critic'; give the key of one"
    ):
        demitasse.load(path)
    assert same(net(1), demitasse.load(path, into=net(), key="critic"))


def test_the_usual_checkpoint_of_resnet20(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = demitasse.load(shared / "models/resnet20_cifar10.th")
    assert isinstance(found, dict)
    assert found["conv1.weight"].shape == (16, 3, 3, 3)
    assert len(caplog.messages) == 2


class _Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("exit 1",)


def test_a_pickled_call_is_named_and_not_made(tmp_path: Path) -> None:
    torch.save({"w": _Hostile()}, tmp_path / "model.pt")
    with pytest.raises(FileFormatError, match=r"it contains a pickled \w+\.system, and reading that would run code"):
        demitasse.load(tmp_path / "model.pt")


@pytest.mark.parametrize("new", [True, False])
def test_a_whole_pickled_module_gets_one_sentence(tmp_path: Path, new: bool) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt", _use_new_zipfile_serialization=new)
    message = (
        r"^\S+model\.pt: cannot be read as \.pt: it contains a pickled torch\.nn\.modules\.linear\.Linear, "
        r"and reading that would run code from the file; save the state_dict\(\) of the module instead$"
    )
    with pytest.raises(FileFormatError, match=message):
        demitasse.load(tmp_path / "model.pt")
