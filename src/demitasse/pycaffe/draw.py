"""Draws nets: ``draw_net`` needs no further package; ``get_pydot_graph`` needs pydot."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from demitasse.caffe import schema
from demitasse.caffe.definition.filter import filter_net, net_state
from demitasse.caffe.schema import dialects
from demitasse.caffe.upgrade import upgrade_net
from demitasse.errors import UsageError
from demitasse.extras import needs
from demitasse.files import write_bytes
from demitasse.pycaffe.proto import caffe_pb2
from demitasse.pycaffe.proto.caffe_pb2 import Message
from demitasse.pycaffe.spec_errors import MismatchError

LAYER_STYLE_DEFAULT = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}

_CONVOLUTIONS = ("Convolution", "Deconvolution")
_LEARNT = (*_CONVOLUTIONS, "InnerProduct")
_COLOURS = {"Convolution": "#FF5050", "Deconvolution": "#FF5050", "Pooling": "#FF9900", "InnerProduct": "#CC33FF"}


def draw_net(
    caffe_net: Message, rankdir: str = "LR", ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """Draws a net with a box for each layer; layers that work in place are in the box of their bottom's layer.

    Args:
        caffe_net: a NetParameter.
        rankdir: the direction of the data flow: ``LR`` (left to right), ``TB``, ``BT`` or ``RL``.
        ext: the format, ``png``, ``svg`` or ``pdf``.
        phase: draw only the layers of ``TRAIN`` or ``TEST``.
        display_lrm: show ``lr_mult`` of layers that set it.

    Returns:
        The content of the picture's file.

    Raises:
        UsageError: the direction or the format is unknown.
        NetError: a layer has both include and exclude rules.
        MissingPackageError: matplotlib is not installed.
    """
    from demitasse.pycaffe.net_boxes import boxes
    from demitasse.report import net_picture

    found, edges = boxes(_layers(caffe_net, phase), display_lrm)
    return net_picture.draw(found, edges, rankdir, ext, caffe_net.name)


def draw_net_to_file(
    caffe_net: Message, filename: str, rankdir: str = "LR", phase: int | None = None, display_lrm: bool = False
) -> None:
    """Writes the picture of a net to a file, whose extension determines the format; see :func:`draw_net`."""
    from demitasse.report import net_picture

    ending = Path(filename).suffix.lstrip(".").lower()
    if ending not in net_picture.FORMATS:
        raise UsageError(f"{filename}: the extension is {ending!r}; expected {', '.join(net_picture.FORMATS)}")
    write_bytes(filename, draw_net(caffe_net, rankdir, ending, phase, display_lrm))


def _layers(net: Message, phase: int | None) -> list[Message]:
    """Returns the layers of the upgraded net, only those of one phase if it is given."""
    current = upgrade_net(schema.NetParameter.FromString(dialects.to_private_numbers(net.SerializeToString())))
    if phase is None:
        return list(current.layer)
    places = [f"layer {index}" for index in range(len(current.layer))]
    return [each.layer for each in filter_net(current, places, net_state(current, phase))]


def get_pooling_types_dict() -> dict[int, str]:
    """Returns number -> name of the pooling methods."""
    return {value.number: value.name for value in caffe_pb2.PoolingParameter.PoolMethod.DESCRIPTOR.values}


def get_edge_label(layer: Message) -> str:
    """Returns the label of the edges after a layer in pydot's graph: its number of outputs, or its batch size."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in _CONVOLUTIONS:
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return '""'


def get_layer_lr_mult(layer: Message) -> tuple[float, float]:
    """Returns the multipliers of the learning rate for weights and biases.

    Raises:
        MismatchError: the layer is not a convolution or inner product, or has more than two multipliers.
    """
    if layer.type not in _LEARNT:
        raise MismatchError(f"{layer.type} layers do not have a learning rate multiplier")
    if len(layer.param) > 2:
        raise MismatchError(f"layer {layer.name!r} has {len(layer.param)} learning rate multipliers; expected two")
    weight, bias, *_ = [*(param.lr_mult for param in layer.param), 1.0, 1.0]
    return weight, bias


def get_layer_label(layer: Message, rankdir: str, display_lrm: bool = False) -> str:
    """Returns the label of a layer's node in pydot's graph, in double quotes."""
    kind = layer.type
    if kind == "Pooling":
        settings = layer.pooling_param
        kind = f"Pooling {get_pooling_types_dict()[settings.pool]}"
        window = settings.kernel_size, settings.stride, settings.pad
    else:
        settings = layer.convolution_param
        window = (*settings.kernel_size, 1)[0], (*settings.stride, 1)[0], (*settings.pad, 0)[0]
    parts = [layer.name, f"({kind})"]
    if layer.type in (*_CONVOLUTIONS, "Pooling"):
        parts += [f"{name}: {value}" for name, value in zip(("kernel size", "stride", "pad"), window, strict=True)]
    if display_lrm and layer.type in _LEARNT and any(get_layer_lr_mult(layer)):
        parts.append("lr mult: {:.1f}, {:.1f}".format(*get_layer_lr_mult(layer)))
    # graphs from left to right have more vertical space
    return '"' + (" " if rankdir in ("TB", "BT") else r"\n").join(parts) + '"'


def choose_color_by_layertype(layertype: str) -> str:
    """Returns the colour of a layer's node in pydot's graph."""
    return _COLOURS.get(layertype, "#6495ED")


def get_pydot_graph(
    caffe_net: Message, rankdir: str, label_edges: bool = True, phase: int | None = None, display_lrm: bool = False
) -> Any:
    """Returns a pydot graph with a node for each layer and each blob; :func:`draw_net` does not need pydot.

    Raises:
        MissingPackageError: pydot is not installed.
    """
    with needs("pydot"):
        pydot = import_module("pydot")
    graph = pydot.Dot(caffe_net.name or "Net", graph_type="digraph", rankdir=rankdir)
    nodes: dict[str, Any] = {}
    for layer in _layers(caffe_net, phase):
        in_place = len(layer.bottom) == 1 and list(layer.top) == list(layer.bottom)
        style = (
            NEURON_LAYER_STYLE
            if in_place
            else LAYER_STYLE_DEFAULT | {"fillcolor": choose_color_by_layertype(layer.type)}
        )
        node = nodes[f"{layer.name}_{layer.type}"] = pydot.Node(get_layer_label(layer, rankdir, display_lrm), **style)
        for blob in (*layer.bottom, *layer.top):
            nodes.setdefault(f"{blob}_blob", pydot.Node(blob, **BLOB_STYLE))
        for blob in layer.bottom:
            graph.add_edge(pydot.Edge(nodes[f"{blob}_blob"], node, label='""'))
        label = get_edge_label(layer) if label_edges else '""'
        for blob in layer.top:
            graph.add_edge(pydot.Edge(node, nodes[f"{blob}_blob"], label=label))
    for node in nodes.values():
        graph.add_node(node)
    return graph
