"""safetensors and state_dicts of PyTorch into .demi files and out again, every type and shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from demitasse.errors import FileFormatError, UsageError, WeightsError
from demitasse.formats import pack, unpack
from demitasse.packed.file import File
from demitasse.packed.tensor import DTYPES

each_form = pytest.mark.parametrize("form", [".safetensors", ".pt", ".pth"])


def packable(dtype: str, form: str) -> bool:
    """Returns whether PyTorch, and the form, have a type."""
    return hasattr(torch, dtype) and (form != ".safetensors" or dtype not in ("complex128", "complex32"))


def tensors(form: str) -> dict[str, Tensor]:
    """Returns tensors of every type with random bits, and a scalar, an empty one and one in another order."""
    rng, found = np.random.default_rng(0), {}
    for dtype in DTYPES:
        most = 2 if dtype.name == "bool" else 256
        if not packable(dtype.name, form):
            continue
        bits = torch.from_numpy(rng.integers(0, most, (5, 6, dtype.size << dtype.complex)).astype(np.uint8))
        found[f"layer.{dtype.name}"] = bits.view(getattr(torch, dtype.name)).reshape(5, 6)
    return found | {
        "steps": torch.tensor(123456789012),
        "none": torch.zeros(0, 3),
        "other order": torch.randn(3, 4, 5, 5).to(memory_format=torch.channels_last),
    }


def write(state: dict[str, Tensor], path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, {"who": "me", "format": "pt"})
    else:
        torch.save(state, path)


def read(path: Path) -> dict[str, Tensor]:
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@each_form
@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_round_trip(form: str, tmp_path: Path) -> None:
    state = tensors(form)
    write(state, tmp_path / f"net{form}")
    pack(tmp_path / f"net{form}", tmp_path / "net.demi", signed_zeros=True)
    unpack(tmp_path / "net.demi", tmp_path / f"back{form}")
    found = read(tmp_path / f"back{form}")
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert bits(found[name]) == bits(tensor), name


def test_metadata_of_safetensors_comes_back(tmp_path: Path) -> None:
    write({"w": torch.ones(3)}, tmp_path / "net.safetensors")
    pack(tmp_path / "net.safetensors", tmp_path / "net.demi", metadata={"licence": "none"})
    assert unpack(tmp_path / "net.demi", tmp_path / "back.safetensors") == []
    with safe_open(tmp_path / "back.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "who": "me", "licence": "none"}
    assert unpack(tmp_path / "net.demi", tmp_path / "back.pt") == ["format", "who", "licence"]


def test_tied_tensors_stay_tied(tmp_path: Path) -> None:
    weight = torch.randn(30, 20)
    write({"wte": weight, "head": weight, "b": torch.zeros(2)}, tmp_path / "net.pt")
    pack(tmp_path / "net.pt", tmp_path / "net.demi")
    with File(tmp_path / "net.demi") as file:
        assert file.header.aliases == {"head": "wte"}
    unpack(tmp_path / "net.demi", tmp_path / "back.pt")
    back = read(tmp_path / "back.pt")
    assert back["wte"].data_ptr() == back["head"].data_ptr()
    unpack(tmp_path / "net.demi", tmp_path / "back.safetensors")
    assert torch.equal(read(tmp_path / "back.safetensors")["head"], weight)


def test_the_sign_of_zeros(tmp_path: Path) -> None:
    write({"w": torch.tensor([0.0, -0.0])}, tmp_path / "net.pt")
    for keep in (False, True):
        pack(tmp_path / "net.pt", tmp_path / "net.demi", signed_zeros=keep)
        unpack(tmp_path / "net.demi", tmp_path / "back.pt")
        assert read(tmp_path / "back.pt")["w"].signbit().tolist() == [False, keep]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"w": 2}, "epoch": 3}, "'state_dict' is of type dict; expected a state_dict"),
        ({0: torch.ones(2)}, "key 0 is of type int; expected tensors by name"),
        ({"\ud800": torch.ones(2)}, r"'\\ud800' contains half a character"),
        ([torch.ones(2)], "found a list; expected tensors by name"),
        ({"w": torch.ones(2, 2).to_sparse()}, "w is a sparse_coo tensor; expected a dense tensor"),
        ({"w": torch.ones(2, device="meta")}, "w is a meta tensor; expected a dense tensor"),
        ({"w": torch.ones(1).expand(1 << 40)}, r"w of shape \(1099511627776,\) expands 4 bytes to 4,398,046,511,104"),
    ],
)
def test_what_is_no_state_dict(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises((FileFormatError, UsageError), match=message):
        pack(tmp_path / "net.pt", tmp_path / "net.demi")
    assert not (tmp_path / "net.demi").exists()


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    torch.save({"w": Evil()}, tmp_path / "net.pt")
    with pytest.raises(FileFormatError, match=r"cannot be read as \.pt"):
        pack(tmp_path / "net.pt", tmp_path / "net.demi")
    assert not (tmp_path / "ran").exists()


@each_form
def test_every_cut_of_a_source_is_noticed(form: str, tmp_path: Path) -> None:
    write({"w": torch.randn(4, 4)}, tmp_path / f"net{form}")
    data = (tmp_path / f"net{form}").read_bytes()
    for length in range(0, len(data) - 1, 7):
        (tmp_path / f"cut{form}").write_bytes(data[:length])
        with pytest.raises(FileFormatError, match=rf"cut{form}: "):
            pack(tmp_path / f"cut{form}", tmp_path / "net.demi")


def test_a_net_of_pytorch_is_no_caffemodel(tmp_path: Path) -> None:
    write({"bn.running_mean": torch.ones(3)}, tmp_path / "net.pt")
    pack(tmp_path / "net.pt", tmp_path / "net.demi")
    with pytest.raises(WeightsError, match=r"'bn\.running_mean' is not a blob of a Caffe net"):
        unpack(tmp_path / "net.demi", tmp_path / "net.caffemodel")
