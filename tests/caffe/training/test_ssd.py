"""An SSD of the examples learns to find rectangles, from the command that makes its data to the boxes it finds."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from demitasse import dnn, examples
from demitasse.caffe import schema
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.create_annoset import AnnotationOptions, create_annoset
from demitasse.caffe.tools.image_datums import ImageOptions
from demitasse.caffe.training.solver import Solver
from tests.shapes import CLASSES, draw_shapes


def prepared(folder: Path, train: int, test: int) -> schema.SolverParameter:
    """Makes the databases and the nets in the working directory, and returns the solver."""
    shapes = folder / "shapes"
    for seed, (split, count) in enumerate((("train", train), ("test", test))):
        draw_shapes(shapes, split, count, seed)
        options = AnnotationOptions("detection", "xml", shapes / "labelmap.prototxt", check_label=True)
        path = folder / f"shapes_{split}_lmdb"
        assert create_annoset(shapes, shapes / f"{split}.txt", path, options, ImageOptions(encoded=True)) == count
    examples.copy_example("ssd_small", folder)
    return prototxt.read_solver("ssd_small/solver.prototxt")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_two_iterations_and_a_test(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    param = prepared(tmp_path, 20, 20)
    del param.test_iter[:]
    param.test_iter.append(1)
    solver = Solver(param)
    before = [blob.tensor.clone() for blob in solver.net.learnable]
    with caplog.at_level(logging.INFO, "demitasse.caffe"):
        solver.step(2)
        solver.test_all()
    assert all(np.isfinite(float(loss)) for loss in solver.losses)
    assert not any(torch.equal(blob.tensor, old) for blob, old in zip(solver.net.learnable, before, strict=True))
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines if line.startswith("class")] == ["class1", "class2", "class3"]
    assert any(re.fullmatch(r"    Test net output #0: detection_eval = [\d.e-]+", line) for line in lines)


def test_a_resumed_run_is_the_unbroken_one(tmp_path: Path) -> None:
    param = prepared(tmp_path, 20, 20)
    param.ClearField("test_iter")
    unbroken = Solver(param)
    unbroken.step(2)
    state = unbroken.snapshot()
    unbroken.step(2)
    resumed = Solver(param)
    resumed.restore(state)
    resumed.step(2)
    for one, other in zip(unbroken.net.learnable, resumed.net.learnable, strict=True):
        assert torch.equal(one.tensor, other.tensor)


@pytest.mark.slow
def test_it_learns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    param = prepared(tmp_path, 300, 100)
    solver = Solver(param)
    begin = time.process_time()
    with caplog.at_level(logging.INFO, "demitasse.caffe"):
        solver.solve()
    seconds = time.process_time() - begin
    means = re.findall(r"detection_eval = ([\d.]+)", caplog.text)
    assert float(means[-1]) >= 0.9
    assert seconds < 300
    finds_what_is_there(Path("ssd_small/reference_iter_600.caffemodel"))


def finds_what_is_there(weights: Path) -> None:
    """The trained net finds the rectangle of a picture, by the interface of cv2.dnn."""
    pixels = np.full((64, 64, 3), 120, np.uint8)
    pixels[20:44, 10:40] = (60, 220, 60)
    Image.fromarray(pixels).save("picture.png")
    net = dnn.readNetFromCaffe("ssd_small/deploy.prototxt", str(weights))
    net.setInput(dnn.blobFromImage(pixels[..., ::-1], 1 / 128, (64, 64), (128, 128, 128)))
    best = net.forward()[0, 0, 0]
    assert CLASSES[int(best[1]) - 1] == "green"
    assert best[2] > 0.5
    np.testing.assert_allclose(best[3:], np.array([10, 20, 40, 44]) / 64, atol=0.06)
