"""A Caffe net, built, as a graph."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.errors import NetError, UsageError
from demitasse.graph.caffe.from_zero import from_zero
from demitasse.graph.caffe.operations import operation
from demitasse.graph.graph import Graph, Ready, Step
from demitasse.registry import suggest


def of_whole_net(net: nn.Module, keep: Collection[str] = ()) -> Graph:
    """Returns the graph of everything that a net in phase TEST computes.

    Args:
        net: the net; it is not changed.
        keep: names of blobs to return beside the outputs and the parts of the loss.

    Raises:
        UsageError: the net is in phase TRAIN, or no Caffe net.
        NetError: ``keep`` names no blob.
    """
    net = require_net(net)
    if net.phase != schema.TEST:
        raise UsageError("optimize takes a net in phase TEST; this one is in phase TRAIN")
    return read(net, (*net.outputs, *net.losses, *keep))


def is_net(module: nn.Module) -> bool:
    """Tells whether a module is a Caffe net."""
    return isinstance(module, Net)


def require_net(module: nn.Module) -> Net:
    """Returns a module that is a Caffe net.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(module, Net):
        raise UsageError(f"expected a demitasse.caffe.net.Net, found a {type(module).__name__}")
    return module


def read(net: Net, outputs: Collection[str], stateless: bool = False) -> Graph:
    """Returns the graph of a net: a step for each layer, but none for copies, which are the same value.

    Args:
        net: the net; it is not changed, and the graph has the values that its weights have now.
        outputs: names of blobs to return, each with the last value that it has.
        stateless: whether every run of a recurrent layer begins with a state of zeros.

    Raises:
        NetError: an output is the name of no blob.
    """
    graph = Graph(net.spec.name)
    current: dict[str, int] = {}
    for label, spec in zip(net.labels, net.spec.layer, strict=True):
        inputs = [current[name] for name in spec.bottom]
        if spec.type == "Split":
            current.update(dict.fromkeys(spec.top, inputs[0]))
            continue
        made = [graph.add_value(name, net.shapes[name]) for name in spec.top]
        current.update(zip(spec.top, made, strict=True))
        if label in net.sources:
            graph.inputs.update(zip(spec.top, made, strict=True))
            continue
        layer = net.layer(label)
        module = from_zero(layer) if stateless else layer
        graph.steps.append(Step(label, maker=Ready(module), inputs=inputs, outputs=made, **operation(layer)._asdict()))
    for name in outputs:
        if name not in current:
            raise NetError(f"there is no blob {name!r}; {suggest(name, current)}")
        graph.outputs[name] = current[name]
    return graph
