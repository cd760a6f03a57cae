"""Saving and loading of modules, states and methods."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import FileFormatError, UsageError, WeightsError
from tests.methods.playground import Net, net, same, sgd, train

each_form = pytest.mark.parametrize("form", [".safetensors", ".pt"])


@each_form
def test_round_trip_of_a_module_under_a_method(tmp_path: Path, form: str) -> None:
    model = net()
    optimizer = sgd(model)
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.8, ramp=5)
    train(model, optimizer, 10)
    size = demitasse.save(model, tmp_path / f"model{form}")
    assert size == (tmp_path / f"model{form}").stat().st_size
    assert same(model, demitasse.load(tmp_path / f"model{form}", into=net(1)))
    demitasse.save(surgery.state_dict(), tmp_path / f"surgery{form}")
    state = demitasse.load(tmp_path / f"surgery{form}")
    assert isinstance(state, dict)
    surgery.load_state_dict(state)


@each_form
def test_tied_and_channels_last_tensors(tmp_path: Path, form: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)).to(memory_format=torch.channels_last)
    model[1].weight = model[0].weight
    demitasse.save(model, tmp_path / f"model{form}")
    assert same(
        model, demitasse.load(tmp_path / f"model{form}", into=nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)))
    )


@each_form
def test_files_are_as_readable_as_any_new_file(tmp_path: Path, form: str) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    demitasse.save(net(), tmp_path / f"model{form}")
    assert (tmp_path / f"model{form}").stat().st_mode == plain.stat().st_mode


def test_names_of_wrapped_modules_are_plain(tmp_path: Path) -> None:
    model = net()
    demitasse.save(torch.compile(model, backend="eager"), tmp_path / "model.pt")
    assert same(model, demitasse.load(tmp_path / "model.pt", into=net(1)))


def test_another_suffix(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"files ending in '\.demi' are not known; expected \.safetensors or \.pt"):
        demitasse.save(net(), tmp_path / "model.demi")
    with pytest.raises(UsageError, match="files ending in 'nothing'"):
        demitasse.load(tmp_path / "model")


def test_what_is_no_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lr is a float; expected tensors alone"):
        demitasse.save({"lr": 0.1}, tmp_path / "state.pt")  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())


@each_form
def test_broken_files(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"model{form}"
    with pytest.raises(FileFormatError, match="there is no such file"):
        demitasse.load(path)
    demitasse.save(net(), path)
    whole = path.read_bytes()
    for length in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="cannot be read as"):
            demitasse.load(path)


def test_no_file_runs_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("ran",)

    path = tmp_path / "model.pt"
    torch.save({"w": Evil()}, path)
    with pytest.raises(FileFormatError, match="cannot be read as"):
        demitasse.load(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(FileFormatError, match="cannot be read as"):
        demitasse.load(path)
    torch.save({"w": [1, 2]}, path)
    with pytest.raises(FileFormatError, match="holds more than tensors by name"):
        demitasse.load(path)


def test_tensors_of_another_module(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for state, message in (
        ({"fc.weight": torch.ones(1)}, r"no tensor 'conv\.bias'"),
        ({**Net().state_dict(), "extra": torch.ones(1)}, "the module has no 'extra'"),
        ({**Net().state_dict(), "fc.bias": torch.ones(3)}, r"fc\.bias has shape \(3,\); expected \(10,\)"),
    ):
        demitasse.save(state, path)
        with pytest.raises(WeightsError, match=message):
            demitasse.load(path, into=model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
