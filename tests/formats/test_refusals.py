"""Files, tensors and arguments that are refused, each with its reason."""

from __future__ import annotations

import io
import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import FileFormatError, UsageError, WeightsError, WriteError
from tests.methods.playground import Net, net

each_form = pytest.mark.parametrize("form", [".demi", ".safetensors", ".pt"])


def test_another_suffix(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown suffix '\.bin'; expected \.demi or \.caffemodel or"):
        demitasse.save(net(), tmp_path / "model.bin")
    with pytest.raises(UsageError, match="the name has no suffix"):
        demitasse.load(tmp_path / "model")


def test_what_is_no_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lr is a float; expected only tensors"):
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
    with pytest.raises(FileFormatError, match="'w' is of type list; expected a state_dict"):
        demitasse.load(path)


def test_tensors_of_another_module(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for state, message in (
        ({"fc.weight": torch.ones(1)}, r"no tensor 'conv\.bias'"),
        ({**Net().state_dict(), "extra": torch.ones(1)}, "the module has no tensor 'extra'"),
        ({**Net().state_dict(), "fc.bias": torch.ones(3)}, r"fc\.bias has shape \(3,\); expected \(10,\)"),
    ):
        demitasse.save(state, path)
        with pytest.raises(WeightsError, match=message):
            demitasse.load(path, into=model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_what_a_packed_file_cannot_hold(tmp_path: Path) -> None:
    for tensor, message in (
        (torch.zeros(2, 2).to_sparse(), "w is a sparse_coo tensor; expected a dense tensor"),
        (torch.zeros(2, device="meta"), "w is a meta tensor; expected a dense tensor"),
        (torch.nn.parameter.UninitializedParameter(), "w has no shape and no values yet"),
        (torch.zeros(1).expand(1 << 40), r"w of shape \(1099511627776,\) expands 4 bytes to 4,398,046,511,104"),
    ):
        for form in (".demi", ".safetensors"):
            with pytest.raises(UsageError, match=message):
                demitasse.save({"w": tensor}, tmp_path / f"model{form}")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
@pytest.mark.parametrize("form", [".demi", ".safetensors"])
def test_a_quantized_tensor_is_refused(tmp_path: Path, form: str) -> None:
    tensor = torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8)
    with pytest.raises(UsageError, match=r"w (has type qint8|is a quantized tensor; expected a dense tensor)"):
        demitasse.save({"w": tensor}, tmp_path / f"model{form}")
    assert not list(tmp_path.iterdir())


def test_what_is_no_file(tmp_path: Path) -> None:
    for call, message in (
        (lambda: demitasse.save(net(), io.BytesIO()), "the name has no suffix; .* or the format"),
        (lambda: demitasse.save(net(), io.BytesIO(), format="zip"), "unknown format 'zip'; expected demi or"),
        (lambda: demitasse.save(net(), io.StringIO(), format="pt"), "is open in text mode; open it in binary mode"),
        (lambda: demitasse.save(net(), 3), "path is a int; expected a path, or a file"),  # type: ignore[arg-type]
        (lambda: demitasse.load(io.StringIO("x")), r"read\(\) returns str; open it in binary mode"),  # type: ignore[arg-type]
        (lambda: demitasse.load(3), "found a int; expected a path, bytes"),  # type: ignore[arg-type]
        (lambda: demitasse.load(b"demi", key="a"), r"\.demi files have no keys, found key 'a'"),
    ):
        with pytest.raises(UsageError, match=message):
            call()
    with pytest.raises(
        FileFormatError, match="data: found 7 bytes that begin with b'neither'; expected the contents of"
    ):
        demitasse.load(b"neither")
    with pytest.raises(WriteError, match=r"model\.pt: cannot be written: there is no folder"):
        demitasse.save(net(), tmp_path / "missing/model.pt")


@each_form
def test_names_and_metadata_are_text(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"model{form}"
    for state, message in (
        ({0: torch.ones(1)}, "key 0 is of type int; expected tensors by name"),
        ({"\ud800": torch.ones(1)}, r"'\\ud800' cannot be encoded in UTF-8"),
    ):
        with pytest.raises(UsageError, match=message):
            demitasse.save(state, path)  # type: ignore[arg-type]
    for metadata in ({"epoch": 3}, {3: "epoch"}, {"a": None}, {"a": "\ud800"}, "text"):
        if form != ".pt":
            with pytest.raises(UsageError, match=r"metadata .*; expected text by key"):
                demitasse.save(net(), path, metadata=metadata)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_options_of_other_forms(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.pt files do not support metadata; expected a \.demi file"):
        demitasse.save(net(), tmp_path / "model.pt", metadata={"a": "b"})
    demitasse.save(net(), tmp_path / "model.safetensors", metadata={"a": "b"})
    assert not list(tmp_path.glob("*.pt"))


def test_a_packed_file_that_asks_for_too_much(tmp_path: Path) -> None:
    demitasse.save({"w": torch.zeros(1000, 1000)}, tmp_path / "zeros.demi")
    with pytest.raises(FileFormatError, match=r"zeros\.demi: header: tensors need 4,000,000 bytes .* limit is 1,000"):
        demitasse.open(tmp_path / "zeros.demi", limit=1_000)


def test_names_that_are_no_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="key 0 is of type int; expected tensors by name"):
        demitasse.save({0: torch.ones(2)}, tmp_path / "model.demi")  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())


def test_a_name_that_safetensors_keeps_for_itself(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"__metadata__: this name is reserved in \.safetensors"):
        demitasse.save({"__metadata__": torch.ones(1)}, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*nested tensors")
@pytest.mark.parametrize("form", [".demi", ".safetensors"])
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_is_refused(form: str, layout: torch.layout) -> None:
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)
    with pytest.raises(UsageError, match="w is a nested tensor; expected a dense tensor"):
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
            (lambda: demitasse.load(path, device="foo"), "device is 'foo'; expected a device such as 'cpu'"),
            (lambda: demitasse.open(path, device=1.5), "device is a float; expected a device such as 'cpu'"),
            (lambda: demitasse.open(path, limit="a"), "limit is 'a'; expected a whole number, 0 or more"),
            (lambda: demitasse.open(path, limit=-1), "limit is -1; expected a whole number, 0 or more"),
            (lambda: demitasse.open(path, threads=0), "threads is 0; expected a whole number, 1 or more"),
            (lambda: demitasse.save(5, path), "model is a int; expected a module, or tensors by name"),
            (lambda: demitasse.save(state, path, format=3), "format is 3; expected demi or"),
            (lambda: demitasse.save(state, path, smallest="no"), "smallest is 'no'; expected True or False"),
            (lambda: demitasse.save(state, ""), "the path is empty"),
            (lambda: demitasse.save(state, "."), r"\.: found a folder; expected a file"),
            (lambda: demitasse.load(""), "the path is empty"),
            (lambda: demitasse.load(text), r"m.demi: read\(\) returns str; open it in binary mode"),
            (lambda: demitasse.load(writing), "x is not open for reading"),
            (lambda: demitasse.load(closed), "data is closed; expected a file that is open for reading"),
            (lambda: demitasse.save(state, closed, format="pt"), "data is closed; expected .* open for writing"),
            (lambda: demitasse.save(state, reading, format="demi"), "m.demi is not open for writing"),
            (lambda: file["bias"], "m.demi is a closed file; open it again"),
            (lambda: list(file.tensors()), "m.demi is a closed file; open it again"),
        ):
            with pytest.raises(UsageError, match=message):
                call()  # type: ignore[no-untyped-call]


def test_a_small_limit_is_named(tmp_path: Path) -> None:
    demitasse.save({"w": torch.ones(8)}, tmp_path / "m.demi")
    with pytest.raises(FileFormatError, match=r"m\.demi: the header needs [0-9]+ bytes; the limit is 3"):
        demitasse.open(tmp_path / "m.demi", limit=3)


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
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


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file of Linux")
def test_a_file_without_an_end() -> None:
    with pytest.raises(FileFormatError, match=r"^/proc/self/mem: cannot be read: Invalid argument"):
        demitasse.open("/proc/self/mem")


@pytest.mark.parametrize("content", [bytes(4096), pickle.dumps({"a": 1}), pickle.dumps([1, 2]), b"hello world\n" * 50])
def test_what_is_no_file_of_torch_is_told_without_advice_to_run_its_code(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        demitasse.load(path)
    assert (
        str(caught.value)
        == f"{path}: cannot be read as .pt: it is cut short, damaged, or was not written by torch.save"
    )


def test_half_a_file_of_torch(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"w": torch.ones(99)}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FileFormatError, match=r"cannot be read as \.pt: it is cut short"):
        demitasse.load(path)


def test_a_tensor_that_torch_cannot_save_is_named() -> None:
    state = {"fine": torch.ones(2), "odd": torch.empty(4, dtype=torch.uint4)}
    with pytest.raises(UsageError, match="odd: torch cannot save a strided uint4 tensor"):
        demitasse.save(state, io.BytesIO(), format="pt")


def test_a_prototxt_that_is_not_there_is_refused_even_where_it_is_not_needed(tmp_path: Path) -> None:
    demitasse.save({"w": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(FileFormatError, match=r"missing\.prototxt: there is no such file"):
        demitasse.pack(tmp_path / "a.safetensors", tmp_path / "a.demi", net=tmp_path / "missing.prototxt")
    assert not (tmp_path / "a.demi").exists()
