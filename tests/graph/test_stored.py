"""Graphs of Caffe nets as text: short, read without PyTorch, computing what the net computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import demitasse
from demitasse import examples
from demitasse.arrays import Array
from demitasse.caffe.net import Net
from demitasse.caffe.weights import save_weights
from demitasse.errors import FileFormatError
from demitasse.formats.base import Contents
from demitasse.formats.blobs import DEFINITION
from demitasse.graph.caffe import of_net
from demitasse.graph.caffe.storing import stored_graph
from demitasse.graph.kinds import KINDS
from demitasse.graph.stored import KEY, read_graph
from demitasse.packed.file import File
from demitasse.packed.tensor import of_array
from demitasse.packed.writer import pack
from demitasse.runtime.plan import plan_of
from tests.runtime.test_plan import INPUT, conv, inputs, layer, make, randomize
from tests.runtime.test_plan import NETS as SMALL

ROOT = Path(examples.__file__).parent
# the small nets that have no stored form, and why
WITHOUT = {
    "norm after inner product": r"'a': the file has weight of shape \[324, 4\]; expected \[4, 324\]",
    "norm by the batch": "'bn': there is no mean; expected a tensor of the file",
    "norm of another channel": "'a': ",
    "norm in one direction": "'tanh': an operation of kind TanH",
    "scale by a bottom": "'scale': found 2 inputs; expected 1 to 1",
    "in place of a part": "'slice': found 2 outputs; expected one",
    "in place of another shape": "'power': an operation of kind Power",
    "several bottoms": "'b': found 2 outputs",
}


def contents(net: Net) -> Contents:
    tensors = [
        of_array(f"{label}.{index}", blob.detach().numpy())
        for label, found in net.named_layers().items()
        for index, blob in enumerate(found.blobs())
    ]
    return Contents(tensors)


def arrays(found: Contents) -> dict[str, Array]:
    return {tensor.name: tensor.array() for tensor in found.tensors}


def agrees(net: Net, text: str) -> None:
    """Checks that the graph of a text computes what the net computes."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays(contents(net)).items()}
    graph = read_graph(text, tensors)
    expected, batch = of_net(net), inputs(net)
    assert list(graph.outputs) == expected.outputs
    assert [graph.values[number].shape for number in graph.outputs.values()] == [
        net.shapes[name] for name in expected.outputs
    ]
    for found in (plan_of(graph)(batch), plan_of(graph).dense(batch)):
        for name, wanted in expected.reference(batch).items():
            torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", [name for name in SMALL if name not in WITHOUT and name != "masked"])
def test_small_net(name: str) -> None:
    text = INPUT + SMALL[name][0]
    net = make(text)
    agrees(net, stored_graph(text, contents(net), "net"))


@pytest.mark.parametrize("name", WITHOUT)
def test_what_has_no_stored_form(name: str) -> None:
    text = INPUT + SMALL[name][0]
    with pytest.raises(FileFormatError, match=WITHOUT[name]):
        stored_graph(text, contents(make(text)), "net")


@pytest.mark.parametrize(
    ("name", "most"), [("lenet5", 105), ("lenet300", 80), ("digits", 112), ("squeezenet", 360), ("mobilenet_v2", 790)]
)
def test_published_net(name: str, most: int) -> None:
    text = (ROOT / name / "deploy.prototxt").read_text()
    net = randomize(Net.from_file(ROOT / name / "deploy.prototxt"))
    with torch.no_grad():
        for weight in (blob for found in net.named_layers().values() for blob in found.blobs() if blob.ndim == 4):
            weight.normal_(0, (2 / weight[0].numel()) ** 0.5, generator=torch.Generator().manual_seed(1))
    stored = stored_graph(text, contents(net), name)
    agrees(net, stored)
    zeros = [of_array(tensor.name, np.zeros(tensor.shape, np.float32)) for tensor in contents(net).tensors]
    sizes = [len(pack(zeros, {DEFINITION: text, **more})) for more in ({}, {KEY: stored})]
    assert sizes[1] - sizes[0] <= most


def test_the_text_of_lenet() -> None:
    text = (ROOT / "lenet5" / "deploy.prototxt").read_text()
    net = Net.from_file(ROOT / "lenet5" / "deploy.prototxt")
    assert stored_graph(text, contents(net), "net") == (
        '{"name":"LeNet","inputs":{"data":[1,1,28,28]},"steps":[["Convolution","conv1"],["Pooling","pool1",{"kernel":2}],'
        '["Convolution","conv2"],["Pooling","pool2",{"kernel":2}],["InnerProduct","ip1"],["ReLU","relu1"],'
        '["InnerProduct","ip2"],["Softmax","prob"]]}'
    )


SHARED = """
layer { name: "one" type: "Convolution" bottom: "data" top: "a" param { name: "w" }
  convolution_param { num_output: 4 kernel_size: 1 bias_term: false weight_filler { type: "gaussian" } } }
layer { name: "two" type: "Convolution" bottom: "a" top: "b" param { name: "w" }
  convolution_param { num_output: 4 kernel_size: 1 bias_term: false weight_filler { type: "gaussian" } } }
"""


def test_shared_weights_are_one_tensor() -> None:
    net = make(INPUT + SHARED)
    found = contents(net)
    stored = stored_graph(INPUT + SHARED, found._replace(tensors=found.tensors[:1]), "net")
    assert '["Convolution","two","one"]' in stored
    graph = read_graph(stored, arrays(found))
    assert graph.steps[0].weights["weight"] is graph.steps[1].weights["weight"]
    agrees(net, stored)


def test_compressed_layers_compute_with_their_effective_weights(tmp_path: Path) -> None:
    text = INPUT + conv("a", "data", kind="DNSConvolution") + layer("ReLU", "relu", "a", "a")
    net = make(text)
    net.layer("a").weight_mask[1] = False
    save_weights(net, tmp_path / "net.caffemodel")
    (tmp_path / "net.prototxt").write_text(text)
    demitasse.pack(tmp_path / "net.caffemodel", tmp_path / "net.demi", net=tmp_path / "net.prototxt", definition=True)
    with File(tmp_path / "net.demi") as file:
        found = arrays(Contents(list(file.tensors())))
        graph = read_graph(file.header.metadata[KEY], found)
    effective = (net.layer("a").weight * net.layer("a").weight_mask).detach().numpy()
    assert np.array_equal(graph.steps[0].weights["weight"], effective)
    batch = inputs(net)
    with torch.no_grad():
        expected = net(batch)["a"]
    torch.testing.assert_close(demitasse.optimize(tmp_path / "net.demi")(batch)["a"], expected, rtol=1e-4, atol=1e-5)


def test_a_net_without_a_stored_form_is_packed_with_its_definition_alone(tmp_path: Path) -> None:
    text = INPUT + conv("a", "data") + layer("TanH", "tanh", "a", "b")
    net, lines = make(text), list[str]()
    save_weights(net, tmp_path / "net.caffemodel")
    (tmp_path / "net.prototxt").write_text(text)
    header = demitasse.pack(
        tmp_path / "net.caffemodel", tmp_path / "net.demi", net=tmp_path / "net.prototxt", definition=True,
        say=lines.append,
    )  # fmt: skip
    assert DEFINITION in header.metadata
    assert KEY not in header.metadata
    assert "stored no graph" in lines[0]
    assert "'tanh': an operation of kind TanH" in lines[0]
    batch = inputs(net)
    with torch.no_grad():
        torch.testing.assert_close(demitasse.optimize(tmp_path / "net.demi")(batch), net(batch))


def test_it_is_read_without_torch(tmp_path: Path) -> None:
    net = Net.from_file(ROOT / "digits" / "deploy.prototxt")
    found = contents(net)
    text = stored_graph((ROOT / "digits" / "deploy.prototxt").read_text(), found, "net")
    (tmp_path / "net.demi").write_bytes(pack(found.tensors, {KEY: text}))
    code = """
import sys
import demitasse.packed
from demitasse.packed.file import File
from demitasse.graph.kinds import KINDS
from demitasse.graph.stored import KEY, read_graph
with File("net.demi") as file:
    graph = read_graph(file.header.metadata[KEY], {tensor.name: tensor.array() for tensor in file.tensors()})
assert [step.kind for step in graph.steps].count("Convolution") == 2
print([name for name in sys.modules if name.startswith(("torch", "demitasse.caffe", "google"))])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.strip() == "[]"


WEIGHT = {
    name: np.ones(shape, np.float32) for name, shape in {"a.0": (4, 4, 3, 3), "a.1": (4,), "ip.0": (5, 324)}.items()
}
STEPS = '[["Convolution","a",{"pad":1}],["ReLU","relu"],["InnerProduct","ip"]]'
GOOD = '{"inputs":{"data":[2,4,9,9]},"steps":' + STEPS + "}"
BAD = {
    "not JSON": (GOOD[:-1], "is not JSON"),
    "deep": ("[" * 100_000, "is not JSON"),
    "long": (" " * (1 << 22) + GOOD, "characters; expected at most"),
    "a list": ("[]", r"the text: found \[\]; expected an object"),
    "unknown key": (
        GOOD.replace('"steps"', '"step"'),
        "unknown 'step'; expected one of name, inputs, sizes, arguments, steps, out",
    ),
    "no inputs": (GOOD.replace('{"data":[2,4,9,9]}', "3"), "inputs: found 3; expected an object"),
    "huge input": (GOOD.replace("9,9", f"{10**12},9"), "input 'data': found size 1000000000000; expected 1 to"),
    "no size": (GOOD.replace("9,9", "0,9"), "input 'data': found size .*9?; expected 1 to 2,147,483,648"),
    "a negative size": (GOOD.replace("9,9", "-9,9"), "input 'data': found size .*9?; expected 1 to 2,147,483,648"),
    "too many entries": (GOOD.replace("9,9", f"{1 << 30},{1 << 30}"), "entries an item; expected at most"),
    "unknown kind": (GOOD.replace("ReLU", "Python"), "step 1: unknown kind 'Python'; expected one of Convolution, "),
    "no step": (GOOD.replace('["ReLU","relu"]', "7"), r"step 1: found 7; expected \[kind, name, inputs, settings\]"),
    "a part too many": (GOOD.replace('"relu"]', '"relu",[1],{},5]'), "step 1: found .* expected"),
    "unknown setting": (GOOD.replace("pad", "pads"), "step 0: 'a': unknown setting 'pads'; did you mean 'pad'"),
    "a setting of another type": (GOOD.replace('"pad":1', '"pad":1.5'), "step 0: 'a': pad: found 1.5; expected 1 to 3"),
    "a huge setting": (GOOD.replace('"pad":1', f'"pad":{10**12}'), "pad: found 1000000000000; expected 1 to 3 whole"),
    "large pads": (GOOD.replace('"pad":1', '"pad":100000'), "entries an item; expected at most"),
    "no tensor": (GOOD.replace('"a"', '"b"'), "step 0: 'b': there is no weight; expected a tensor of the file"),
    "an unknown tensor": (
        GOOD.replace('"pad":1', '"weight":"c.0"'),
        "step 0: 'a': there is no tensor 'c.0'; expected the weight of the step",
    ),
    "a tensor of another shape": (
        GOOD.replace('"pad":1', '"weight":"a.1"'),
        "step 0: 'a': a weight of 1 axes for 4; expected 3 to 5",
    ),
    "another number of channels": (GOOD.replace("2,4,9", "2,5,9"), r"a weight of shape \[4, 4, 3, 3\] for 5 channels"),
    "another inner product": (GOOD.replace("9,9", "9,8"), "step 2: 'ip': an input of shape .* expected 324 entries"),
    "a value too early": (GOOD.replace('"relu"', '"relu",[2]'), "step 1: 'relu': found value 2; expected the number"),
    "a negative value": (GOOD.replace('"relu"', '"relu",[-1]'), "step 1: 'relu': found value -1; expected the"),
    "the same name": (GOOD.replace('"relu"', '"a"'), "step 1: a second step 'a'"),
    "half a character": (GOOD.replace('"relu"', r'"\ud800"'), "step 1: name: found .* expected text"),
    "two inputs": (GOOD.replace('"relu"', '"relu",[0,1]'), "step 1: 'relu': found 2 inputs; expected 1 to 1"),
    "an unknown output": (GOOD[:-1] + ',"outputs":{"x":4}}', "found value 4; expected the number of a value before"),
    "no steps": ('{"inputs":{"x":[1]},"steps":[]}', "no steps and no outputs"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_text(name: str) -> None:
    assert len(read_graph(GOOD, WEIGHT).steps) == 3
    text, message = BAD[name]
    with pytest.raises(FileFormatError, match=f"(?s)x.demi: metadata 'graph': .*{message}"):
        read_graph(text, WEIGHT, "x.demi")


def test_tensors_of_other_types() -> None:
    other = {**WEIGHT, "a.0": WEIGHT["a.0"].astype(np.float64)}
    with pytest.raises(FileFormatError, match=r"step 0: 'a': tensor 'a.0' of type float64; expected float32"):
        read_graph(GOOD, other)
    empty = {**WEIGHT, "a.0": np.ones((4, 0, 3, 3), np.float32)}
    with pytest.raises(FileFormatError, match=r"step 0: 'a': weight of shape \[4, 0, 3, 3\]; expected sizes of 1"):
        read_graph(GOOD, empty)


def test_what_a_text_may_leave_out() -> None:
    graph = read_graph(GOOD, WEIGHT)
    assert vars(graph.steps[0].settings) == {
        "axis": 1, "kernel": (3, 3), "stride": (1, 1), "pad": (1, 1), "dilation": (1, 1), "group": 1,
    }  # fmt: skip
    assert graph.outputs == {"ip": 3}
    assert [graph.values[step.outputs[0]].shape for step in graph.steps] == [(2, 4, 9, 9), (2, 4, 9, 9), (2, 5)]
    nameless = json.loads(GOOD)
    nameless["steps"][1] = ["ReLU"]
    assert [step.name for step in read_graph(json.dumps(nameless), WEIGHT).steps] == ["a", "relu_2", "ip"]


def test_the_page_of_the_format_names_every_kind_and_its_settings() -> None:
    page = (Path(__file__).parents[2] / "docs" / "demi_format.md").read_text(encoding="utf-8")
    rows = dict(line.split("|", 2)[1:] for line in page.splitlines() if line.startswith("| `"))
    for name, kind in ((name, KINDS[name]) for name in KINDS):
        row = rows[f" `{name}` "]
        assert all(f"`{word}`" in row for word in (*kind.settings, *kind.weights)), name
