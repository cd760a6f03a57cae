"""Names the nodes and values of an ONNX graph after layers, and its weights after layers and blobs."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from demitasse._version import __version__

_SCOPES = "pkg.torch.onnx.name_scopes"


def rename(found: Any, name: str, modules: Mapping[str, str]) -> None:
    """Names a model after the net, and removes the paths of this machine's files from its metadata.

    Args:
        found: an ``onnx_ir.Model`` of torch.onnx; it is changed.
        name: name of the net.
        modules: name of a layer -> name of the module that was exported for it.
    """
    layers = {module: layer for layer, module in modules.items()}
    graph = found.graph
    found.producer_name, found.producer_version = "demitasse", __version__
    graph.name = name or "net"
    graph.metadata_props.clear()
    for value in list(graph.initializers.values()):
        value.metadata_props.clear()
        module, dot, blob = value.name.partition(".")
        if dot and module in layers:
            # torch.onnx calls the bias of a convolution with a folded normalization weight_bias
            blob = blob.removeprefix("layer.").replace("weight_bias", "bias")
            value.name = _free(f"{layers[module]}.{blob}", set(graph.initializers) - {value.name})
    _rename_batch(graph)
    _rename_nodes(graph, layers)


def _rename_batch(graph: Any) -> None:
    """Names the one size that is not fixed ``batch``."""
    sizes = {str(size) for value in graph.inputs for size in value.shape if not isinstance(size, int)}
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    for value in values:
        if any(str(size) in sizes for size in value.shape or ()):
            # a new shape, since those of operators with several outputs cannot be changed
            value.shape = type(value.shape)(["batch" if str(size) in sizes else size for size in value.shape])


def _rename_nodes(graph: Any, layers: Mapping[str, str]) -> None:
    """Names the last node of a layer, and its output, after the layer; the nodes before it ``layer/operator``."""
    made = [(node, _layer(node, layers)) for node in graph]
    last = {layer: node for node, layer in made}
    kept = {value.name for value in (*graph.inputs, *graph.outputs, *graph.initializers.values())}
    used, names = set(kept), set[str]()
    for node, layer in made:
        node.metadata_props.clear()
        node.name = _free(layer if layer and last[layer] is node else f"{layer}/{node.op_type}", names)
        for index, value in enumerate(node.outputs):
            value.metadata_props.clear()
            if value.name not in kept:
                value.name = _free(f"{node.name}:{index}" if index else node.name, used)


def _layer(node: Any, layers: Mapping[str, str]) -> str:
    scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
    return next((layers[scope] for scope in scopes if scope in layers), "")


def _free(wanted: str, used: set[str]) -> str:
    number, name = 1, wanted
    while name in used:
        number += 1
        name = f"{wanted}_{number}"
    used.add(name)
    return name
