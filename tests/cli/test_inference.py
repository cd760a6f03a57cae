"""run and bench: the net of a .demi file, on images and on arrays."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import demitasse
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.weights import save_weights
from demitasse.cli import main
from demitasse.zoo.models import MODELS

TWO = """
layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
layer { name: "conv" type: "Convolution" bottom: "sum" top: "conv"
  convolution_param { num_output: 64 kernel_size: 3 weight_filler { type: "gaussian" } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "gaussian" } } }
"""


IMAGES = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 7 weight_filler { type: "gaussian" std: 0.1 } } }
"""
SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }\n'
CLASSES = ["tench", "great white shark", "a\x1b[31mred", "crane", "crane", "wing", "kwas\u0144y"]
PREPARATION = demitasse.Preparation("bgr", (10, 12), (104, 117, 123), 0.02, (6, 8))

THREADS = min(2, os.cpu_count() or 1)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    return int(stop.value.code or 0)


def packed(text: str, name: str, share: float = 0.05, **settings: object) -> Net:
    torch.manual_seed(0)
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"))
    with torch.no_grad():
        for weight in (p for p in net.parameters() if p.ndim > 1):
            weight.mul_(torch.rand_like(weight) < share)
    save_weights(net, "net.caffemodel")
    Path("net.prototxt").write_text(text)
    demitasse.pack("net.caffemodel", name, net="net.prototxt", definition=True, **settings)  # type: ignore[arg-type]
    return net


def photographs(*sizes: tuple[int, int]) -> list[str]:
    """Writes random photographs of some (height, width); returns their names."""
    names = [f"photo{number}.png" for number in range(len(sizes))]
    for name, size in zip(names, sizes, strict=True):
        pixels = np.random.default_rng(len(name) + size[0]).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(name)
    return names


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_run_on_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in TWO.splitlines() if 'name: "b"' not in line]
    net = packed("\n".join(lines).replace('bottom: "b"', 'bottom: "a"'), "net.demi")
    images = np.random.default_rng(0).standard_normal((4, 3, 9, 9))
    np.save("images.npy", images)
    assert run("run", "net.demi", "images.npy", "--output", "out.npz", "--threads", THREADS) == 0
    with torch.no_grad():
        expected = net({"a": torch.from_numpy(images).float()})["ip"].numpy()
    found = np.load("out.npz")["ip"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    said = capsys.readouterr().out
    assert said == f"ip: shape [4, 5], greatest at {expected.argmax(1).tolist()}\n"
    assert run("run", "net.demi", "images.npy", "--blob", "conv", "--output", "conv.npz") == 0
    assert np.load("conv.npz")["conv"].shape == (4, 64, 7, 7)


def test_run_on_several_arrays() -> None:
    net = packed(TWO, "net.demi")
    arrays = {name: np.random.default_rng(0).integers(0, 255, (2, 3, 9, 9), dtype=np.uint8) for name in "ab"}
    np.savez("images.npz", **arrays)
    assert run("run", "net.demi", "images.npz", "--output", "out.npz") == 0
    with torch.no_grad():
        expected = net({name: torch.from_numpy(array).float() for name, array in arrays.items()})["ip"].numpy()
    np.testing.assert_allclose(np.load("out.npz")["ip"], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_run_on_several_files_of_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    net = packed(IMAGES, "net.demi")
    arrays = [np.random.default_rng(size).standard_normal((size, 3, 6, 8)).astype(np.float32) for size in (2, 3)]
    for number, array in enumerate(arrays):
        np.save(f"{number}.npy", array)
    assert run("run", "net.demi", "0.npy", "1.npy", "--output", "out.npy") == 0
    with torch.no_grad():
        expected = net({"data": torch.from_numpy(np.concatenate(arrays))})["ip"].numpy()
    np.testing.assert_allclose(np.load("out.npy"), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert capsys.readouterr().out == f"ip: shape [5, 7], greatest at {expected.argmax(1).tolist()}\n"


def expected_scores(net: Net, names: list[str], blob: str) -> np.ndarray:
    images = torch.from_numpy(np.stack([PREPARATION(name) for name in names]))
    with torch.no_grad():
        found: np.ndarray = net({"data": images})[blob].numpy()
    return found


def test_run_on_images(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    net = packed(IMAGES + SOFTMAX, "net.demi", share=1, preparation=PREPARATION, classes=CLASSES)
    names = photographs((10, 12), (3, 40), (100, 7))
    monkeypatch.setenv("COLUMNS", "80")
    assert run("run", "net.demi", *names, "--output", "out.npy") == 0
    expected = expected_scores(net, names, "prob")
    np.testing.assert_allclose(np.load("out.npy"), expected, atol=1e-5)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    tables = said.split("photo")[1:]
    for number, (table, row) in enumerate(zip(tables, expected, strict=True)):
        assert table.startswith(f"{number}.png\n")
        lines = [line.strip("│").split("│") for line in table.splitlines() if line.startswith("│")]
        best = np.argsort(-row)[:5]
        assert [cell.strip() for cell, _ in lines] == [CLASSES[index].replace("\x1b", "\\x1b") for index in best]
        assert [cell.strip() for _, cell in lines] == [f"{100 * row[index]:.2f} %" for index in best]


def test_run_on_images_without_softmax_and_names(capsys: pytest.CaptureFixture[str]) -> None:
    net = packed(IMAGES, "net.demi", share=1, preparation=PREPARATION)
    names = photographs((9, 9))
    assert run("run", "net.demi", *names) == 0
    (row,) = expected_scores(net, names, "ip")
    best, shares = np.argsort(-row)[:5], np.exp(row) / np.exp(row).sum()
    said = capsys.readouterr().out
    lines = [line.strip("│").split("│") for line in said.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert cells == [[str(index), f"{100 * shares[index]:.2f} %", f"{row[index]:.4g}"] for index in best]
    assert said.endswith("The net ends without a softmax: the probabilities are the softmax of its scores.\n")


def test_run_on_many_images(capsys: pytest.CaptureFixture[str]) -> None:
    net = packed(IMAGES + SOFTMAX, "net.demi", share=1, preparation=PREPARATION)
    names = photographs(*[(size, 12) for size in range(1, 41)])
    assert run("run", "net.demi", *names, "--output", "out.npz") == 0
    np.testing.assert_allclose(np.load("out.npz")["prob"], expected_scores(net, names, "prob"), atol=1e-5)
    assert capsys.readouterr().out.count("probability") == 40


def test_run_on_images_without_classes(capsys: pytest.CaptureFixture[str]) -> None:
    packed(IMAGES, "net.demi", share=1, preparation=PREPARATION)
    assert run("run", "net.demi", *photographs((9, 9), (3, 3)), "--blob", "conv", "--output", "out.npy") == 0
    assert np.load("out.npy").shape == (2, 4, 4, 6)
    assert capsys.readouterr().out.startswith("conv: shape [2, 4, 4, 6], greatest at [")


def test_an_output_with_several_rows_for_an_image_has_no_classes(capsys: pytest.CaptureFixture[str]) -> None:
    reshape = 'layer { name: "r" type: "Reshape" bottom: "conv" top: "r" reshape_param { shape { dim: -1 dim: 6 } } }\n'
    packed(IMAGES[: IMAGES.index('layer { name: "ip"')] + reshape, "net.demi", share=1, preparation=PREPARATION)
    assert run("run", "net.demi", *photographs((9, 9), (3, 3))) == 0
    assert capsys.readouterr().out.startswith("r: shape [32, 6], greatest at [")


def test_photographs_of_imagenet(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deploy = Path(demitasse.__file__).parent / "examples/squeezenet/deploy.prototxt"
    weights = shared / "models/squeezenet_v1.0_deep_compression.net"
    images = ("--size=256", "--mean=104,117,123", "--classes=names.txt")
    Path("names.txt").write_text("\n".join(f"class {number}" for number in range(1000)))
    assert run("pack", weights, "net.demi", "--net", deploy, "--definition", *images) == 0
    with zipfile.ZipFile(shared / "data/imagenet_sample/images.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::25]
        archive.extractall(members=names)
    lines = (line.split() for line in (shared / "data/imagenet_sample/labels.txt").read_text().splitlines())
    labels = dict(lines)
    capsys.readouterr()
    assert run("run", "net.demi", *names) == 0
    tables = [part.splitlines() for part in re.split(r"(?m)^(?=\S+\.jpg$)", capsys.readouterr().out) if part]
    assert [table[0] for table in tables] == names
    best = [[line.strip("│").split("│")[0].strip() for line in table if line.startswith("│")] for table in tables]
    right = [f"class {labels[Path(name).name]}" for name in names]
    assert sum(answer == found[0] for answer, found in zip(right, best, strict=True)) >= 12
    assert sum(answer in found for answer, found in zip(right, best, strict=True)) >= 15


def test_images_that_cannot_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    packed(IMAGES, "silent.demi")
    packed(IMAGES, "net.demi", preparation=PREPARATION)
    (photo,) = photographs((9, 9))
    np.save("array.npy", np.zeros((1, 3, 6, 8)))
    Path("broken.png").write_bytes(Path(photo).read_bytes()[:50])
    for arguments, code, message in (
        (("silent.demi", photo), 2, "photo0.png: the .demi file does not say how images become inputs; give arrays"),
        (("net.demi", photo, "array.npy"), 2, "found images and arrays; expected images alone, or .npy and .npz"),
        (("net.demi", "broken.png"), 1, "broken.png: not a readable image"),
        (("net.demi", photo, "missing.png"), 1, "missing.png: cannot be read: No such file"),
        (("net.demi", photo, "--output", "out.txt"), 2, "out.txt: expected the name of a file that ends in .npy or"),
        (
            ("net.demi", photo, "--blob", "ip", "--blob", "conv", "--output", "o.npy"),
            2,
            "o.npy: .npy is for one output",
        ),
        (("net.demi", photo, "--threads", 10**6), 2, f"--threads 1000000: this machine has {os.cpu_count()} core"),
    ):
        assert run("run", *arguments) == code, arguments
        said = capsys.readouterr()
        assert message in said.err
        assert said.out == ""


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"input": "grey 28x28 nan"}, "net.demi: metadata 'input': found grey 28x28 nan: expected"),
        ({"input": "bgr 1000000000x1"}, "net.demi: metadata 'input': found bgr 1000000000x1"),
        ({"input": "\x1b[2J"}, r"net.demi: metadata 'input': found \x1b[2J: expected"),
        ({"input": "grey 6x8"}, "photo0.png: images are prepared as [1, 6, 8]; input 'data' of the net has shape"),
        ({"classes": "a\nb"}, "net.demi: metadata 'classes' has 2 names; output ip has 7 classes"),
        ({"classes": "\n" * 2**20}, "net.demi: metadata 'classes': found 1,048,577 names; expected at most"),
        ({"input": "bgr 6x8", "classes": "a"}, "net.demi: metadata 'classes' has 1 names"),
    ],
)
def test_hostile_metadata(metadata: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    packed(IMAGES, "net.demi")
    with demitasse.packed.file.File("net.demi") as file:
        tensors, texts = list(file.tensors()), {**file.header.metadata, **metadata}
    Path("net.demi").write_bytes(demitasse.packed.writer.pack(tensors, texts))
    assert run("run", "net.demi", *photographs((6, 8))) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.strip().isprintable()


def test_a_net_that_gives_nan(capsys: pytest.CaptureFixture[str]) -> None:
    net = packed(IMAGES, "net.demi", preparation=PREPARATION)
    with torch.no_grad():
        net.get_parameter(next(name for name, _ in net.named_parameters())).fill_(float("nan"))
    save_weights(net, "net.caffemodel")
    demitasse.pack("net.caffemodel", "nan.demi", net="net.prototxt", definition=True, preparation=PREPARATION)
    assert run("run", "nan.demi", *photographs((6, 8))) == 0
    assert capsys.readouterr().out.count("nan %") == 5


def test_bench_beside_onnxruntime(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    packed(TWO, "net.demi")
    assert run("bench", "net.demi", "--vs", "onnxruntime", "--batch", 2, "--threads", 1, "--rounds", 3) == 0
    said = capsys.readouterr().out
    assert said.index("sparse weights") < said.index("dense operations") < said.index("onnxruntime")
    assert run("bench", "net.demi", "--vs", "onnxruntime,openvin") == 2
    assert "unknown runtime 'openvin'; did you mean 'openvino'?" in capsys.readouterr().err
    assert run("bench", "net.demi", "--threads", 10**6) == 2
    assert "this machine has" in capsys.readouterr().err


def test_bench_finds_that_a_rival_computes_something_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from demitasse.runtime import rivals

    packed(TWO, "net.demi")
    monkeypatch.setitem(
        rivals.RIVALS._entries, "onnxruntime", lambda path, inputs, threads: lambda: [np.zeros((1, 5), np.float32)]
    )
    assert run("bench", "net.demi", "--vs", "onnxruntime") == 1
    assert "output 'ip' of onnxruntime differs by" in capsys.readouterr().err


def test_bench(capsys: pytest.CaptureFixture[str]) -> None:
    packed(TWO, "net.demi")
    threads = torch.get_num_threads()
    assert run("bench", "net.demi", "--batch", 2, "--threads", THREADS, "--rounds", 3) == 0
    said = capsys.readouterr().out
    assert f"net.demi, batches of 2, {THREADS} thread{'s' * (THREADS > 1)}: medians of 3 rounds" in said
    assert "sparse weights" in said
    assert "dense operations" in said
    assert torch.get_num_threads() == threads


def test_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    packed(TWO, "net.demi")
    np.save("images.npy", np.zeros((1, 3, 9, 9)))
    np.savez("one.npz", a=np.zeros((1, 3, 9, 9)))
    np.savez("small.npz", a=np.zeros((1, 3, 8, 9)), b=np.zeros((1, 3, 9, 9)))
    np.savez("objects.npz", a=np.array([None]), b=np.zeros((1, 3, 9, 9)))
    Path("text.npy").write_text("no array")
    Path("image.png").write_bytes(b"")
    demitasse.save({"w": torch.ones(2, 2)}, "weights.demi")
    for arguments, code, message in (
        (("run", "net.demi", "images.npy"), 1, "images.npy: the net has the inputs a, b; give a .npz file with all"),
        (("run", "net.demi", "one.npz"), 1, "one.npz: there is no array 'b'; found a"),
        (("run", "net.demi", "small.npz"), 1, "small.npz: a has shape [1, 3, 8, 9] of float64; expected numbers of"),
        (("run", "net.demi", "objects.npz"), 1, "objects.npz: cannot be read"),
        (("run", "net.demi", "text.npy"), 1, "text.npy: is no .npy file"),
        (
            ("run", "net.demi", "image.png"),
            2,
            "image.png: the net has the inputs a, b; give a .npz file",
        ),
        (("run", "net.demi", "missing.npy"), 1, "missing.npy"),
        (("run", "weights.demi", "images.npy"), 2, "weights.demi: it contains no definition of the net"),
        (("bench", "weights.demi"), 2, "weights.demi: it contains no definition of the net"),
        (("bench", "missing.demi"), 1, "missing.demi"),
        (("bench", "net.demi", "--batch", 0), 2, "--batch"),
    ):
        assert run(*arguments) == code, arguments
        assert message in capsys.readouterr().err


def test_modules(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    gpt = MODELS["gpt"](width=16, heads=2, layers=1, vocabulary=30, block_size=8).eval()
    tokens = torch.randint(0, 30, (3, 8))
    demitasse.save(gpt, "gpt.demi", example=tokens)
    np.save("tokens.npy", tokens.numpy())
    assert run("run", "gpt.demi", "tokens.npy", "--output", "scores.npy") == 0
    with torch.no_grad():
        np.testing.assert_allclose(np.load("scores.npy"), gpt(tokens).numpy(), rtol=1e-4, atol=1e-5)
    np.save("numbers.npy", tokens.float().numpy())
    capsys.readouterr()
    assert run("run", "gpt.demi", "numbers.npy") == 1
    assert "of float32; expected whole numbers of shape ['n', 8]" in capsys.readouterr().err
    net = MODELS["resnet20"]().eval()
    images = torch.randn(3, 3, 32, 32)
    demitasse.save(net, "net.demi", example=images[:1])
    np.save("images.npy", images.numpy())
    assert run("run", "net.demi", "images.npy", "--output", "scores.npy") == 0
    with torch.no_grad():
        np.testing.assert_allclose(np.load("scores.npy"), net(images).numpy(), rtol=1e-4, atol=1e-4)


class Results(nn.Module):
    """A module with one of several kinds of results."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.linear, self.kind = nn.Linear(8, 8), kind

    def forward(self, rows: Tensor, is_negative: bool = False) -> object:
        found = self.linear(rows)
        if is_negative:
            return -found
        kinds: dict[str, Callable[[], object]] = {
            "a tensor without axes": found.mean,
            "a number": lambda: (found, rows.shape[0]),
            "None": lambda: {"a": found, "nothing": None},
            "bfloat16": lambda: found.bfloat16(),
        }
        return kinds[self.kind]()


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("a tensor without axes", ["0: -?0.\\d+"]),
        ("a number", [r"0: shape \[2, 8\], greatest at .*", "1: 2"]),
        ("None", [r"0: shape \[2, 8\], greatest at .*"]),
        ("bfloat16", [r"0: shape \[2, 8\], greatest at .*"]),
    ],
)
def test_results_that_are_no_tensors_of_numpy(kind: str, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    model, rows = Results(kind).eval(), torch.randn(2, 8)
    demitasse.save(model, "net.demi", example=rows)
    np.save("rows.npy", rows.numpy())
    assert run("run", "net.demi", "rows.npy", "--output", "found.npz") == 0
    found = capsys.readouterr().out.splitlines()
    assert len(found) == len(lines)
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(lines, found, strict=True))
    first = next(each for each in torch.utils._pytree.tree_leaves(model(rows)) if isinstance(each, Tensor))
    np.testing.assert_allclose(np.load("found.npz")["0"], first.detach().float().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_modules_of_other_types(dtype: torch.dtype, capsys: pytest.CaptureFixture[str]) -> None:
    model, rows = nn.Linear(8, 8).to(dtype).eval(), torch.randn(2, 8)
    demitasse.save(model, "net.demi", example=rows.to(dtype))
    np.save("rows.npy", rows.numpy())
    assert run("run", "net.demi", "rows.npy", "--output", "found.npy") == 0
    expected = model(rows.to(dtype)).detach()
    found = np.load("found.npy")
    assert found.dtype == ("float32" if dtype is torch.bfloat16 else str(dtype).removeprefix("torch."))
    np.testing.assert_allclose(found, expected.float().numpy(), rtol=1e-2, atol=1e-2)
    assert run("bench", "net.demi", "--rounds", 1) == 0
    assert "dense operations" in capsys.readouterr().out


def test_an_argument_that_is_a_constant_is_not_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    model, rows = Results("").eval(), torch.randn(2, 8)
    demitasse.save(model, "net.demi", example=(rows, True))
    np.save("rows.npy", rows.numpy())
    assert run("run", "net.demi", "rows.npy", "--output", "found.npy") == 0
    np.testing.assert_allclose(np.load("found.npy"), model(rows, True).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert run("bench", "net.demi", "--rounds", 1, "--batch", 3) == 0


def test_whole_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    demitasse.save(nn.Embedding(4, 3).eval(), "net.demi", example=torch.zeros(2, 5, dtype=torch.int64))
    assert run("bench", "net.demi", "--rounds", 1) == 0
    np.save("far.npy", np.full((1, 5), 4))
    capsys.readouterr()
    assert run("run", "net.demi", "far.npy") == 1
    assert "far.npy: aten.embedding.default cannot be computed from these values: index out" in capsys.readouterr().err


def test_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    demitasse.save(nn.Linear(8, 8).eval(), "net.demi", example=torch.randn(2, 8))
    np.save("none.npy", np.zeros((0, 8), np.float32))
    assert run("run", "net.demi", "none.npy", "--output", "found.npy") == 0
    assert capsys.readouterr().out == "0: shape [0, 8]\n"
    assert np.load("found.npy").shape == (0, 8)


def test_arrays_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    demitasse.save(nn.Linear(8, 8).eval(), "net.demi", example=torch.randn(2, 8))
    np.save("objects.npy", np.array([1, "a", None], object))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 8), }".ljust(117) + b"\n"
    Path("huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    for name, message in (
        ("objects.npy", "objects.npy: cannot be read: it contains Python objects, which could run code"),
        ("huge.npy", "huge.npy: cannot be read: Unable to allocate"),
    ):
        assert run("run", "net.demi", name) == 1
        assert message in capsys.readouterr().err


def test_blobs_of_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    demitasse.save(Results("a number").eval(), "net.demi", example=torch.randn(2, 8))
    np.save("rows.npy", np.zeros((1, 8), np.float32))
    for arguments, message in (
        (["--output", "x.npy"], "x.npy: .npy is for one output; found 0, 1; write .npz"),
        (["--blob", "0"], "net.demi: contains a PyTorch module; --blob names blobs of a Caffe net"),
    ):
        assert run("run", "net.demi", "rows.npy", *arguments) == 2
        assert message in capsys.readouterr().err


def test_a_module_beside_onnxruntime(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    demitasse.save(nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval(), "net.demi", example=torch.randn(2, 8))
    assert run("bench", "net.demi", "--rounds", 1, "--vs", "onnxruntime") == 0
    assert "onnxruntime" in capsys.readouterr().out
