from pathlib import Path

import pytest

from demitasse.caffe import prototxt, upgrade
from demitasse.errors import PrototxtError

NET = """name: "tiny"  # a comment with layer { in it
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 2 } } }

layer {
  name: "a layer { b }"
  type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 }
}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "net.prototxt"
    path.write_text(text)
    return path


def test_reads_a_net_and_the_lines_of_its_layers(tmp_path: Path) -> None:
    path = write(tmp_path, NET)
    assert [layer.name for layer in prototxt.read_net(path).layer] == ["data", "a layer { b }"]
    assert prototxt.layer_lines(path) == [2, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NET.replace("num_output", "num_ouput"), r"net.prototxt:8: InnerProductParameter has no field"),
        (NET.replace("num_output", "num_ouput"), r"did you mean 'num_output'\?"),
        ("layer {\n  name: 3\n}", r"net.prototxt:2: .*Expected string"),
        ("layer {\n  name: 'a'\n", r"net.prototxt:\d+: Expected"),
        ("layers {\n}", r"net.prototxt:1: 'layers' is the form of nets from before 2014"),
        ("layer { pooling_param { pool: MIX } }", r"net.prototxt:1: .*MIX"),
    ],
)
def test_errors_say_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        prototxt.read_net(write(tmp_path, text))


def test_a_missing_file_and_a_binary_one(tmp_path: Path) -> None:
    with pytest.raises(PrototxtError, match=r"no.prototxt: cannot be read: No such file"):
        prototxt.read_net(tmp_path / "no.prototxt")
    (tmp_path / "net.prototxt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PrototxtError, match="not a text file"):
        prototxt.read_net(tmp_path / "net.prototxt")


def test_trust_coef_is_local_gw_ratio(tmp_path: Path) -> None:
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "a"\ntrust_coef: 0.25\nsolver_type: LARSSGD\n')
    solver = upgrade.upgrade_solver(prototxt.read_solver(path))
    assert solver.local_gw_ratio == 0.25
    assert solver.type == "LarsSGD"
    assert not solver.HasField("solver_type")


def test_net_inputs_become_a_layer() -> None:
    net = prototxt.parse('input: "x" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4', _net(), "net")
    upgraded = upgrade.upgrade_net(net)
    assert [layer.type for layer in upgraded.layer] == ["Input"]
    assert list(upgraded.layer[0].input_param.shape[0].dim) == [1, 2, 3, 4]
    assert not upgraded.input


def _net() -> object:
    from demitasse.caffe import schema

    return schema.NetParameter()
