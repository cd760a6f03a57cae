"""ONNX models into .demi files and out again: the same graph, and every value."""

from __future__ import annotations

import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import demitasse
from demitasse import examples
from demitasse.caffe.net import Net
from demitasse.errors import DemitasseError, FileFormatError, UsageError, WeightsError
from demitasse.export import export
from demitasse.formats import FORMATS, pack, unpack
from demitasse.formats.onnx import _TYPES
from demitasse.zoo.models.base import MODELS
from tests.methods.playground import net

# of PyTorch's exporters, the old one, which is quick, and the new one
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402  (after the check that it is installed)


def exported(path: Path, model: torch.nn.Module, *example: torch.Tensor, **settings: Any) -> Path:
    """Writes a module as PyTorch's exporter does."""
    torch.onnx.export(model.eval(), example, path, verbose=False, **settings)
    return path


def values(model: Any) -> dict[str, tuple[int, tuple[int, ...], bytes]]:
    """Returns name -> type, shape and bytes of all initializers."""
    return {
        each.name: (each.data_type, tuple(each.dims), numpy_helper.to_array(each).tobytes())
        for each in model.graph.initializer
    }


def without_values(model: Any) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for each in copy.graph.initializer:
        for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
            each.ClearField(field)
    return bytes(copy.SerializeToString(deterministic=True))


def through(path: Path, folder: Path) -> Any:
    """Packs and unpacks a model; returns what comes out, which must be a valid one."""
    header = pack(path, folder / "model.demi")
    assert unpack(folder / "model.demi", folder / "back.onnx") == []
    onnx.checker.check_model(str(folder / "back.onnx"))
    found = onnx.load(folder / "back.onnx")
    assert {entry.name for entry in header.entries} >= {each.name for each in found.graph.initializer}
    return found


def same_outputs(first: Path, second: Path, feed: dict[str, np.ndarray[Any, Any]]) -> bool:
    """Returns whether onnxruntime computes the same from both, bit for bit."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    both = [
        runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, feed)
        for path in (first, second)
    ]
    return all(np.array_equal(*pair) for pair in zip(*both, strict=True))


def test_a_model_of_pytorch_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = exported(tmp_path / "net.onnx", net(), torch.randn(2, 1, 8, 8), dynamo=False, input_names=["x"])
    given, found = onnx.load(path), through(path, tmp_path)
    assert values(found) == values(given)
    assert without_values(found) == without_values(given)
    feed = {"x": np.random.default_rng(0).standard_normal((2, 1, 8, 8), np.float32)}
    assert same_outputs(path, tmp_path / "back.onnx", feed)


def test_values_in_other_files_come_back_in_one(tmp_path: Path) -> None:
    path = exported(tmp_path / "net.onnx", net(), torch.randn(2, 1, 8, 8), dynamo=False)
    given, folder = onnx.load(path), tmp_path / "parts"
    folder.mkdir()
    onnx.save_model(onnx.load(path), folder / "net.onnx", save_as_external_data=True, size_threshold=0)
    assert len(list(folder.iterdir())) > 1
    assert values(through(folder / "net.onnx", tmp_path)) == values(given)
    with pytest.raises(FileFormatError, match=r"^data: the values of .* are in another file; give the path"):
        demitasse.load((folder / "net.onnx").read_bytes(), format="onnx")
    for other in folder.glob("[!n]*"):
        other.unlink()
    with pytest.raises(FileFormatError, match=r"net\.onnx: the values stored in other files cannot be read"):
        pack(folder / "net.onnx", tmp_path / "x.demi")


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "link"])
def test_a_model_reads_no_file_outside_of_its_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[16], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    onnx.save_model(of_initializers(weight), folder / "model.onnx")
    with pytest.raises(FileFormatError, match=r"model\.onnx: the values stored in other files cannot be read"):
        demitasse.load(folder / "model.onnx")


def of_initializers(*tensors: Any, nodes: tuple[Any, ...] = ()) -> Any:
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = nodes or (helper.make_node("Identity", [tensors[0].name], ["y"]),)
    return helper.make_model(helper.make_graph(list(nodes), "g", [], [output], list(tensors)))


@pytest.mark.parametrize("number", _TYPES, ids=[each.name for each in _TYPES.values()])
@pytest.mark.parametrize("raw", [False, True])
def test_every_type_whether_raw_or_not(number: int, raw: bool, tmp_path: Path) -> None:
    if number not in TensorProto.DataType.values():
        pytest.skip("this version of onnx does not have the type")
    dtype = _TYPES[number]
    most = 2 if dtype.name == "bool" else 256
    size = 12 * dtype.size << dtype.complex
    data = np.random.default_rng(number).integers(0, most, size).astype(np.uint8).tobytes()
    tensor = TensorProto(name="w", data_type=number, dims=[3, 4], raw_data=data)
    if not raw:
        tensor = helper.make_tensor("w", number, [3, 4], numpy_helper.to_array(tensor).reshape(-1).tolist())
        data = demitasse_bits(tensor)
    onnx.save_model(of_initializers(tensor), tmp_path / "a.onnx")
    pack(tmp_path / "a.onnx", tmp_path / "a.demi", signed_zeros=True)
    unpack(tmp_path / "a.demi", tmp_path / "b.onnx")
    (found,) = onnx.load(tmp_path / "b.onnx").graph.initializer
    assert (found.data_type, list(found.dims), found.raw_data) == (number, [3, 4], data)


def demitasse_bits(tensor: Any) -> bytes:
    """Returns the bytes that onnx itself gives the values of a tensor that is not raw."""
    return bytes(numpy_helper.to_array(tensor).tobytes())


def test_constants_branches_and_what_stays_in_the_graph(tmp_path: Path) -> None:
    def array(name: str, size: int, number: float) -> Any:
        return numpy_helper.from_array(np.full(size, number, np.float32), name)

    def branch(name: str, number: float) -> Any:
        output = helper.make_tensor_value_info(f"{name}.y", TensorProto.FLOAT, [100])
        node = helper.make_node("Identity", ["w"], [f"{name}.y"])
        return helper.make_graph([node], name, [], [output], [array("w", 100, number)])

    model = of_initializers(
        numpy_helper.from_array(np.array(True), "flag"),
        helper.make_tensor("words", TensorProto.STRING, [2], [b"one", b"two"]),
        helper.make_tensor("small", TensorProto.INT4, [3], [1, -2, 3]),
        numpy_helper.from_array(np.zeros((0, 3), np.float32), "none"),
        nodes=(
            helper.make_node("Constant", [], ["long"], value=array("long", 100, 1.5)),
            helper.make_node("Constant", [], ["short"], value=array("short", 2, 2.5)),
            helper.make_node("If", ["flag"], ["y"], then_branch=branch("a", 1), else_branch=branch("b", 2)),
        ),
    )
    onnx.save_model(model, tmp_path / "a.onnx")
    header = pack(tmp_path / "a.onnx", tmp_path / "a.demi")
    assert [entry.name for entry in header.entries] == ["flag", "none", "long", "w"]
    unpack(tmp_path / "a.demi", tmp_path / "b.onnx")
    assert onnx.load(tmp_path / "b.onnx") == model


def test_a_models_file_is_as_small_as_its_caffemodels(shared: Path, tmp_path: Path) -> None:
    from demitasse.cli import main

    weights = shared / "models/caffe_lenet5_sparse.caffemodel"
    definition = Path(demitasse.__file__).parent / "examples/lenet5/deploy.prototxt"
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["export", str(definition), str(weights), str(tmp_path / "net.onnx")])
    pack(weights, tmp_path / "caffe.demi")
    found = through(tmp_path / "net.onnx", tmp_path)
    graph = len(zlib.compress(without_values(found), 9))
    assert (tmp_path / "model.demi").stat().st_size <= 1.15 * (tmp_path / "caffe.demi").stat().st_size + graph
    feed = {"data": np.random.default_rng(0).standard_normal((1, 1, 28, 28), np.float32)}
    assert same_outputs(tmp_path / "net.onnx", tmp_path / "back.onnx", feed)


def by_demitasse(path: Path, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Exports an example's net with random weights; returns inputs."""
    torch.manual_seed(0)
    net = Net.from_file(Path(examples.__file__).parent / name / "deploy.prototxt")
    for layer in net.named_layers().values():
        if layer.spec.type == "BatchNorm":
            layer.mean.normal_(std=0.1)
            layer.variance.uniform_(1, 3)
            layer.factor.fill_(2)
    export(net, path)
    rng = np.random.default_rng(0)
    return {each: rng.standard_normal((1, *net.shapes[each][1:]), np.float32) for each in net.inputs}


def by_torch(path: Path, name: str) -> dict[str, np.ndarray[Any, Any]]:
    torch.manual_seed(0)
    model = MODELS[name](**({"layers": 2, "width": 64} if name == "gpt" else {}))
    example = torch.randint(65, (1, 32)) if name == "gpt" else torch.randn(1, 3, 224, 224)
    exported(path, model, example, dynamo=True, input_names=["x"])
    return {"x": example.numpy()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "name"),
    [(by_demitasse, "resnet50"), (by_demitasse, "squeezenet")]
    + [(by_torch, n) for n in ("resnet50", "squeezenet", "gpt")],
)
def test_whole_nets_compute_the_same(write: Any, name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    feed = write(path, name)
    given, found = onnx.load(path), through(path, tmp_path)
    assert values(found) == values(given)
    assert without_values(found) == without_values(given)
    assert same_outputs(path, tmp_path / "back.onnx", feed)


def test_tensors_by_name(tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    onnx.save_model(of_initializers(numpy_helper.from_array(weight, "w")), tmp_path / "a.onnx")
    assert demitasse.load(tmp_path / "a.onnx")["w"].tolist() == weight.tolist()  # type: ignore[index]
    with pytest.raises(UsageError, match=r"an \.onnx file needs a graph, which these tensors do not have"):
        demitasse.save({"w": torch.zeros(2)}, tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()


def test_tensors_of_another_model_are_refused(tmp_path: Path) -> None:
    onnx.save_model(of_initializers(numpy_helper.from_array(np.zeros((2, 3), np.float32), "w")), tmp_path / "a.onnx")
    pack(tmp_path / "a.onnx", tmp_path / "a.demi")
    with demitasse.open(tmp_path / "a.demi") as file:
        graph = dict(file.metadata)
    for state, message in (
        ({}, r"^w is missing; the graph needs it with shape \[2, 3\]"),
        ({"w": torch.zeros(3, 2)}, r"^w has type float32 and shape \[3, 2\]; the graph needs float32 and \[2, 3\]"),
        ({"w": torch.zeros(2, 3).half()}, r"^w has type float16 .*; the graph needs float32"),
        ({"w": torch.zeros(2, 3), "v": torch.zeros(1)}, "^v is not in the graph"),
    ):
        demitasse.save(state, tmp_path / "b.demi", metadata=graph)
        with pytest.raises(WeightsError, match=message):
            unpack(tmp_path / "b.demi", tmp_path / "b.onnx")
    demitasse.save({"w": torch.zeros(2, 3)}, tmp_path / "b.demi", metadata={"onnx": "\x08"})
    with pytest.raises(FileFormatError, match="metadata 'onnx' is not the graph of an ONNX model"):
        unpack(tmp_path / "b.demi", tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()


def test_damaged_models_end_in_typed_errors(tmp_path: Path) -> None:
    model = of_initializers(numpy_helper.from_array(np.arange(50, dtype=np.float32), "w"))
    content, rng = model.SerializeToString(), np.random.default_rng(0)
    for cut in range(len(content)):
        with pytest.raises(FileFormatError):
            demitasse.load(content[:cut], format="onnx")
    for _ in range(500):
        broken = bytearray(content)
        for place in rng.integers(0, len(broken), 3):
            broken[place] = rng.integers(0, 256)
        with suppress(DemitasseError):
            demitasse.load(bytes(broken), format="onnx")
    with pytest.raises(FileFormatError, match="there is no such file"):
        demitasse.load(tmp_path / "missing.onnx")


def test_without_the_package_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "onnx" in FORMATS
    with pytest.raises(UsageError, match=r"pip install 'demitasse\[onnx\]'"):
        demitasse.load(tmp_path / "a.onnx")
