"""What the package itself offers: names, settings, log, timer, ``import caffe``."""

from __future__ import annotations

import importlib
import sys
import time
from types import ModuleType

import pytest
import torch

from demitasse import pycaffe as caffe
from demitasse.errors import UsageError
from demitasse.pycaffe import mode


def test_public_names_are_there():
    assert all(hasattr(caffe, name) for name in caffe.__all__)
    assert (caffe.TRAIN, caffe.TEST) == (0, 1)
    assert caffe.__version__ == "1.0.0"


def test_layer_type_list():
    names = caffe.layer_type_list()
    assert {"Data", "Input", "Convolution", "InnerProduct", "Split", "Python", "DNSConvolution"} <= set(names)
    assert names == sorted(set(names))


def test_timer():
    timer = caffe.Timer()
    assert timer.ms == 0
    timer.start()
    time.sleep(0.02)
    timer.stop()
    measured = timer.ms
    assert 15 < measured < 2000
    assert timer.ms == measured
    timer.start()
    assert timer.ms < measured  # reading stops it


def test_log(capsys: pytest.CaptureFixture[str]):
    caffe.log("unseen")
    caffe.init_log()
    try:
        caffe.log("hello")
        caffe.init_log(1)
        caffe.log("unseen")
        text = capsys.readouterr().err
    finally:
        caffe.init_log(0, False)
    assert text.startswith("I")
    assert text.endswith("] hello\n")
    assert "unseen" not in text
    caffe.log("unseen")
    assert capsys.readouterr().err == ""


def test_modes(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    caffe.set_device(0)
    caffe.set_mode_gpu()
    assert "this machine has no GPU: using the CPU" in caplog.text
    assert mode.current_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    try:
        caffe.set_device(1)
        caffe.set_mode_gpu()
        assert mode.current_device() == torch.device("cuda", 1)
        with pytest.raises(UsageError, match="there is no GPU 2"):
            caffe.set_device(2)
    finally:
        caffe.set_mode_cpu()
        mode._gpu_number = 0
    assert mode.current_device() == torch.device("cpu")


def test_several_solvers_are_said_to_be_impossible():
    assert (caffe.solver_count(), caffe.solver_rank()) == (1, 0)
    caffe.set_multiprocess(True)
    caffe.set_solver_rank(1)
    assert caffe.solver_rank() == 1
    caffe.set_solver_rank(0)
    assert caffe.has_nccl() is False
    for call in (caffe.NCCL.new_uid, lambda: caffe.NCCL(None, b"")):
        with pytest.raises(UsageError, match=r"caffe\.has_nccl\(\) is False"):
            call()


def test_seed_repeats_random_numbers():
    drawn = []
    for _ in range(2):
        caffe.set_random_seed(4)
        drawn.append((torch.rand(3).tolist(), mode.next_seed(), mode.next_seed()))
    assert drawn[0] == drawn[1]
    assert drawn[0][1] != drawn[0][2]


def test_import_caffe():
    assert "caffe" not in sys.modules
    with caffe.as_caffe():
        assert importlib.import_module("caffe") is caffe
        assert importlib.import_module("caffe.net") is importlib.import_module("demitasse.pycaffe.net")
    assert not [name for name in sys.modules if name == "caffe" or name.startswith("caffe.")]
    caffe.install_as_caffe()
    try:
        caffe.install_as_caffe()
        assert sys.modules["caffe"] is caffe
    finally:
        for name in [name for name in sys.modules if name == "caffe" or name.startswith("caffe.")]:
            del sys.modules[name]


def test_another_caffe_is_not_replaced(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "caffe", ModuleType("caffe"))
    with pytest.raises(UsageError, match="another caffe has been imported already"):
        caffe.install_as_caffe()
