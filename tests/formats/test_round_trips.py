"""What is written is read as it was, in every form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import demitasse
from demitasse.packed.file import File
from tests.methods.playground import Net, net, same, sgd, train

each_form = pytest.mark.parametrize("form", [".demi", ".safetensors", ".pt"])


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


def test_tied_tensors_are_packed_once(tmp_path: Path) -> None:
    weight = torch.randn(40, 30)
    once = demitasse.save({"wte": weight, "b": torch.zeros(2)}, tmp_path / "once.demi")
    tied = demitasse.save({"wte": weight, "b": torch.zeros(2), "head": weight}, tmp_path / "tied.demi")
    assert tied < once + 16
    with demitasse.open(tmp_path / "tied.demi") as file:
        assert list(file) == ["wte", "head", "b"]
        assert torch.equal(file["head"], weight)
    found = demitasse.load(tmp_path / "tied.demi")
    assert isinstance(found, dict)
    assert found["head"].data_ptr() == found["wte"].data_ptr()


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


def test_a_packed_file_is_read_tensor_by_tensor(tmp_path: Path) -> None:
    model = net()
    demitasse.save(model, tmp_path / "model.demi", metadata={"made by": "me"})
    with demitasse.open(tmp_path / "model.demi") as file:
        assert file.metadata == {"made by": "me"}
        assert list(file) == list(model.state_dict())
        assert file.shapes["fc.bias"] == (10,)
        assert torch.equal(file["fc.bias"], model.fc.bias)
        with pytest.raises(KeyError):
            file["fc.bais"]
        assert same(model, _loaded(net(1), file))


def test_tensors_that_share_a_payload_are_decoded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demitasse.save({str(number): torch.full((5,), float(number)) for number in range(9)}, tmp_path / "model.demi")
    decoded = []
    decode = File._decode
    monkeypatch.setattr(File, "_decode", lambda self, place: decoded.append(place) or decode(self, place))
    with demitasse.open(tmp_path / "model.demi") as file:
        file["3"].zero_()
        assert file["3"].tolist() == [3] * 5
        assert [file[name][0] for name in file] == list(range(9))
    assert len(decoded) == 1


def _loaded(model: nn.Module, state: Mapping[str, torch.Tensor]) -> nn.Module:
    model.load_state_dict(state)
    return model


def test_a_module_without_memory_takes_over_the_tensors(tmp_path: Path) -> None:
    model = net()
    demitasse.save(model, tmp_path / "model.demi")
    with torch.device("meta"):
        empty = Net()
    demitasse.load(tmp_path / "model.demi", into=empty)
    assert same(model, empty)


def test_the_sign_of_zeros(tmp_path: Path) -> None:
    path, state = tmp_path / "model.demi", {"w": torch.tensor([0.0, -0.0, 1.0])}
    demitasse.save(state, path)
    assert not demitasse.load(path)["w"].signbit().any()  # type: ignore[index]
    demitasse.save(state, path, signed_zeros=True)
    assert demitasse.load(path)["w"].signbit().tolist() == [False, True, False]  # type: ignore[index]


def test_a_safetensors_file_that_is_replaced_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library opens a file twice: header and values must not be of two files."""
    path, load_file = tmp_path / "model.safetensors", safetensors.torch.load_file
    demitasse.save({"w": torch.zeros(3)}, path)

    def replaced(*arguments: object) -> dict[str, torch.Tensor]:
        found = load_file(*arguments)
        if 4 not in found["w"].shape:
            demitasse.save({"w": torch.ones(4)}, path)
        return found

    monkeypatch.setattr(safetensors.torch, "load_file", replaced)
    found = demitasse.load(path)
    assert isinstance(found, dict)
    assert found["w"].tolist() == [1] * 4
