"""Batches that are made ahead: the same for any number of threads, and nothing is left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.images.codec import encode
from demitasse.caffe.sources import SOURCES, Source
from demitasse.caffe.sources.store import write_database
from demitasse.caffe.text import prototxt
from demitasse.caffe.training.solver import Solver
from demitasse.errors import DataError

COUNT = 13
TRANSFORM = "crop_size: 5 mirror: true scale: 0.5"
# of SSD: images are changed at random before the crop
CHANGES = """resize_param { height: 8 width: 7 interp_mode: LINEAR interp_mode: AREA }
    noise_param { saltpepper: true saltpepper_param { fraction: 0.3 value: 9 } }"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with 13 images, in files with a list and a window file, and in databases, one of them with boxes."""
    random = np.random.default_rng(0)
    records, annotated, lines, windows = [], [], "", ""
    for index in range(COUNT):
        content = encode(random.integers(0, 256, (3, 9, 8), np.uint8), "png")
        (tmp_path / f"{index}.png").write_bytes(content)
        datum = schema.Datum(data=content, encoded=True, label=index)
        records.append((b"%08d" % index, datum.SerializeToString()))
        boxes = schema.AnnotatedDatum(datum=datum, type=schema.AnnotatedDatum.BBOX)
        box = schema.NormalizedBBox(xmin=0.1, ymin=0.2, xmax=0.7, ymax=0.8)
        boxes.annotation_group.add(group_label=index).annotation.add(bbox=box)
        annotated.append((b"%08d" % index, boxes.SerializeToString()))
        lines += f"{index}.png {index}\n"
        windows += f"# {index}\n{index}.png\n3 9 8\n2\n{index + 1} 0.9 1 1 6 7\n3 0.2 0 2 7 8\n"
    (tmp_path / "list").write_text(lines)
    (tmp_path / "windows").write_text(windows)
    for backend in ("lmdb", "leveldb") if find_spec("plyvel") else ("lmdb",):
        write_database(tmp_path / backend, records, backend)
    write_database(tmp_path / "boxes", annotated, "lmdb")
    return tmp_path


LAYERS = {
    "lmdb": 'type: "Data" data_param {{ source: "{0}/lmdb" batch_size: 4 backend: LMDB rand_skip: 9 }}',
    "changed": 'type: "Data" data_param {{ source: "{0}/lmdb" batch_size: 4 backend: LMDB }}',
    "boxes": 'type: "AnnotatedData" data_param {{ source: "{0}/boxes" batch_size: 4 backend: LMDB }} '
    "annotated_data_param {{ batch_sampler {{ sampler {{ min_scale: 0.5 }} max_sample: 1 }} }}",
    "leveldb": 'type: "Data" data_param {{ source: "{0}/leveldb" batch_size: 4 rand_skip: 9 }}',
    "files": 'type: "ImageData" image_data_param {{ source: "{0}/list" root_folder: "{0}/" batch_size: 5 '
    "new_height: 7 new_width: 9 shuffle: true }}",
    "windows": 'type: "WindowData" window_data_param {{ source: "{0}/windows" root_folder: "{0}/" batch_size: 6 '
    "context_pad: 1 }}",
}
KINDS = [pytest.param(kind, marks=pytest.mark.leveldb if kind == "leveldb" else ()) for kind in LAYERS]


def layer(kind: str, folder: Path) -> str:
    transform = f"{CHANGES} {TRANSFORM}" if kind in ("changed", "boxes") else TRANSFORM
    tops = 'top: "data" top: "label"'
    return f'layer {{ name: "d" {tops} transform_param {{ {transform} }} {LAYERS[kind].format(folder)} }}'


def source(kind: str, folder: Path, workers: int) -> Source:
    spec = prototxt.parse(layer(kind, folder), schema.NetParameter(), "net").layer[0]
    found = SOURCES[spec.type](spec, schema.TRAIN)
    found.workers = workers
    return found


def assert_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while any(thread.name.startswith(("plan", "make")) for thread in threading.enumerate()):
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_batches_do_not_depend_on_the_number_of_workers(kind: str, workers: int, data: Path) -> None:
    alone, ahead = source(kind, data, 0), source(kind, data, workers)
    assert alone.shapes == ahead.shapes
    for seed in (3, 4):
        alone.seed(seed)
        ahead.seed(seed)
        for _ in range(9):
            assert_equal(ahead.next_batch(), alone.next_batch())
            assert ahead.state() == alone.state()
    alone.close()
    ahead.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (2, 3)])
def test_a_state_is_that_behind_the_last_batch_read(kind: str, before: int, after: int, data: Path) -> None:
    unbroken = source(kind, data, before)
    unbroken.seed(11)
    for _ in range(5):
        unbroken.next_batch()
    state = json.loads(json.dumps(unbroken.state()))
    resumed = source(kind, data, after)
    resumed.next_batch()
    resumed.restore(state)
    assert resumed.state() == state
    for _ in range(5):
        assert_equal(resumed.next_batch(), unbroken.next_batch())
    unbroken.restore(state)
    resumed.restore(state)
    assert_equal(resumed.next_batch(), unbroken.next_batch())
    unbroken.close()
    resumed.close()


def test_the_workers_may_change_between_batches(data: Path) -> None:
    alone, changing = source("files", data, 0), source("files", data, 2)
    for workers in (2, 0, 0, 1, 3):
        changing.workers = workers
        assert_equal(changing.next_batch(), alone.next_batch())
    changing.close()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_comes_with_its_batch(workers: int, data: Path) -> None:
    (data / "7.png").write_bytes(b"no image")
    spec = layer("files", data).replace("shuffle: true", "")
    found = SOURCES["ImageData"](prototxt.parse(spec, schema.NetParameter(), "net").layer[0], schema.TRAIN)
    found.workers = workers
    assert found.next_batch()[1].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match=r"7\.png: not a readable image"):
        found.next_batch()
    assert found.next_batch()[1].tolist() == [10, 11, 12, 0, 1]
    found.close()


def test_no_more_is_made_ahead_than_asked_for(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = prototxt.parse(layer("lmdb", data), schema.NetParameter(), "net").layer[0]
    spec.data_param.prefetch = 3
    found = SOURCES["Data"](spec, schema.TRAIN)
    planned: list[int] = []
    take = found.next_items
    monkeypatch.setattr(found, "next_items", lambda count: planned.append(count) or take(count))
    found.next_batch()
    time.sleep(0.2)
    assert planned == [4, 4, 4]
    found.close()


def test_a_source_that_is_forgotten_ends_its_threads(data: Path) -> None:
    source("files", data, 3).next_batch()


NET = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 20 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def solver(data: Path, settings: str = "max_iter: 20") -> Path:
    (data / "net.prototxt").write_text(layer("files", data) + NET)
    path = data / "solver.prototxt"
    path.write_text(
        f'net: "{data}/net.prototxt" base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 random_seed: 2 '
        f'solver_mode: CPU snapshot_prefix: "{data}/snap" {settings}'
    )
    return path


def weights(run: Solver) -> np.ndarray:
    return run.net.learnable[0].tensor.detach().numpy().copy()


def close(run: Solver) -> None:
    for found in run.net.sources.values():
        found.close()


def test_training_does_not_depend_on_the_number_of_workers_even_when_resumed(data: Path) -> None:
    param = prototxt.read_solver(solver(data))
    unbroken = Solver(param, workers=0)
    unbroken.step(12)
    for workers in (1, 3):
        first = Solver(param, workers=workers)
        first.step(7)
        state = first.snapshot()
        close(first)
        second = Solver(param, workers=4 - workers)
        second.step(2)
        second.restore(state)
        second.step(5)
        np.testing.assert_array_equal(weights(second), weights(unbroken))
        close(second)


def train(data: Path, workers: int, settings: str) -> subprocess.Popen:
    arguments = ["train", f"-solver={solver(data, settings)}", f"-workers={workers}"]
    code = f"from demitasse.cli import main; main({arguments!r})"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def test_ctrl_c_ends_a_run_with_workers_by_a_snapshot(data: Path) -> None:
    run = train(data, 2, "max_iter: 100000000 snapshot: 100")
    while not list(data.glob("*.solverstate")):
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, log = run.communicate(timeout=60)
    assert run.returncode == 0, log
    assert "Optimization stopped early" in log


def test_a_broken_image_ends_a_run_with_workers(data: Path) -> None:
    (data / "7.png").write_bytes(b"no image")
    run = train(data, 3, "max_iter: 100")
    _, log = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "7.png: not a readable image" in log.splitlines()[-1]
