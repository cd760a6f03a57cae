from pathlib import Path

import pytest

from demitasse.caffe import upgrade
from demitasse.caffe.text import prototxt
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
    for text in (NET, NET.replace("layer {", "layers {")):
        assert prototxt.places(write(tmp_path, text)) == ([f"{path}:2", f"{path}:5"], str(path))
    assert prototxt.places(write(tmp_path, f'# inputs\ninput: "a"\ninput: "b"\n{NET}')).inputs == f"{path}:2"


def test_blobs_may_stand_in_a_text(tmp_path: Path) -> None:
    net = prototxt.read_net(write(tmp_path, "layer { blobs { shape { dim: 2 } data: 0.5 data: -1 } }"))
    assert net.layer[0].blobs[0].data == bytes.fromhex("0000003f000080bf")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            NET.replace("num_output", "num_ouput"),
            r"net.prototxt:8: layer 'a layer { b }' \(InnerProduct\): InnerProductParameter has no field",
        ),
        (NET.replace("num_output", "num_ouput"), r"did you mean 'num_output'\?"),
        ("layer {\n  name: 3\n}", r"net.prototxt:2: .*name takes a text in quotes, found '3'"),
        ("layer {\n  name: 'a'\n", r"net.prototxt:\d+: Expected"),
        ("layers {\n kernel_size: 3 }", r"net.prototxt:2: V1LayerParameter has no field 'kernel_size'"),
        (
            "layers { layer { kernel_size: 3 } }",
            r"V0LayerParameter has no field 'kernel_size'; did you mean 'kernelsize'",
        ),
        ("layers {\n type: CONVOLUTON\n}", r"net.prototxt:2: .*V1LayerParameter.LayerType has no value 'CONVOLUTON'"),
        ("layers { type: 'Convolution' }", r"LayerType has no value 'Convolution'; did you mean 'CONVOLUTION'\?"),
        ("layer { pooling_param { pool: MIX } }", r"net.prototxt:1: PoolingParameter.PoolMethod has no value 'MIX'"),
        ("layer {\n name: 'a\\\\b' type: 'C:\\data' }", r"net.prototxt:2: unknown escape '.*d' in a string"),
        ("layer { clip_param { min: 0 } }", r"net.prototxt: required fields are missing: layer\[0\].clip_param.max"),
        (
            "layer { name: 'a' convolution_param { pad: -1 } }" + 1000 * "#",
            r"net.prototxt:1: layer 'a': pad takes a whole number from 0 to 4294967295, found '-1'",
        ),
    ],
)
def test_errors_say_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        prototxt.read_net(write(tmp_path, text))


def test_a_missing_file_and_a_binary_one(tmp_path: Path) -> None:
    with pytest.raises(PrototxtError, match=r"no.prototxt: cannot be read: No such file"):
        prototxt.read_net(tmp_path / "no.prototxt")
    with pytest.raises(PrototxtError, match="embedded null byte"):
        prototxt.read_net("\0")
    (tmp_path / "net.prototxt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PrototxtError, match="not a text file"):
        prototxt.read_net(tmp_path / "net.prototxt")


def test_comments_may_be_of_any_encoding_but_not_strings(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(b'name: "n"  # \xd6\xd0\xce\xc4\nlayer { name: "a" }')
    assert prototxt.read_net(path).layer[0].name == "a"
    path.write_bytes(b'# \xd6\n\nname: "\xd6\xd0"')
    with pytest.raises(PrototxtError, match=r"net.prototxt:3: '\"\\udcd6\\udcd0\"' is not UTF-8"):
        prototxt.read_net(path)


def test_trust_coef_is_local_gw_ratio(tmp_path: Path) -> None:
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "a"\ntrust_coef: 0.25\nsolver_type: LARSSGD\n')
    solver = upgrade.upgrade_solver(prototxt.read_solver(path))
    assert solver.local_gw_ratio == 0.25
    assert solver.type == "LarsSGD"
    assert not solver.HasField("solver_type")
