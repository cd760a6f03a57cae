"""Nets and solvers whose text is damaged, or asks for too much: a typed error, or a net as it says."""

from __future__ import annotations

import logging
import os
from collections import Counter
from pathlib import Path

import pytest

from demitasse.caffe import schema, sizes
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.training import lr_policy
from demitasse.caffe.training.solver import Solver
from demitasse.caffe.upgrade import upgrade_net
from demitasse.errors import DemitasseError, NetError, PrototxtError
from tests.hostile.mutations import texts
from tests.hostile.nets import NETS, SOLVERS, SOURCES, TINY


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A blob may have a million entries; files are looked for in an empty folder; nothing is logged."""
    monkeypatch.setattr(sizes, "MOST_ENTRIES", 1 << 20)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("demitasse.caffe"), "disabled", True)


def attempt(count: int, seed: int, seeds: list[str], act) -> Counter[str]:
    """Damages texts and acts on them; returns how often it went well, and how often each error was raised."""
    ends: Counter[str] = Counter()
    for index, text in enumerate(texts(seeds, count, seed)):
        try:
            act(text, index)
            ends["well"] += 1
        except DemitasseError as error:
            ends[type(error).__name__] += 1
    return ends


def build(text: str, index: int) -> None:
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"), index % 2)
    assert all(size >= 0 for shape in net.shapes.values() for size in shape)


@pytest.mark.parametrize(
    "seeds", NETS, ids=str.split("small rules axes compressed detector segmenter regions poses trainer v1 v0 sources")
)
def test_the_nets_are_whole_before_they_are_damaged(seeds: str) -> None:
    upgrade_net(prototxt.parse(seeds, schema.NetParameter(), "net"))
    if seeds != SOURCES:  # which have no files
        build(seeds, 1)


def test_damaged_nets() -> None:
    ends = attempt(1200, 0, NETS, build)
    assert ends["well"] > 100
    assert ends["NetError"] > 100
    assert ends["PrototxtError"] > 100


def train(text: str, index: int) -> None:
    Path("solver.prototxt").write_text(text)
    solver = Solver(prototxt.read_solver("solver.prototxt"), "solver.prototxt")
    lr_policy.learning_rate(solver.param, 1000)
    if max(solver.param.test_iter, default=0) < 9 and solver.param.iter_size < 9:
        solver.step(2)


def test_damaged_solvers() -> None:
    Path("net.prototxt").write_text(TINY)
    ends = attempt(400, 1, SOLVERS, train)
    assert ends["well"] > 50
    assert ends["PrototxtError"] > 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_more_damaged_texts(seed: int) -> None:
    Path("net.prototxt").write_text(TINY)
    assert attempt(8000, seed, NETS, build)["well"] > 500
    assert attempt(3000, seed, SOLVERS, train)["well"] > 300


INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 dim: 1 dim: 1 } } }'
LAYER = 'layer { name: "y" type: "%s" bottom: "x" top: "y" %s }'


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("InnerProduct", "inner_product_param { num_output: 4000000000 }"),
        ("Convolution", "convolution_param { num_output: 4000000000 kernel_size: 1 }"),
        ("Convolution", "convolution_param { num_output: 1 kernel_size: 4000000000 }"),
        ("Convolution", "convolution_param { num_output: 1 kernel_size: 1 pad: 100000 }"),
        ("Convolution", "convolution_param { num_output: 1 kernel_size: 1 pad: 4294967295 }"),
        ("Convolution", "convolution_param { num_output: 900000 kernel_size: 1 pad: 3 }"),
        ("Pooling", "pooling_param { kernel_size: 4000000000 pad: 3999999999 }"),
        ("Pooling", "pooling_param { kernel_size: 100000 pad: 99999 }"),
        ("DNSInnerProduct", "inner_product_param { num_output: 4000000000 }"),
        ("Reshape", "reshape_param { shape { dim: -2 } }"),
        ("Reshape", "reshape_param { shape { dim: 9223372036854775807 dim: 9223372036854775807 } }"),
        ("Unpooling", "unpooling_param { kernel_size: 4000000000 unpool_size: 4000000000 }"),
        ("ImResize", "imresize_param { factor: 1e9 }"),
        ("Nms", "nms_param { num_parts: 1 max_peaks: 4294967295 }"),
        ("Slice", 'top: "z" slice_param { slice_point: 4000000000 }'),
    ],
)
def test_layers_that_ask_for_too_much(kind: str, settings: str) -> None:
    with pytest.raises(NetError, match=r"layer 'y' \(net\)"):
        build(INPUT + LAYER % (kind, settings), 0)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("dim: -3", r"top 'x' has the shape \[-3\]; expected sizes of 0 or more"),
        ("dim: 9223372036854775807 dim: 9223372036854775807", "entries; expected at most 1048576"),
        (2000 * "dim: 2 ", "top 'x' has 2000 axes; expected at most 32"),
        ("dim: 0 dim: -1", "expected sizes of 0 or more"),
    ],
)
@pytest.mark.parametrize("kind", ["Input", "DummyData"])
def test_sources_that_ask_for_too_much(kind: str, shape: str, message: str) -> None:
    param = "input_param" if kind == "Input" else "dummy_data_param"
    text = f'layer {{ name: "x" type: "{kind}" top: "x" {param} {{ shape {{ {shape} }} }} }}'
    with pytest.raises(NetError, match=message):
        build(text, 0)


def test_a_blob_must_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "_memory", lambda: 1000)
    sizes.check_size((250,), "blob")
    with pytest.raises(NetError, match=r"blob of shape \[251\] needs 1004 bytes; this machine has 1000"):
        sizes.check_size((251,), "blob")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("test_iter: 0 test_interval: 1", "test_iter is 0; expected 1 or more"),
        ("test_iter: -1 test_interval: 1", "test_iter is -1"),
        ("iter_size: 0", "iter_size"),
        ("iter_size: -2147483648", "iter_size"),
    ],
)
def test_solvers_that_make_no_sense(setting: str, message: str) -> None:
    Path("net.prototxt").write_text(TINY)
    text = f'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" solver_mode: CPU {setting}'
    with pytest.raises(DemitasseError, match=message):
        train(text, 0)


@pytest.mark.parametrize("field", ["net", "train_net", "snapshot_prefix"])
def test_names_that_no_file_can_have(field: str) -> None:
    Path("net.prototxt").write_text(TINY)
    others = "" if "net" in field else 'net: "net.prototxt"'
    text = f'{others} {field}: "a\\000b" base_lr: 0.1 lr_policy: "fixed" solver_mode: CPU'
    with pytest.raises(DemitasseError, match=r"a.*b"):
        train(text, 0)
    assert os.listdir() == ["net.prototxt", "solver.prototxt"]


@pytest.mark.parametrize("source", ["data_param", "hdf5_data_param", "image_data_param"])
def test_sources_of_names_that_no_file_can_have(source: str) -> None:
    kind = {"data_param": "Data", "hdf5_data_param": "HDF5Data"}.get(source, "ImageData")
    backend = "backend: LMDB" if kind == "Data" else ""
    text = f'layer {{ name: "d" type: "{kind}" top: "d" {source} {{ source: "a\\000b" batch_size: 1 {backend} }} }}'
    with pytest.raises(DemitasseError, match="layer 'd'"):
        build(text, 0)


@pytest.mark.parametrize("opening", ["layer {", "[", "{", "layer: [", "layer < ", "input: [", "layer { blobs {"])
def test_endless_nesting(opening: str) -> None:
    with pytest.raises(PrototxtError, match="net:"):
        build(opening * 100000, 0)


def test_what_is_left_of_nothing_may_be_too_much() -> None:
    nothing = INPUT.replace("dim: 1 dim: 1 dim: 1 dim: 1", "dim: 4000000000 dim: 0")
    with pytest.raises(NetError, match=r"top 'y' of shape .4000000000. has 4000000000 entries"):
        build(nothing + LAYER % ("Reduction", "reduction_param { axis: 1 }"), 0)


def test_many_layers_are_many() -> None:
    build(INPUT + "".join(f'layer {{ name: "r{i}" type: "ReLU" bottom: "x" top: "x" }}' for i in range(500)), 0)
