from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from PIL import Image

import demitasse
from demitasse.caffe import schema
from demitasse.errors import NetError, UsageError
from demitasse.pycaffe import draw
from demitasse.pycaffe.net_boxes import boxes
from demitasse.pycaffe.proto import caffe_pb2

EXAMPLES = [
    path
    for kind in ("train_val", "deploy")
    for path in sorted((Path(demitasse.__file__).parent / "examples").glob(f"*/{kind}.prototxt"))
]
TEXT = """
name: "net"
layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN } data_param { batch_size: 64 } }
layer { name: "test" type: "Data" top: "data" top: "label" include { phase: TEST } data_param { batch_size: 100 } }
layer { name: "conv" type: "DNSConvolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 20 kernel_size: 5 kernel_size: 3 stride: 2 group: 2 }
  dns_convolution_param { c_rate: 3.5 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE kernel_size: 2 pad_h: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "scores" inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" }
"""


def net(text: str = TEXT) -> Any:
    return text_format.Merge(text, caffe_pb2.NetParameter())


def lines(found: list[Any]) -> list[list[str]]:
    return [[section.name, *section.lines] for box in found for section in box.sections]


def test_boxes() -> None:
    found, edges = boxes(net().layer)
    cross = "\N{MULTIPLICATION SIGN}"
    assert lines(found) == [
        ["train", "Data", "batch 64"],
        ["test", "Data", "batch 100"],
        ["conv", "DNSConvolution", f"20 · 5 {cross} 3, stride 2", "2 groups", "c_rate 3.5"],
        ["", "relu · ReLU"],
        ["pool", "Pooling", f"AVE 2 {cross} 2, pad 1 {cross} 0"],
        ["ip", "InnerProduct", "10 outputs"],
        ["loss", "SoftmaxWithLoss"],
    ]
    assert edges == {
        (0, 2): "data",
        (1, 2): "data",
        (2, 3): "",
        (3, 4): "",
        (4, 5): "scores",
        (0, 5): "label",
        (1, 5): "label",
    }
    assert lines(boxes(net().layer, display_lrm=True)[0])[2][-1] == "lr mult 1, 2"


def test_facts_of_other_layers() -> None:
    text = """
    layer { type: "Input" top: "a" input_param { shape { dim: 1 dim: 3 } } }
    layer { type: "Pooling" bottom: "a" top: "b" pooling_param { global_pooling: true } }
    layer { name: "drop" type: "Dropout" bottom: "b" top: "b" dropout_param { dropout_ratio: 0.4 } }
    layer { type: "Eltwise" bottom: "a" bottom: "b" top: "c" }
    layer { type: "LRN" bottom: "c" top: "d" }
    layer { type: "INQInnerProduct" bottom: "d" top: "e" inner_product_param { num_output: 2 }
      inq_inner_product_param { portion: 0.5 portion: 0.75 } }
    layer { type: "CConvolution" bottom: "e" top: "f" convolution_param { num_output: 2 }
      cconvolution_param { c_rate: 1 } }
    """
    found = [list(box.sections[-1].lines) for box in boxes(net(text).layer)[0]]
    cross = "\N{MULTIPLICATION SIGN}"
    assert found == [
        ["Input", f"1 {cross} 3"],
        ["drop · Dropout · 0.4"],
        ["Eltwise", "SUM"],
        ["LRN", "over 5"],
        ["INQInnerProduct", "2 outputs", "portion 0.5 to 0.75"],
        ["CConvolution", f"2 · 1 {cross} 1", "c_rate 1"],
    ]


def test_phases() -> None:
    svg = {phase: draw.draw_net(net(), "LR", "svg", phase).decode() for phase in (None, 0, 1)}
    for name, phases in (("train", (None, 0)), ("test", (None, 1)), ("conv", (None, 0, 1))):
        assert {phase for phase, text in svg.items() if f">{name}<" in text} == set(phases)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_example_has_a_picture(path: Path) -> None:
    message = net(path.read_text())
    text = draw.draw_net(message, "TB", "svg").decode()
    assert all(layer.name in text for layer in message.layer)


@pytest.mark.parametrize("rankdir", ["LR", "RL", "TB", "BT"])
def test_directions(rankdir: str) -> None:
    image = Image.open(BytesIO(draw.draw_net(net(), rankdir)))
    assert (image.width > image.height) == (rankdir in ("LR", "RL"))


def test_nets_with_input_fields() -> None:
    text = """
    input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
    """
    assert b">input<" in draw.draw_net(net(text), "LR", "svg")


def test_messages_of_the_engine() -> None:
    ours = text_format.Parse(TEXT, schema.NetParameter())
    assert draw.draw_net(ours, "LR", "svg") == draw.draw_net(net(), "LR", "svg")


def test_to_file(tmp_path: Path) -> None:
    draw.draw_net_to_file(net(), str(tmp_path / "net.PDF"))
    assert (tmp_path / "net.PDF").read_bytes().startswith(b"%PDF")
    assert draw.draw_net(net(), "LR", "svg") == draw.draw_net(net(), "LR", "svg")
    assert draw.draw_net(caffe_pb2.NetParameter(), "LR").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (("net.jpeg",), UsageError, r"net\.jpeg: the extension is 'jpeg'; expected pdf, png, svg"),
        (("net",), UsageError, r"net: the extension is ''; expected pdf, png, svg"),
        (("net.png", "UP"), UsageError, "rankdir is 'UP'; expected one of TB, BT, LR, RL"),
    ],
)
def test_unknown_formats(tmp_path: Path, arguments: tuple[str, ...], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        draw.draw_net_to_file(net(), str(tmp_path / arguments[0]), *arguments[1:])
    assert list(tmp_path.iterdir()) == []


def test_rules_that_contradict_each_other() -> None:
    text = 'layer { name: "a" type: "Data" include { phase: TRAIN } exclude { phase: TEST } }'
    with pytest.raises(NetError, match="include or exclude"):
        draw.draw_net(net(text), "LR", phase=caffe_pb2.TRAIN)


def test_labels_of_the_graph() -> None:
    data, _, conv, relu, pool, ip, _ = net().layer
    conv.type = "Convolution"
    assert draw.get_layer_label(conv, "TB") == '"conv (Convolution) kernel size: 5 stride: 2 pad: 0"'
    assert draw.get_layer_label(conv, "LR", True).endswith(r'pad: 0\nlr mult: 1.0, 2.0"')
    assert draw.get_layer_label(pool, "LR") == r'"pool\n(Pooling AVE)\nkernel size: 2\nstride: 1\npad: 0"'
    assert draw.get_layer_label(relu, "BT") == '"relu (ReLU)"'
    assert [draw.get_edge_label(layer) for layer in (data, conv, relu, ip)] == ["Batch 64", "20", '""', "10"]
    assert draw.choose_color_by_layertype("Pooling") == "#FF9900"
    assert draw.choose_color_by_layertype("ReLU") == "#6495ED"
    assert draw.get_pooling_types_dict() == {0: "MAX", 1: "AVE", 2: "STOCHASTIC"}
    assert draw.get_layer_lr_mult(ip) == (1, 1)
    with pytest.raises(ValueError, match="do not have a learning rate multiplier"):
        draw.get_layer_lr_mult(relu)


def test_the_graph() -> None:
    graph = draw.get_pydot_graph(net(), "TB", phase=caffe_pb2.TEST)
    colours = {node.get_name(): node.get("fillcolor") for node in graph.get_nodes()}
    edges = {(edge.get_source(), edge.get_destination(), edge.get("label")) for edge in graph.get_edges()}
    assert "test" not in colours
    assert colours['"relu (ReLU)"'] == draw.NEURON_LAYER_STYLE["fillcolor"]
    assert colours["data"] == draw.BLOB_STYLE["fillcolor"]
    assert ('"test (Data)"', "label", "Batch 100") in edges
    assert ("label", '"loss (SoftmaxWithLoss)"', '""') in edges


def test_the_graph_needs_pydot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydot", None)
    with pytest.raises(UsageError, match=r"pydot.*pip install 'demitasse\[pycaffe\]'"):
        draw.get_pydot_graph(net(), "TB")
