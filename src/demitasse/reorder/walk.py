"""Finds the hidden units of a PyTorch module, and the tensors that have rows or columns for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata

from demitasse.errors import UsageError
from demitasse.packed.unit_flow import Flow, fix, links, not_silent
from demitasse.packed.units import Hidden, Link

_CONVOLUTIONS: dict[object, int] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
_NORMS = {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d}
# functions of each entry that keep 0: by class, or by the name of a function or method
_SAME = {
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh),
    *(nn.Hardswish, nn.Hardtanh, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "hardswish"),
    *("hardtanh", "dropout", "dropout1d", "dropout2d", "dropout3d", "contiguous"),
}
# functions of each entry that make another number of 0
_NO_ZEROS = {nn.Sigmoid, nn.Hardsigmoid, nn.Softplus, "sigmoid", "hardsigmoid", "softplus"}
_POOLING = ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool")
# functions of each channel -> the number of axes that they pool over
_POOLS: dict[object, int] = {
    kind: axes
    for axes, kinds in enumerate(
        (
            (nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveMaxPool1d, nn.AdaptiveAvgPool1d),
            (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d),
            (nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveMaxPool3d, nn.AdaptiveAvgPool3d),
        ),
        1,
    )
    for kind in (*kinds, *(f"{name}{axes}d" for name in _POOLING))
}


def find_links(model: nn.Module, example: Tensor | tuple[object, ...]) -> list[Link]:
    """Returns the hidden units that may move, from the first layer to the last.

    These are the units that a linear or convolution layer makes and that only linear and convolution layers use;
    activations, pooling, dropout, batch normalization and ``flatten`` from axis 1 on may come in between. Units that
    are added, concatenated, returned, or used by anything else keep their order. So do those of layers that run twice,
    are grouped, share a parameter, or are of a class of the user's own.

    Args:
        model: a module that ``torch.fx`` can trace. It is run once, in evaluation.
        example: an input, or a tuple of the arguments of ``forward``, with a batch axis.

    Raises:
        UsageError: the module cannot be traced, or cannot be run on the example.
    """
    return links(_Walk(model, _traced(model, example)).made)


def _traced(model: nn.Module, example: Tensor | tuple[object, ...]) -> fx.Graph:
    """Returns the graph of the calls, with the shapes of their results."""
    arguments = example if isinstance(example, tuple) else (example,)
    try:
        with _evaluating(model), torch.no_grad():
            model(*arguments)  # for an input that does not fit, torch's own message is clearer than that of fx
            graph = fx.Tracer().trace(model)
            ShapeProp(fx.GraphModule(model, graph)).propagate(*arguments)
    except Exception as error:
        # the module's own code may raise anything
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(f"the hidden units of {type(model).__name__} cannot be found by torch.fx: {first}") from error
    return graph


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class _Walk:
    """Follows values from call to call.

    Args:
        model: the module.
        graph: its calls.

    Attributes:
        made: the hidden units.
    """

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        self.made: list[Hidden] = []
        self._modules = dict(model.named_modules())
        self._calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
        tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        owners = Counter(id(tensor) for _, tensor in tensors)
        self._bound = {name for name, tensor in tensors if owners[id(tensor)] > 1}
        self._bound |= {str(node.target) for node in graph.nodes if node.op == "get_attr"}
        flows: dict[fx.Node, Flow | None] = {}
        for node in graph.nodes:
            given = [flows.get(each) for each in node.all_input_nodes]
            follow = self._follower(node) if len(given) == 1 else None
            flows[node] = follow(node, given[0]) if follow else fix(*given)

    def _follower(self, node: fx.Node) -> Callable[[fx.Node, Flow | None], Flow | None] | None:
        """Returns the function that follows units through a call; None if units cannot be followed through it."""
        kind = self._kind(node)
        if kind in _SAME and _axes(node) is not None:
            return lambda _, flow: flow
        if kind in _NO_ZEROS:
            return lambda _, flow: not_silent(flow)
        if kind in _POOLS and _axes(node) == _POOLS[kind] + 2:
            return lambda _, flow: flow if flow and flow.axis == 1 else fix(flow)
        if kind in ("flatten", nn.Flatten):
            return self._flatten
        if kind is nn.Linear or kind in _CONVOLUTIONS:
            return self._weighted
        return self._by_channel if kind in _NORMS or kind is nn.PReLU else None

    def _kind(self, node: fx.Node) -> object:
        """Returns the class of the layer, or the name of the function or method."""
        if node.op == "call_module":
            module = self._module(node)
            names = [f"{node.target}.{name}" for name, _ in (*module.named_parameters(), *module.named_buffers())]
            bound = self._calls[node.target] > 1 or not self._bound.isdisjoint(names)
            return None if bound and names else type(module)
        if node.op == "call_function":
            name = getattr(node.target, "__name__", "")
            return name if node.target in (getattr(F, name, None), getattr(torch, name, None)) else None
        return node.target if node.op == "call_method" else None

    def _module(self, node: fx.Node) -> Any:
        return self._modules[str(node.target)]

    def _flatten(self, node: fx.Node, flow: Flow | None) -> Flow | None:
        if node.op == "call_module":
            start, end = self._module(node).start_dim, self._module(node).end_dim
        else:
            named = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
            start, end = named.get("start_dim", 0), named.get("end_dim", -1)
        return flow if flow and (start, end, flow.axis) == (1, -1, 1) else fix(flow)

    def _weighted(self, node: fx.Node, flow: Flow | None) -> Flow | None:
        """Ends the units of the input and begins those of the layer."""
        layer, axes = self._module(node), _axes(node)
        linear = isinstance(layer, nn.Linear)
        if axes is None or (not linear and (layer.groups > 1 or axes != _CONVOLUTIONS[type(layer)] + 2)):
            return fix(flow)
        axis = axes - 1 if linear else 1
        names = [f"{node.target}.{name}" for name, _ in layer.named_parameters()]
        if flow and flow.axis == axis:
            flow.end(names[:1])
        else:
            fix(flow)
        self.made.append(Hidden(len(layer.weight), names))
        return Flow(self.made[-1], tuple(names), axis)

    def _by_channel(self, node: fx.Node, flow: Flow | None) -> Flow | None:
        """Adds the tensors of a layer that have a value for each unit."""
        layer = self._module(node)
        tensors = [*layer.named_parameters(), *layer.named_buffers()]
        rows = {f"{node.target}.{name}": len(tensor) for name, tensor in tensors if tensor.ndim}
        if isinstance(layer, nn.PReLU) and layer.num_parameters == 1:
            return flow
        if not flow or flow.axis != 1 or {*rows.values()} != {flow.hidden.count}:
            return fix(flow)
        silent = [f"{node.target}.{name}" for name, _ in layer.named_parameters()]
        return flow.take_along(rows, None if isinstance(layer, nn.PReLU) else silent)


def _axes(node: fx.Node) -> int | None:
    """Returns the number of axes of the result of a call; None if that is not one tensor."""
    found = node.meta.get("tensor_meta")
    return len(found.shape) if isinstance(found, TensorMetadata) else None
