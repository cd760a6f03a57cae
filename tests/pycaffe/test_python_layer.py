"""Layers written in Python: in pycaffe's nets, in torch's, in training, on the command line; and where they may not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse import pycaffe as caffe
from demitasse.caffe import python_layer
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.training.solver import Solver
from demitasse.cli import main
from demitasse.errors import NetError, PythonLayerError
from tests.pycaffe import nets
from tests.pycaffe.nets import build, input_layer

FORCE = "force_backward: true\n"
DATA = FORCE + input_layer("data", 2, 3)


def chain(count: int = 3) -> str:
    names = ["data", *(f"top{i}" for i in range(count))]
    return DATA + "".join(
        nets.python_layer(f"layer{i}", "Times", [names[i]], [names[i + 1]], "10") for i in range(count)
    )


def test_passes(tmp_path: Path):
    net = build(tmp_path, chain())
    assert net.forward(data=np.full((2, 3), 8))["top2"].tolist() == [[8000] * 3] * 2
    assert net.backward(top2=np.full((2, 3), 7))["data"].tolist() == [[7000] * 3] * 2


def test_backward_needs_no_forward_before(tmp_path: Path):
    net = build(tmp_path, chain())
    net.blobs["top2"].diff[...] = 7
    assert net.backward()["data"].tolist() == [[7000] * 3] * 2


def test_other_shapes(tmp_path: Path):
    net = build(tmp_path, chain())
    net.blobs["data"].reshape(4, 4, 4, 4)
    net.forward()
    assert {blob.data.shape for blob in net.blobs.values()} == {(4, 4, 4, 4)}
    net.blobs["data"].reshape(1, 2)
    net.reshape()
    assert {blob.data.shape for blob in net.blobs.values()} == {(1, 2)}


def test_the_layer_shows_itself(tmp_path: Path):
    net = build(tmp_path, chain(1))
    layer = net.layer_dict["layer0"]
    assert isinstance(layer, caffe.Layer)
    assert (layer.type, layer.param_str, layer.param_str_, layer.phase) == ("Python", "10", "10", caffe.TRAIN)


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_phase_and_a_layer_without_bottoms(tmp_path: Path, phase: int):
    net = build(tmp_path, FORCE + nets.python_layer("layer", "Phase", [], ["phase"]), phase)
    assert net.forward()["phase"] == phase


def test_what_setup_writes_stays(tmp_path: Path):
    net = build(tmp_path, nets.python_layer("layer", "Table", [], ["table"]))
    assert net.forward()["table"].tolist() == [[1, 2], [3, 4]]
    assert net.module({})["table"].tolist() == [[1, 2], [3, 4]]


def test_in_place(tmp_path: Path):
    text = (
        DATA
        + nets.python_layer("one", "Times", ["data"], ["top"])
        + nets.python_layer("two", "Times", ["top"], ["top"])
    )
    net = build(tmp_path, text)
    assert net.forward(data=np.ones((2, 3)))["top"].tolist() == [[4] * 3] * 2
    assert net.backward(top=np.ones((2, 3)))["data"].tolist() == [[4] * 3] * 2
    assert net.module({"data": torch.ones(2, 3)})["top"].tolist() == [[4] * 3] * 2


def linear(kind: str = "Linear", weights: str = "2") -> str:
    """Learns labels from rows of a data layer; all but the softmax and its loss are Python layers."""
    return (
        nets.python_layer("data", "Count", [], ["data", "label"], '{"rows": 6, "start": 0}')
        + nets.python_layer("ip", kind, ["data"], ["ip"], "3")
        + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
    )


def test_blobs_of_its_own(tmp_path: Path):
    net = build(tmp_path, linear())
    net.forward()
    net.backward()
    layer = net.layer_dict["ip"]
    assert layer.blobs is net.params["ip"]
    gradient = net.params["ip"][0].diff.copy()
    np.testing.assert_allclose(gradient, net.blobs["data"].data.T @ net.blobs["ip"].diff, rtol=1e-5)
    net.params["ip"][0].data[...] = 4
    path = str(tmp_path / "net.caffemodel")
    net.save(path)
    net.params["ip"][0].data[...] = -1
    net.copy_from(path)
    assert layer.blobs[0].data.tolist() == [[4] * 3] * 3
    other = build(tmp_path, linear())
    other.share_with(net)
    net.params["ip"][0].data[0] = 5
    assert other.layer_dict["ip"].blobs[0].data[0].tolist() == [5] * 3


def test_gradients_in_torchs_net_are_those_in_pycaffes(tmp_path: Path):
    text = FORCE + input_layer("data", 2, 3) + input_layer("label", 2, 4)
    text += nets.python_layer("ip", "Linear", ["data"], ["ip"], "4")
    text += nets.python_layer("loss", "SquareLoss", ["ip", "label"], ["loss"], extra="loss_weight: 0.5")
    net = build(tmp_path, text)
    assert net.blob_loss_weights["loss"] == 0.5
    random = np.random.default_rng(0)
    batch = {"data": random.normal(size=(2, 3)), "label": random.normal(size=(2, 4))}
    net.forward(**batch)
    net.backward()
    module = Net(prototxt.read_net(tmp_path / "net.prototxt"), caffe.TRAIN)
    tensors = {name: torch.from_numpy(array).float() for name, array in batch.items()}
    blobs = module(tensors)
    module.loss(blobs).backward()
    difference = net.blobs["ip"].data - batch["label"]
    np.testing.assert_allclose(net.blobs["ip"].diff, difference / 2, rtol=1e-5)
    np.testing.assert_allclose(blobs["loss"].item(), net.blobs["loss"].data[0], rtol=1e-6)
    np.testing.assert_allclose(module.learnable[0].tensor.grad, net.params["ip"][0].diff, rtol=1e-5)
    for name in batch:
        np.testing.assert_allclose(tensors[name].grad, net.blobs[name].diff, rtol=1e-5)


def test_gradients_reach_parameters_that_numpy_cannot_look_at(tmp_path: Path):
    """As on a GPU: here they are float64."""
    (tmp_path / "net.prototxt").write_text(linear())
    found = []
    for dtype in (torch.float32, torch.float64):
        net = Net.from_file(tmp_path / "net.prototxt", caffe.TRAIN).to(dtype)
        for _ in range(2):
            net.loss(net({})).backward()
        found.append(net.learnable[0].tensor.grad)
    assert found[1].dtype == torch.float64
    assert found[1].any()
    torch.testing.assert_close(found[1].float(), found[0])


SOLVER = 'net: "{net}" base_lr: 1 lr_policy: "fixed" momentum: 0.5 max_iter: 30 display: 10 snapshot_prefix: "{prefix}"'


@pytest.fixture
def solver_file(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(linear())
    path = tmp_path / "solver.prototxt"
    path.write_text(SOLVER.format(net=tmp_path / "net.prototxt", prefix=tmp_path / "snap"))
    return path


def test_training(solver_file: Path):
    whole = Solver(prototxt.read_solver(solver_file))
    whole.step(30)
    assert whole.loss < 0.1
    solver = caffe.get_solver(str(solver_file))
    solver.step(30)
    weight = whole.net.layer("ip").blobs()[0].detach()
    np.testing.assert_allclose(solver.net.params["ip"][0].data, weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["setup", "shaping", "forward", "backward"])
def test_errors_name_the_layer_and_are_of_their_type(tmp_path: Path, method: str):
    text = DATA + nets.python_layer("bad", "Failing", ["data"], ["top"], method)
    shown = "reshape" if method == "shaping" else method

    def work() -> None:
        net = build(tmp_path, text)
        net.forward()
        net.backward()

    with pytest.raises(
        LookupError, match=rf"layer 'bad'.*Failing\.{shown}: LookupError: nothing in {method}"
    ) as caught:
        work()
    assert isinstance(caught.value, PythonLayerError)
    assert type(caught.value.__cause__) is LookupError
    assert caught.value.__cause__.__traceback__ is not None


def test_an_error_in_torchs_net_surfaces_too(tmp_path: Path):
    net = build(tmp_path, DATA + nets.python_layer("bad", "Failing", ["data"], ["top"], "backward"))
    top = net.module({"data": torch.ones(2, 3)})["top"]
    with pytest.raises(LookupError, match=r"layer 'bad': .*backward: LookupError: nothing in backward"):
        top.sum().backward()


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (nets.python_layer("l", "Times", [], ["t"]), ValueError, r"Times\.setup: ValueError: one bottom, please"),
        (nets.python_layer("l", "Times", ["data"], ["t"], "x"), ValueError, "could not convert string to float"),
        (nets.python_layer("l", "Absent", ["data"], ["t"]), AttributeError, "has no attribute 'Absent'"),
        (
            nets.python_layer("l", "NoLayer", ["data"], ["t"]),
            PythonLayerError,
            "NoLayer is not a subclass of caffe.Layer",
        ),
        (
            nets.python_layer("l", "Times", ["data"], ["t"]).replace("user_", "no_"),
            ImportError,
            "tests.pycaffe.no_layers",
        ),
    ],
)
def test_what_cannot_be_loaded(tmp_path: Path, layer: str, error: type[Exception], message: str):
    with pytest.raises(error, match=rf"layer 'l' \(.*net\.prototxt:\d+\): .*{message}") as caught:
        build(tmp_path, DATA + layer)
    assert isinstance(caught.value, PythonLayerError)


def test_more_param_entries_than_blobs(tmp_path: Path):
    with pytest.raises(NetError, match="found 2 param entries, but Python has 1 blobs"):
        build(tmp_path, linear().replace('type: "Python" bottom', 'type: "Python" param {} param {} bottom'))


REFUSED = (
    r"layer 'layer0' \(.*\): the layer runs code of the Python module 'tests\.pycaffe\.user_layers', which is not "
)


def test_without_leave_no_code_runs(tmp_path: Path):
    (tmp_path / "net.prototxt").write_text(chain(1))
    with (
        python_layer.allowing(False),
        pytest.raises(PythonLayerError, match=REFUSED + r".*python_layer\.allowing\(True\)"),
    ):
        Net.from_file(tmp_path / "net.prototxt")


def test_importing_pycaffe_is_the_leave(tmp_path: Path):
    (tmp_path / "layers.py").write_text("print('ran')")
    (tmp_path / "net.prototxt").write_text(chain(1).replace("tests.pycaffe.user_layers", "layers"))
    code = """
from demitasse.caffe.net import Net
from demitasse.errors import PythonLayerError
def attempt():
    try:
        Net.from_file("net.prototxt")
    except PythonLayerError as error:
        print("not allowed here" in str(error), "no attribute 'Times'" in str(error))
attempt()
import demitasse.pycaffe
attempt()
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["True False", "ran", "False True"]


MODULE = """
import caffe
from caffe import Net

class Half(caffe.Layer):
    def setup(self, bottom, top):
        assert caffe.layer_type_list() and Net is caffe.Net
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data / 2
    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff / 2
"""


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A net with a layer whose module says ``import caffe``, in a module of its own."""
    name = f"half_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    data = """layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
      shape { dim: 4 dim: 3 } shape { dim: 4 } data_filler { value: 1 } data_filler { value: 1 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
    """
    layer = nets.python_layer("half", "Half", ["ip"], ["half"]).replace("tests.pycaffe.user_layers", name)
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "half" bottom: "label" top: "loss" }'
    (tmp_path / "net.prototxt").write_text(data + layer + loss)
    (tmp_path / "solver.prototxt").write_text(SOLVER.format(net=tmp_path / "net.prototxt", prefix=tmp_path / "snap"))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_on_the_command_line(half: Path, capsys: pytest.CaptureFixture[str]):
    train = ("train", f"-solver={half / 'solver.prototxt'}")
    time = ("time", f"-model={half / 'net.prototxt'}", "-iterations=1")
    test = ("test", f"-model={half / 'net.prototxt'}", f"-weights={half / 'snap_iter_30.caffemodel'}", "-iterations=2")
    for arguments in (train, test, time):
        assert command(*arguments) == 1
        error = capsys.readouterr().err
        assert "error: layer 'half' (" in error
        assert "--allow-python-layers" in error
        assert command(*arguments, "--allow-python-layers") == 0
        capsys.readouterr()
    assert "caffe" not in sys.modules
    solver = caffe.get_solver(str(half / "solver.prototxt"))  # the module is loaded by now
    assert float(solver.net.forward()["loss"]) == pytest.approx(np.log(2))


def test_an_error_on_the_command_line(solver_file: Path, capsys: pytest.CaptureFixture[str]):
    net = solver_file.parent / "net.prototxt"
    net.write_text(linear("Failing").replace("'3'", "'forward'"))
    assert command("train", f"-solver={solver_file}", "--allow-python-layers") == 1
    assert (
        "error: layer 'ip': tests.pycaffe.user_layers.Failing.forward: LookupError: nothing" in capsys.readouterr().err
    )
