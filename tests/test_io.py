"""Saving and loading of modules, states and methods."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import FileFormatError, UsageError, WeightsError
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


def test_another_suffix(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"files ending in '\.bin' are not known; expected \.demi or \.safetensors or"):
        demitasse.save(net(), tmp_path / "model.bin")
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
        with pytest.raises(FileFormatError, match=rf"^{re.escape(str(path))}: (cannot be read as|.*cut short)"):
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


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64,
        torch.bool,
    ],
    ids=str,
)  # fmt: skip
def test_every_type_in_a_packed_file(tmp_path: Path, dtype: torch.dtype) -> None:
    numbers = torch.arange(-12, 12).reshape(2, 3, 4)
    state = {"many": numbers.to(dtype), "one": numbers[1, 1, 1].to(dtype), "none": torch.zeros(0, 3, dtype=dtype)}
    demitasse.save(state, tmp_path / "model.demi")
    found = demitasse.load(tmp_path / "model.demi")
    assert isinstance(found, dict)
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == dtype
        assert found[name].shape == tensor.shape
        assert found[name].tolist() == tensor.tolist()


def test_what_a_packed_file_cannot_hold(tmp_path: Path) -> None:
    for tensor, message in (
        (torch.zeros(2, dtype=torch.complex64), "w has type complex64; expected one of float32"),
        (torch.zeros(2, 2).to_sparse(), "w is no dense tensor with values"),
        (torch.zeros(2, device="meta"), "w is no dense tensor with values"),
    ):
        with pytest.raises(UsageError, match=message):
            demitasse.save({"w": tensor}, tmp_path / "model.demi")
    assert not list(tmp_path.iterdir())


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


def test_options_of_other_forms(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.pt files have no metadata; expected a \.demi file"):
        demitasse.save(net(), tmp_path / "model.pt", metadata={"a": "b"})
    demitasse.save(net(), tmp_path / "model.safetensors", metadata={"a": "b"})
    assert not list(tmp_path.glob("*.pt"))


def test_a_packed_file_that_asks_for_too_much(tmp_path: Path) -> None:
    demitasse.save({"w": torch.zeros(1000, 1000)}, tmp_path / "zeros.demi")
    with pytest.raises(FileFormatError, match=r"zeros\.demi: header: tensors take 4,000,000 bytes .* limit is 1,000"):
        demitasse.open(tmp_path / "zeros.demi", limit=1_000)


def test_names_that_are_no_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 is of type int; expected names of tensors"):
        demitasse.save({0: torch.ones(2)}, tmp_path / "model.demi")  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())
