"""Saving and loading of modules, states and methods."""

from __future__ import annotations

import io
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import demitasse
from demitasse.errors import FileFormatError, UsageError, WeightsError, WriteError
from demitasse.packed.file import File
from demitasse.packed.tensor import of_array
from demitasse.packed.writer import pack
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
        torch.bool, torch.complex64, torch.complex128, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz,
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
        (torch.zeros(2, 2).to_sparse(), "w is no dense tensor with values but sparse_coo"),
        (torch.zeros(2, device="meta"), "w is no dense tensor with values but meta"),
        (torch.nn.parameter.UninitializedParameter(), "w has no shape and no values yet"),
        (torch.zeros(1).expand(1 << 40), r"w of shape \(1099511627776,\) shows 4 bytes as 4,398,046,511,104"),
    ):
        for form in (".demi", ".safetensors"):
            with pytest.raises(UsageError, match=message):
                demitasse.save({"w": tensor}, tmp_path / f"model{form}")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
@pytest.mark.parametrize("form", [".demi", ".safetensors"])
def test_a_quantized_tensor_is_refused(tmp_path: Path, form: str) -> None:
    tensor = torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8)
    with pytest.raises(UsageError, match=r"w (has type qint8|is no dense tensor with values but quantized)"):
        demitasse.save({"w": tensor}, tmp_path / f"model{form}")
    assert not list(tmp_path.iterdir())


def test_types_that_safetensors_has_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"w: \.safetensors files cannot hold complex128 of shape \(2,\)"):
        demitasse.save({"w": torch.zeros(2, dtype=torch.complex128)}, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


@each_form
def test_bools_of_any_bytes_are_what_torch_shows(tmp_path: Path, form: str) -> None:
    mask = torch.tensor([0, 1, 2, 128, 255, 254], dtype=torch.uint8).view(torch.bool)
    demitasse.save({"mask": mask, "tied": mask}, tmp_path / f"model{form}")
    found = demitasse.load(tmp_path / f"model{form}")
    assert isinstance(found, dict)
    for name in ("mask", "tied"):
        assert found[name].view(torch.uint8).tolist() == [0, 1, 1, 1, 1, 1]


def test_bools_of_numpy_are_what_numpy_shows() -> None:
    mask = np.array([[0, 1, 2], [255, 0, 254]], np.uint8).view(bool)
    (found,) = File(pack([of_array("mask", mask[:, ::2])])).tensors()
    assert found.bits.tolist() == [0, 1, 1, 1]


@each_form
def test_conjugates_and_views_of_another_type(tmp_path: Path, form: str) -> None:
    values = torch.tensor([1 + 2j, 3 - 4j])
    state = {
        "w": values,
        "conjugate": values.conj(),
        "negative": values.conj().imag,
        "parts": torch.view_as_real(values),
    }
    demitasse.save(state, tmp_path / f"model{form}")
    found = demitasse.load(tmp_path / f"model{form}")
    assert isinstance(found, dict)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in state.items()
    }


@each_form
def test_to_and_from_memory(tmp_path: Path, form: str) -> None:
    model, memory = net(), io.BytesIO(b"before")
    memory.seek(0, io.SEEK_END)
    size = demitasse.save(model, memory, format=form)
    assert size == len(memory.getvalue()) - 6
    memory.seek(6)
    assert same(model, demitasse.load(memory, into=net(1)))
    assert same(model, demitasse.load(memory.getvalue()[6:], into=net(1)))
    assert same(model, demitasse.load(memoryview(memory.getvalue())[6:], into=net(1), format=form[1:]))  # type: ignore[arg-type]
    with (tmp_path / f"model{form}").open("wb") as file:  # whose name tells the form
        demitasse.save(model, file)
    with (tmp_path / f"model{form}").open("rb") as file:
        assert same(model, demitasse.load(file, into=net(1)))


def test_a_packed_file_opens_from_memory() -> None:
    memory = io.BytesIO()
    demitasse.save({"w": torch.arange(3)}, memory, format="demi")
    for source in (memory.getvalue(), io.BytesIO(memory.getvalue())):
        with demitasse.open(source) as file:
            assert file["w"].tolist() == [0, 1, 2]


def test_what_is_no_file(tmp_path: Path) -> None:
    for call, message in (
        (lambda: demitasse.save(net(), io.BytesIO()), "files ending in 'nothing' are not known; .* or the format"),
        (lambda: demitasse.save(net(), io.BytesIO(), format="zip"), r"format 'zip' is not known; expected \.demi or"),
        (lambda: demitasse.save(net(), io.StringIO(), format="pt"), "takes text; open it in binary mode"),
        (lambda: demitasse.save(net(), 3), "found a int; expected a path, or a file"),  # type: ignore[arg-type]
        (lambda: demitasse.load(io.StringIO("x")), "gives str; open it in binary mode"),  # type: ignore[arg-type]
        (lambda: demitasse.load(3), "found a int; expected a path, bytes"),  # type: ignore[arg-type]
        (lambda: demitasse.load(b"demi", key="a"), r"\.demi files have no key 'a'"),
    ):
        with pytest.raises(UsageError, match=message):
            call()
    with pytest.raises(FileFormatError, match="data: 7 bytes, which begin with b'neither'; expected the contents of"):
        demitasse.load(b"neither")
    with pytest.raises(WriteError, match=r"model\.pt: cannot be written: there is no folder"):
        demitasse.save(net(), tmp_path / "missing/model.pt")


@each_form
def test_names_and_metadata_are_text(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"model{form}"
    for state, message in (
        ({0: torch.ones(1)}, "0 is of type int; expected names of tensors"),
        ({"\ud800": torch.ones(1)}, r"'\\ud800' is not text"),
    ):
        with pytest.raises(UsageError, match=message):
            demitasse.save(state, path)  # type: ignore[arg-type]
    for metadata in ({"epoch": 3}, {3: "epoch"}, {"a": None}, {"a": "\ud800"}, "text"):
        if form != ".pt":
            with pytest.raises(UsageError, match=r"metadata .*; expected text by key"):
                demitasse.save(net(), path, metadata=metadata)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_nests_its_state_dict(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, model = tmp_path / "checkpoint.pt", net()
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"state": {}, "lr": 0.1}}, path)
    assert same(model, demitasse.load(path, into=net(1)))
    assert caplog.messages == [
        f"{path}: the state_dict is under the key 'state_dict'; left out: 'epoch', 'optimizer'",
        f"{path}: names without the prefix 'module.'",
    ]
    assert same(model, demitasse.load(path, into=net(1), key="state_dict"))
    with pytest.raises(UsageError, match="no state_dict under 'epoch'; found 'state_dict'"):
        demitasse.load(path, key="epoch")


def test_a_checkpoint_of_several_state_dicts(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"generator": net().state_dict(), "critic": net(1).state_dict()}, path)
    with pytest.raises(UsageError, match=r"checkpoint\.pth: holds state_dicts under 'generator', 'critic'; choose one"):
        demitasse.load(path)
    assert same(net(1), demitasse.load(path, into=net(), key="critic"))


def test_the_usual_checkpoint_of_resnet20(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = demitasse.load(shared / "models/resnet20_cifar10.th")
    assert isinstance(found, dict)
    assert found["conv1.weight"].shape == (16, 3, 3, 3)
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("new", [True, False])
def test_a_whole_pickled_module_gets_one_sentence(tmp_path: Path, new: bool) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt", _use_new_zipfile_serialization=new)
    message = (
        r"^\S+model\.pt: cannot be read as \.pt: it holds a pickled torch\.nn\.modules\.linear\.Linear, "
        r"which takes code to read: no such code runs here; save the state_dict\(\) of the module instead$"
    )
    with pytest.raises(FileFormatError, match=message):
        demitasse.load(tmp_path / "model.pt")


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


def test_names_that_are_no_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 is of type int; expected names of tensors"):
        demitasse.save({0: torch.ones(2)}, tmp_path / "model.demi")  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())


class Narrow(io.RawIOBase):
    """A raw stream that takes a few bytes at once, up to a limit."""

    def __init__(self, limit: int, at_once: int | None = 7) -> None:
        self.content, self.limit, self.at_once = bytearray(), limit, at_once

    def writable(self) -> bool:
        return True

    def write(self, data) -> int | None:  # type: ignore[no-untyped-def, override]
        if self.at_once is None:
            return None
        taken = bytes(data[: min(self.at_once, self.limit - len(self.content))])
        self.content += taken
        return len(taken)


@each_form
def test_a_stream_that_takes_little_at_once_gets_all(form: str) -> None:
    state = {"w": torch.arange(50.0)}
    whole, narrow = io.BytesIO(), Narrow(1 << 20)
    assert demitasse.save(state, narrow, format=form) == demitasse.save(state, whole, format=form)  # type: ignore[arg-type]
    assert bytes(narrow.content) == whole.getvalue()
    for full in (Narrow(20), Narrow(20, at_once=None)):
        with pytest.raises(WriteError, match=r"data: cannot be written: it took (20|0) of [0-9,]+ bytes"):
            demitasse.save(state, full, format=form)  # type: ignore[arg-type]


def test_a_name_that_safetensors_keeps_for_itself(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"__metadata__: this name is reserved in \.safetensors"):
        demitasse.save({"__metadata__": torch.ones(1)}, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*nested tensors")
@pytest.mark.parametrize("form", [".demi", ".safetensors"])
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_is_refused(form: str, layout: torch.layout) -> None:
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)
    with pytest.raises(UsageError, match="w is no dense tensor with values but nested"):
        demitasse.save({"w": nested}, io.BytesIO(), format=form)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.demi"
    state = {"weight": torch.ones(8, 2), "bias": torch.ones(8)}
    demitasse.save(state, path)
    closed = io.BytesIO()
    closed.close()
    file = demitasse.open(path)
    file.close()
    with path.open() as text, path.open("rb") as reading, (tmp_path / "x").open("wb") as writing:
        for call, message in (
            (lambda: demitasse.load(path, into=nn.LazyLinear(8)), "weight of the module has no shape yet"),
            (lambda: demitasse.load(path, into="x"), r"into is a str; expected a torch\.nn\.Module"),
            (lambda: demitasse.load(path, device="foo"), "device is 'foo'; expected one such as 'cpu'"),
            (lambda: demitasse.open(path, device=1.5), "device is a float; expected one such as 'cpu'"),
            (lambda: demitasse.open(path, limit="a"), "limit is 'a'; expected a whole number, 0 or more"),
            (lambda: demitasse.open(path, limit=-1), "limit is -1; expected a whole number, 0 or more"),
            (lambda: demitasse.open(path, threads=0), "threads is 0; expected a whole number, 1 or more"),
            (lambda: demitasse.save(5, path), "found a int to save; expected a module, or tensors by name"),
            (lambda: demitasse.save(state, path, format=3), r"format is 3; expected \.demi or"),
            (lambda: demitasse.save(state, path, smallest="no"), "smallest is 'no'; expected True or False"),
            (lambda: demitasse.save(state, ""), "the path is empty"),
            (lambda: demitasse.save(state, "."), r"\.: is a folder; expected a file"),
            (lambda: demitasse.load(""), "the path is empty"),
            (lambda: demitasse.load(text), "m.demi gives str; open it in binary mode"),
            (lambda: demitasse.load(writing), "x is not open for reading"),
            (lambda: demitasse.load(closed), "data is a closed file; expected one that is open for reading"),
            (lambda: demitasse.save(state, closed, format="pt"), "data is a closed file; expected .* open for writing"),
            (lambda: demitasse.save(state, reading, format="demi"), "m.demi is not open for writing"),
            (lambda: file["bias"], "m.demi is a closed file; open it again"),
            (lambda: list(file.tensors()), "m.demi is a closed file; open it again"),
        ):
            with pytest.raises(UsageError, match=message):
                call()  # type: ignore[no-untyped-call]


def test_a_small_limit_is_named(tmp_path: Path) -> None:
    demitasse.save({"w": torch.ones(8)}, tmp_path / "m.demi")
    with pytest.raises(FileFormatError, match=r"m\.demi: the header takes [0-9]+ bytes; the limit is 3"):
        demitasse.open(tmp_path / "m.demi", limit=3)


def test_what_is_there_but_no_file(tmp_path: Path) -> None:
    loop, pipe = tmp_path / "loop.demi", tmp_path / "pipe.demi"
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    for call in (demitasse.load, demitasse.open):
        for path, message in (
            (loop, r"loop\.demi: cannot be read: Too many levels"),
            (pipe, r"pipe\.demi: is a pipe or a device"),
            (tmp_path, "is a folder; expected a file"),
        ):
            with pytest.raises(FileFormatError, match=message):
                call(path)


@pytest.mark.parametrize("first", [b"\x80\x02", b"\x10\x00"])
def test_a_safetensors_file_cut_short_in_memory_is_known_as_one(first: bytes) -> None:
    begin = first.ljust(8, b"\0")
    for content in (begin, begin + b"{"):
        with pytest.raises(FileFormatError, match=r"data: cannot be read as \.safetensors"):
            demitasse.load(content)
    with pytest.raises(FileFormatError, match="data: 5 bytes, which begin with"):
        demitasse.load(begin[:5])
